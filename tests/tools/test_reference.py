"""The derived files of the documentation are up to date, and explain every value."""

from __future__ import annotations

from pathlib import Path

import pytest

import harness
from harness.cli import COMMANDS
from harness.errors import ExitCode
from harness.model.axis import axes_of, names_of_values
from harness.model.metrics import METRICS
from harness.model.status import STATUSES
from harness.model.trial import AXES, Trial
from tools.reference.api import api_page
from tools.reference.pages import DOCS, FILES


@pytest.mark.parametrize("name", FILES)
def test_a_derived_file_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == FILES[name](), "run: python -m tools.reference"


def test_every_file_in_the_derived_folders_is_derived() -> None:
    folders = {Path(name).parent for name in FILES}
    found = {path.relative_to(DOCS) for folder in folders for path in (DOCS / folder).iterdir()}
    assert {str(path) for path in found} == set(FILES)


@pytest.mark.parametrize(
    ("name", "mentioned"),
    [
        ("reference/axes.md", list(AXES)),
        ("reference/metrics.md", list(METRICS)),
        ("reference/outcomes.md", [*STATUSES, *(f"{code:d}" for code in ExitCode)]),
        ("reference/commands.md", list(COMMANDS)),
    ],
)
def test_a_page_mentions_every_name(name: str, mentioned: list[str]) -> None:
    page = (DOCS / name).read_text(encoding="utf-8")
    assert [each for each in mentioned if f"`{each}`" not in page] == []


def test_the_page_of_the_api_has_a_section_for_every_public_name() -> None:
    headings = {line.removeprefix("## ") for line in api_page().splitlines() if line.startswith("## ")}
    assert headings == set(harness.__all__) - {"__version__"}


@pytest.mark.parametrize("name", [name for name in axes_of(Trial) if "." not in name])
def test_every_value_of_an_axis_has_one_meaning(name: str) -> None:
    axis = axes_of(Trial)[name]
    assert tuple(axis.values) == names_of_values(axis)
