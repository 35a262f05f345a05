"""Baselines: reports that are kept under a name, to be compared with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from harness.assets.places import Note
from harness.errors import InvalidInputError, NotComparableError
from harness.model.results import Report
from harness.model.suite import Name
from harness.store.folders import make_folder, names_in
from harness.store.reading import load_report
from harness.store.writing import to_json, write_atomic
from harness.words import nearest

REPORTS: Final = Path("reports")
_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


@dataclass(frozen=True, slots=True)
class Kept:
    """A baseline that was set: its file, and the run of the earlier baseline that it replaced.

    `replaced` is None where there was none, `an unreadable file` where that could not be read.
    """

    file: Path
    replaced: str | None


def baseline_file(name: str, reports: Path = REPORTS) -> Path:
    """Where the baseline of that name is kept.

    Raises:
        InvalidInputError: The name cannot be one.
    """
    try:
        return reports / "baselines" / f"{_NAME.validate_python(name)}.json"
    except ValidationError:
        raise InvalidInputError(
            f"{name!r} cannot be the name of a baseline",
            hint="A name is 1 to 64 letters, digits, - and _, the first a letter or digit: main, gpu-a100.",
        ) from None


def keep_baseline(report: Report, name: str, reports: Path = REPORTS, *, force: bool = False) -> Kept:
    """Keep a report as the baseline of that name, in the place of an earlier one.

    Raises:
        InvalidInputError: The name cannot be one, or the report is unfit for comparisons
            (no trial, one that did not complete, a degenerate one), unless `force`.
        StorageError: The file could not be written.
    """
    file = baseline_file(name, reports)
    if not force and (unfit := _unfit(report)):
        raise InvalidInputError(
            f"run {report.run} is no baseline: {unfit}",
            hint="Fix that and run the suite again, or keep it anyway with --force.",
        )
    replaced = _run_in(file)
    try:
        make_folder(file.parent)
    except FileExistsError:
        raise InvalidInputError(
            f"{file.parent}: it exists and is not a folder", hint="Move it out of the way."
        ) from None
    write_atomic(file, to_json(report))
    return Kept(file, replaced)


def find_baseline(text: str, reports: Path = REPORTS, *, note: Note = lambda _sentence: None) -> Path:
    """The report that is meant: the name of a kept baseline, a file, or a run directory.

    A name without a slash is a kept baseline where there is one of that name, whatever lies in the current
    directory; `note` is told where both are there.

    Raises:
        InvalidInputError: The text is empty, mostly for want of a shell's variable.
        NotComparableError: There is none, with the command that keeps one.
    """
    if not text:
        raise InvalidInputError(
            "the name of the baseline is empty",
            hint="Give a report, a run directory or the name of a baseline.",
        )
    named, path = reports / "baselines" / f"{text}.json", Path(text)
    if "/" not in text and named.exists():
        if path.exists():
            note(f"baseline {text}: using {named}, the kept one; write ./{text} for the file in this folder")
        return named
    if path.exists():
        return path
    near = nearest(text, list(kept_baselines(reports)))
    meant = f" (did you mean {near}?)" if near is not None else ""
    raise NotComparableError(
        f"there is no baseline {text}{meant}: neither a file, nor a name in {reports / 'baselines'}",
        hint=f"Keep one: harness baseline set REPORT {Path(text).stem or 'main'}",
    )


def kept_baselines(reports: Path = REPORTS) -> dict[str, Path]:
    """Return the baselines by name, in the alphabet's order.

    Raises:
        StorageError: The operating system refused to read their folder, which may have some.
    """
    folder = reports / "baselines"
    return {Path(name).stem: folder / name for name in sorted(names_in(folder)) if name.endswith(".json")}


def _unfit(report: Report) -> str:
    if not report.results:
        return "it has no trial"
    states = Counter(
        "degenerate" if result.degenerate else result.status for result in report.results if not result.sound
    )
    return ", ".join(f"{number} {state}" for state, number in states.items())


def _run_in(file: Path) -> str | None:
    if not file.exists():
        return None
    try:
        return f"run {load_report(file, allow_unsealed=True).run}"
    except InvalidInputError:
        return "an unreadable file"
