"""The shell steps of workflows, run as a hosted runner does: outputs, expressions, conditions."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML

ROOT: Final = Path(__file__).parents[1]
_EXPRESSION: Final = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_TERM: Final = re.compile(r"(?P<left>[\w.-]+) (?P<sign>==|!=) '(?P<right>[^']*)'")


def load(path: Path) -> dict[str, Any]:
    """A workflow or an action."""
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    return loaded


@dataclass
class CiRunner:
    """A job's steps in `folder`; `context` gives `inputs`, `github` and `env`, `environ` the variables."""

    folder: Path
    context: dict[str, Any]
    environ: Mapping[str, str]
    skipped: frozenset[str] = frozenset({"Install"})
    outcomes: dict[str, str] = field(default_factory=dict)
    log: str = ""

    def __post_init__(self) -> None:
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.context = {"steps": {}, "runner": {"temp": str(self.temporary)}, **self.context}

    @property
    def temporary(self) -> Path:
        """The folder `runner.temp`."""
        return self.folder / "runner-temp"

    @property
    def summary(self) -> str:
        """The Markdown of the job's page."""
        return (self.temporary / "summary").read_text(encoding="utf-8")

    def run(self, steps: list[dict[str, Any]]) -> bool:
        """Run the shell steps in order, and return whether the job is green."""
        green = True
        for step in steps:
            if "run" not in step or step.get("name") in self.skipped or not self._applies(step, green=green):
                continue
            passed = self._shell(step)
            self.outcomes[step["name"]] = "success" if passed else "failure"
            green = green and (passed or step.get("continue-on-error", False))
        return green

    def _applies(self, step: Mapping[str, Any], *, green: bool) -> bool:
        terms = [term.strip() for term in _EXPRESSION.sub(r"\1", step.get("if", "")).split("&&")]
        if "!cancelled()" not in terms and not green:
            return False
        return all(self._holds(term) for term in terms if term not in ("", "!cancelled()"))

    def _holds(self, term: str) -> bool:
        parsed = _TERM.fullmatch(term)
        assert parsed is not None, term
        return (self._value(parsed["left"]) == parsed["right"]) == (parsed["sign"] == "==")

    def _value(self, path: str) -> str:
        found: Any = self.context
        for name in path.split("."):
            # As on a runner, a step that did not run has no values.
            found = found.get(name, {})
        if found == {}:
            return ""
        return str(found).lower() if isinstance(found, bool) else str(found)

    def _shell(self, step: Mapping[str, Any]) -> bool:
        outputs = self.temporary / f"outputs-{len(self.outcomes)}"
        outputs.touch()
        assert not _EXPRESSION.search(step["run"]), "an expression in a script is text of others run as code"
        given = {**self.context.get("env", {}), **step.get("env", {})}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={
                **os.environ,
                "GITHUB_ACTIONS": "true",
                "GITHUB_OUTPUT": str(outputs),
                "GITHUB_STEP_SUMMARY": str(self.temporary / "summary"),
                "GITHUB_REPOSITORY": "team/project",
                **self.environ,
                **{name: self._filled(value) for name, value in given.items()},
            },
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        self.log += f"# {step['name']}: {done.returncode}\n{done.stdout}{done.stderr}"
        lines = outputs.read_text(encoding="utf-8").splitlines()
        self.context["steps"][step.get("id")] = {
            "outcome": "failure" if done.returncode else "success",
            "outputs": dict(line.split("=", 1) for line in lines),
        }
        return done.returncode == 0

    def _filled(self, text: object) -> str:
        return _EXPRESSION.sub(lambda found: self._value(found[1]), str(text))
