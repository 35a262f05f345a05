"""The one way a command writes its result: drawn for a terminal, plain UTF-8 for a file or a pipe."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from harness.cli.messages import print_note, without_secrets
from harness.errors import HarnessError
from harness.model.results import Report
from harness.model.suite import Gate
from harness.output.document import PARTS, Document, Kind, failure_document
from harness.output.formats.github import active, step_summary
from harness.output.formats.json_text import safe_json
from harness.output.formats.known_formats import encoded, render, rendered
from harness.store.writing import write_atomic

_WRITTEN: Final = "harness.written"


@dataclass(frozen=True, slots=True)
class Target:
    """The format that a command writes, and the file; None is standard output."""

    name: str
    output: Path | None = None


def write(document: Document, target: Target) -> None:
    """Write a document, then its verdict as the last lines.

    Its cases are annotations and its Markdown is the summary in a step of GitHub Actions.

    Raises:
        StorageError: The file cannot be written.
    """
    _note_written()
    on_screen = target.name == "table" and target.output is None
    if target.output is not None:
        write_atomic(target.output, rendered(document, target.name))
        print_note(f"wrote {target.output}")
    elif on_screen and document.layout == "table" and sys.stdout.isatty():
        _draw(document)
    else:
        _print([rendered(document, target.name)])
    _tell_github(document, target)
    if on_screen and document.layout == "table" and document.verdict:
        click.echo()
    for line in document.verdict:
        click.echo(line, err=not on_screen and target.output is None)


def write_stored(file: Path, document: Document) -> None:
    """Print a stored report as JSON, line by line; `document` is of the same report."""
    _note_written()
    # No character of a string is a raw newline in JSON, so each line is as safe as the whole.
    with file.open(encoding="utf-8", newline="\n") as lines:
        _print(encoded(safe_json(line)) for line in lines)
    _tell_github(document, Target("json"))


def write_failure(
    error: HarnessError, kind: Kind, command: str, target: Target, exit_code: int | None = None
) -> None:
    """Write an error instead of the document; `exit_code` is the command's if it differs from the error's."""
    hint = None if error.hint is None else without_secrets(error.hint)
    code = error.exit_code if exit_code is None else exit_code
    write(failure_document(without_secrets(error.message), hint, code, kind, command), target)


def is_written() -> bool:
    """Return whether the command has begun to write its result, which nothing may follow."""
    return bool(click.get_current_context().meta.get(_WRITTEN))


def _note_written() -> None:
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta[_WRITTEN] = True


def _print(parts: Iterable[bytes]) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.writelines(parts)
    sys.stdout.buffer.flush()


def _draw(document: Document) -> None:
    # rich takes longer to import than a plan takes to print.
    from harness.output.formats.terminal import drawn, make_console  # noqa: PLC0415

    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a sign gets it spelt out, not a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    make_console(sys.stdout).print(drawn(document))


def _tell_github(document: Document, target: Target) -> None:
    if not active(os.environ) or "cases" not in PARTS[document.kind]:
        return
    if target != Target("github"):
        # Its runner reads both streams, and standard output belongs to the result.
        click.echo(render(document, "github"), err=True, nl=False)
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(file).open("a", encoding="utf-8") as stream:
                stream.write(step_summary(render(document, "markdown")))
        except OSError as error:
            # The result is written, and its verdict and exit code are still to come.
            print_note(f"the summary of the step cannot be written: {error.strerror}: {file}")


def judge(report: Report, gates: Sequence[Gate], baseline: Report | None, target: Target) -> int:
    """Judge a report by these gates and return their exit code; `target` got the result before.

    The cases follow on standard output, unless it carries a result for a program: then the verdict goes to
    standard error.
    """
    # Most runs have no gates, and these import numpy and scipy.
    from harness.analysis.gates.applying import judge_run  # noqa: PLC0415
    from harness.analysis.over_time.noise import bands_of, run_variance_of  # noqa: PLC0415
    from harness.output.builders.gate_report import gates_document  # noqa: PLC0415
    from harness.store.noise_file import noise_for, stored_noise  # noqa: PLC0415

    noise = noise_for([report] if baseline is None else [report, baseline], stored_noise())
    found, skipped = judge_run(report, gates, baseline, bands_of(noise), run_variance_of(noise))
    for sentence in skipped:
        print_note(sentence)
    if found is None:
        return 0
    document = gates_document(found)
    if target.name == "table" or target.output is not None:
        click.echo()
        write(document, Target("table"))
    else:
        click.echo("\n".join(document.verdict), err=True)
    return found.exit_code
