"""Find a suite file, and read it as text: a regular file of bounded size, in UTF-8."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness.errors import InvalidInputError
from harness.foreign import open_regular
from harness.suite.problems import Place, Problem, UnreadableError
from harness.words import nearest, quoted

MAX_BYTES: Final = 1_000_000
MAX_LINE_LENGTH: Final = 20_000

_SHIPPED: Final = Path(__file__).parents[1] / "suites"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_REPORT: Final = re.compile(rb'\s*\{\s*"schema_version"\s*:')
# The complement of YAML 1.2, production 1 (c-printable).
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufeff\uff00-\ufffd\U00010000-\U0010ffff]|\ufeff"
)


def shipped_suites() -> dict[str, Path]:
    """Return the suites of this project by name; in a checkout the folder is a link to suites/."""
    return {file.stem: file for file in sorted(_SHIPPED.glob("*.yaml"))}


def find_suite(text: str, *, note: Callable[[str], None] = lambda _sentence: None) -> Path:
    """Return the file that a path or a name refers to.

    A name has no slash and no ending. It refers to a file NAME or NAME.yaml in the current folder, else to a
    shipped suite. A path, or the name of neither, is returned unchanged.

    Args:
        text: a path, or the name of a suite.
        note: receives a sentence where a file has the name of a shipped suite.
    """
    if not _NAME.fullmatch(text):
        return Path(text)
    shipped = shipped_suites().get(text)
    for file in (Path(text), Path(f"{text}.yaml")):
        if file.exists() and not file.is_dir():
            if shipped is not None:
                note(f"suite {text}: using ./{file}, not the shipped suite of that name")
            return file
    return shipped or Path(text)


def read_bytes(path: Path) -> bytes:
    """Return the content of a suite file, at most one byte beyond the limit.

    Raises:
        InvalidInputError: the file is missing, not a regular file, a report, or cannot be read.
    """
    try:
        if path.is_dir():
            raise InvalidInputError(f"{shown(path)}: is a folder, not a suite file", hint=_in_folder(path))
        if not path.exists():
            raise InvalidInputError(f"{shown(path)}: no such suite file", hint=_files_near(path))
        if not path.is_file():
            raise InvalidInputError(f"{shown(path)}: is not a regular file", hint="Save the suite in a file.")
        with os.fdopen(open_regular(path), "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInputError(
            f"{shown(path)}: cannot be read: {reason}", hint="Check the path and its permissions."
        ) from error
    if _REPORT.match(content):
        raise InvalidInputError(
            f"{shown(path)}: this is a report, not a suite", hint=f"Print it with: harness show {shown(path)}"
        )
    return content


def shown(path: Path) -> str:
    """Return the path as written; quote and escape it if it contains control characters."""
    return str(path) if str(path).isprintable() else quoted(str(path), 200)


def _files_near(path: Path) -> str:
    if _NAME.fullmatch(str(path)):
        return _names_near(str(path))
    if not path.parent.is_dir():
        return f"The folder {shown(path.parent)} does not exist either."
    found = nearest(path.name, [file.name for file in _suites_in(path.parent)])
    return f"Did you mean {shown(path.parent / found)}?" if found is not None else _files_in(path.parent)


def _names_near(name: str) -> str:
    files = [file.name for file in _suites_in(Path())]
    if near := nearest(name, [*shipped_suites(), *files]):
        return f"Did you mean {near}?" + ("" if near in files else " It is a shipped suite.")
    return f"Shipped suites: {', '.join(shipped_suites())}. Write your own with: harness init {name}"


def _in_folder(folder: Path) -> str:
    if (folder / "report.json").exists():
        return f"It is a run: harness show {shown(folder)}. Its suite is {shown(folder / 'suite.yaml')}."
    return _files_in(folder)


def _files_in(folder: Path) -> str:
    files = [shown(file) for file in _suites_in(folder)[:20]]
    return f"There are: {', '.join(files)}" if files else f"There is no .yaml file in {shown(folder)}."


def _suites_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in {".yaml", ".yml"})


def decode(content: bytes | str, source: str) -> str:
    """Decode a suite's content, normalize line ends to line feeds and remove a byte order mark.

    Raises:
        UnreadableError: too large, not UTF-8, a control character, or a line beyond the limit.
    """
    encoded = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if len(encoded) > MAX_BYTES:
        raise UnreadableError(
            Problem(Place(source), f"larger than {MAX_BYTES:,} bytes, the limit for a suite")
        )
    try:
        text = encoded.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"not UTF-8: byte 0x{encoded[error.start]:02x} at byte offset {error.start}"
        raise UnreadableError(Problem(Place(source), f"{what}; save the file as UTF-8")) from None
    if unprintable := _UNPRINTABLE.search(text, int(text.startswith("\ufeff"))):
        before = text[: unprintable.start()]
        what = f"the control character U+{ord(unprintable[0]):04X} at byte offset {len(before.encode())}"
        raise UnreadableError(Problem(_end_of(_with_line_feeds(before), source), f"{what}; remove it"))
    text = _with_line_feeds(text)
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > MAX_LINE_LENGTH:
            what = f"a line of more than {MAX_LINE_LENGTH:,} characters, the limit; break it into several"
            raise UnreadableError(Problem(Place(source, number, 1), what))
    return text


def _with_line_feeds(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _end_of(text: str, source: str) -> Place:
    return Place(source, text.count("\n") + 1, len(text) - text.rfind("\n"))
