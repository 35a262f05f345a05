"""Compute the guarded texts, and record them: `python -m tests.guards.record [NAME...]`.

Recording again is a deliberate change of an identity or a format, and a commit of its own.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness.store.reading import load_report
from harness.store.writing import to_json
from harness.suite.matrix import expand
from harness.suite.suite_file import load_suite

ROOT: Final = Path(__file__).parents[2]
RECORDED: Final = Path(__file__).parent / "recorded"
DEVICES: Final = ("cuda:0", "cpu")
SCHEMAS: Final = ("suite", "report", "comparison", "check")
REPORTS: Final = (
    *sorted((ROOT / "tests" / "store" / "data").glob("report-*.json")),
    *sorted((ROOT / "reports" / "samples").glob("*/report.json")),
)


def trial_ids() -> str:
    """Suite, trial id and variant id of every trial of the shipped suites, a line each."""
    lines = [
        f"{path.stem} {trial.id} {trial.variant_id}"
        for path in sorted((ROOT / "suites").glob("*.yaml"))
        for trial in expand(load_suite(path), DEVICES)
    ]
    return "\n".join(lines) + "\n"


def schema(name: str) -> str:
    """The output of `harness schema NAME`."""
    command = (sys.executable, "-m", "harness", "schema", name)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def saved_reports() -> str:
    """The SHA-256 of each stored report after it was loaded and written again."""
    lines = [
        f"{hashlib.sha256(to_json(load_report(path))).hexdigest()} {path.relative_to(ROOT)}"
        for path in REPORTS
    ]
    return "\n".join(lines) + "\n"


def help_imports() -> str:
    """The packages outside the standard library that `harness --help` imports, without harness's own."""
    script = (
        "import sys; before = set(sys.modules)\n"
        "import atexit; atexit.register(lambda: print(*set(sys.modules) - before, file=sys.stderr))\n"
        "from harness.cli import main; main(['--help'])"
    )
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in done.stderr.split()} - set(sys.stdlib_module_names)
    return "\n".join(sorted(packages - {"harness"})) + "\n"


GUARDS: Final[dict[str, Callable[[], str]]] = {
    "trial_ids.txt": trial_ids,
    **{f"schema_{name}.json": lambda name=name: schema(name) for name in SCHEMAS},  # type: ignore[misc]
    "saved_reports.txt": saved_reports,
    "help_imports.txt": help_imports,
}

if __name__ == "__main__":
    for guard in sys.argv[1:] or GUARDS:
        (RECORDED / guard).write_text(GUARDS[guard](), encoding="utf-8")
