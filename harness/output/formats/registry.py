"""The formats a report can be written in, by name and by a file's ending."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import PurePath
from typing import Final, cast

from harness.errors import InvalidInputError
from harness.model.results import Report

Render = Callable[[Report], str]

# name -> the function that renders it, so that showing one format imports no other.
FORMATS: Final[dict[str, str]] = {
    "table": "harness.output.tables:to_table",
    "markdown": "harness.output.formats.markdown:to_markdown",
    "csv": "harness.output.formats.spreadsheet:to_csv",
    "json": "harness.output.formats.json_text:to_json_text",
    "html": "harness.output.formats.html:to_html",
    "junit": "harness.output.formats.junit:report_junit",
    "github": "harness.output.formats.github:report_annotations",
    "pytest-benchmark": "harness.output.formats.pytest_benchmark:to_pytest_benchmark",
    "bmf": "harness.output.formats.bencher:to_bmf",
}

_TABLE_WITH_ROOFLINE: Final = "harness.output.tables:to_table_with_roofline"

ENDINGS: Final[dict[str, str]] = {
    ".txt": "table",
    ".md": "markdown",
    ".csv": "csv",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
    ".xml": "junit",
}


def render(report: Report, name: str, *, roofline: bool = False) -> str:
    """The report in the format of that name; `roofline` adds the peaks to the table: documents have them."""
    place = _TABLE_WITH_ROOFLINE if roofline and name == "table" else FORMATS[name]
    module, _, function = place.partition(":")
    return cast("Render", getattr(import_module(module), function))(report)


def format_of(path: PurePath) -> str:
    """The format a file's ending asks for.

    Raises:
        InvalidInputError: No format has that ending; the message lists those that do.
    """
    try:
        return ENDINGS[path.suffix.lower()]
    except KeyError:
        raise InvalidInputError(
            f"{path}: no format is known by the ending {path.suffix or '(none)'!r}",
            hint=f"Use one of {', '.join(ENDINGS)}, or say `--format {'|'.join(FORMATS)}`.",
        ) from None
