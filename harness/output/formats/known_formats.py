"""The formats that a document can be written in, by name and by a file's ending."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import PurePath
from typing import Final, cast

from harness.errors import InvalidInputError
from harness.output.document import PARTS, Document, Kind, Part


@dataclass(frozen=True, slots=True)
class Format:
    """One format: the function that writes it, as `module:function`, and the part of a document it needs.

    The function is imported when it is called, so that writing one format imports no other.
    """

    function: str
    needs: Part | None = None
    endings: tuple[str, ...] = ()


FORMATS: Final[dict[str, Format]] = {
    "table": Format("terminal:to_table", endings=(".txt",)),
    "markdown": Format("markdown:to_markdown", endings=(".md",)),
    "comment": Format("comment:to_comment", needs="cases"),
    "csv": Format("spreadsheet:to_csv", endings=(".csv",)),
    "json": Format("json_text:to_json_text", endings=(".json",)),
    "html": Format("html:to_html", endings=(".html", ".htm")),
    "junit": Format("junit:to_junit", needs="cases", endings=(".xml",)),
    "github": Format("github:to_annotations", needs="cases"),
    "pytest-benchmark": Format("pytest_benchmark:to_pytest_benchmark", needs="benchmarks"),
    "bmf": Format("bencher:to_bmf", needs="benchmarks"),
}

# Files that are no text, chosen by their ending alone: a terminal cannot show one.
BINARY: Final[dict[str, Format]] = {
    "parquet": Format("parquet:to_parquet", needs="benchmarks", endings=(".parquet",)),
}

ENDINGS: Final[dict[str, str]] = {
    ending: name for name, form in (FORMATS | BINARY).items() for ending in form.endings
}


def formats_of(kind: Kind) -> list[str]:
    """Return the names of the formats that can carry this kind of document."""
    return [name for name, form in FORMATS.items() if form.needs is None or form.needs in PARTS[kind]]


def require(kind: Kind, name: str) -> str:
    """Return the name of a format that can carry this kind of document.

    Raises:
        InvalidInputError: It cannot; the message names those that can.
    """
    able = formats_of(kind)
    if name not in able and not (name in BINARY and BINARY[name].needs in PARTS[kind]):
        raise InvalidInputError(
            f"a {kind} cannot be written as {name}", hint=f"Use one of {', '.join(able)}."
        )
    return name


def format_of(path: PurePath) -> str:
    """Return the format that a file's ending asks for.

    Raises:
        InvalidInputError: No format has that ending; the message lists those that do.
    """
    try:
        return ENDINGS[path.suffix.lower()]
    except KeyError:
        raise InvalidInputError(
            f"{path}: no format is known by the ending {path.suffix or '(none)'!r}",
            hint=f"Use one of {', '.join(ENDINGS)}, or add `--format {'|'.join(FORMATS)}`.",
        ) from None


def rendered(document: Document, name: str) -> bytes:
    """Write a document as a file in the format of that name, text in UTF-8.

    Raises:
        InvalidInputError: The format cannot carry this kind of document.
        UnavailableError: A package that the format needs is missing.
    """
    if (form := BINARY.get(name)) is None:
        return encoded(render(document, name))
    require(document.kind, name)
    return cast("Callable[[Document], bytes]", _function(form.function))(document)


def encoded(text: str) -> bytes:
    """Return the text in UTF-8. Every format's text is safe already; an oversight must not be a traceback."""
    return text.encode("utf-8", "backslashreplace")


def render(document: Document, name: str) -> str:
    """Write a document in the text format of that name.

    Raises:
        InvalidInputError: The format cannot carry this kind of document.
    """
    form = FORMATS[require(document.kind, name)]
    place = form.function if name != "table" or document.layout == "table" else "lines:to_lines"
    return cast("Callable[[Document], str]", _function(place))(document)


def _function(place: str) -> object:
    module, _, function = place.partition(":")
    return getattr(import_module(f"harness.output.formats.{module}"), function)
