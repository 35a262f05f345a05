"""Links of the documents lead to files and headings, and files that they name exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import pytest
from ruamel.yaml import YAML

import harness
from harness.cli import cli

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = sorted(
    path
    for folder in ("*.md", "docs/**/*.md", "reports/*.md", "reports/benchmarks/*.md", "reports/proofs/*.md")
    for path in ROOT.glob(folder)
)
SITE: Final = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
WORKFLOW: Final = ROOT / ".github" / "workflows" / "test.yml"


def headings(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found = re.findall(r"^#+ +(.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def broken_links(document: Path) -> list[str]:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if "://" in link or link.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# One heading\n[x](b.md) [y](#one-heading) [z](#other) [w](https://a.b/c)\n"
    )
    assert broken_links(tmp_path / "a.md") == ["b.md", "#other"]


def test_the_site_has_every_page_once_and_links_to_no_file_outside() -> None:
    pages = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))
    assert sorted(_files(SITE["project"]["nav"])) == pages
    outside = {
        page: link
        for page in pages
        for link in re.findall(r"\]\(([^)\s:#]+)", (ROOT / "docs" / page).read_text(encoding="utf-8"))
        if not (ROOT / "docs" / page / ".." / link).resolve().is_relative_to(ROOT / "docs")
    }
    assert outside == {}


def _files(nav: Any) -> Iterator[str]:
    match nav:
        case str():
            yield nav
        case list():
            for each in nav:
                yield from _files(each)
        case dict():
            yield from _files(list(nav.values()))


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    program = shutil.which("zensical", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("zensical is not installed: pip install '.[docs]'")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    done = subprocess.run(
        [program, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / SITE["project"]["site_dir"] / "tutorial.html").exists()


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/how-to/add-an-axis.md", "CONTRIBUTING.md"])
def test_every_module_that_is_named_exists(name: str) -> None:
    named = set(
        re.findall(r"`((?:harness/|tests/)?[a-z_]+(?:/[a-z_]+)*/?[a-z_]*\.py)`", (ROOT / name).read_text())
    )
    assert named
    assert [
        path for path in named if not ((ROOT / path).exists() or (ROOT / "harness" / path).exists())
    ] == []


def workflow() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(WORKFLOW.read_text())
    return loaded


def test_the_commands_of_the_workflow_can_be_typed() -> None:
    steps = [step for job in workflow()["jobs"].values() for step in job["steps"]]
    lines = [line for step in steps for line in step.get("run", "").splitlines()]
    commands = [line.partition(" > ")[0] for line in lines if line.startswith("harness ")]
    assert "harness --help" in commands
    for line in commands[1:]:
        _, name, *arguments = shlex.split(line)
        with click.Context(cli) as group:
            command = cli.get_command(group, name)
            assert command is not None
            with command.make_context(name, arguments, parent=group) as parsed:
                assert parsed.params


def test_the_workflow_covers_every_supported_python_and_may_only_read() -> None:
    loaded = workflow()
    matrix = loaded["jobs"]["test"]["strategy"]["matrix"]
    assert matrix == {"os": ["ubuntu-latest", "macos-latest"], "python": ["3.11", "3.12", "3.13"]}
    assert loaded["permissions"] == {"contents": "read"}
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert classifiers == matrix["python"]


def test_the_make_targets_of_the_workflow_exist() -> None:
    targets = set(re.findall(r"run: make (\w+)", WORKFLOW.read_text()))
    assert targets == {"check", "test", "coverage"}
    assert targets <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = YAML(typ="safe", pure=True).load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == harness.__version__


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda p: p.name
)
def test_an_issue_template_asks_for_the_machine(path: Path) -> None:
    body = YAML(typ="safe", pure=True).load(path.read_text())["body"]
    assert any("harness doctor --json" in part["attributes"]["label"] for part in body)
