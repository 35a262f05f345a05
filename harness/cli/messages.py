"""Messages of the commands on standard error: notes, progress and errors, without secrets."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from harness.output.safe_text import safe_lines, safe_text

if TYPE_CHECKING:
    from harness.model.job import Observer

QUIET: Final = "harness.quiet"
VERBOSE: Final = "harness.verbose"
_LONGEST: Final = 4_000


def print_note(text: str) -> None:
    """Print a note on standard error, with control characters escaped; nothing with `--quiet`."""
    if not _asked(QUIET):
        click.echo(safe_text(text, _LONGEST), err=True)


def print_detail(text: str) -> None:
    """Print a note, with `--verbose` only."""
    if _asked(VERBOSE):
        print_note(text)


@contextmanager
def watching() -> Iterator[Observer]:
    """Show the progress of a run on standard error: live on a terminal, in lines elsewhere.

    With `--verbose` every step that a worker reports is a line, with `--quiet` nothing is shown.
    """
    from harness.output.live import View, view  # noqa: PLC0415 - most commands run nothing

    if _asked(QUIET):
        shown = View()
    elif _asked(VERBOSE):
        shown = view(sys.stderr, interactive=False, every_s=0.0)
    else:
        shown = view(sys.stderr, interactive=sys.stderr.isatty())
    with shown as observer:
        yield observer


def _asked(name: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(name))


def print_error(message: str) -> None:
    """Print an error on standard error."""
    # Names in it come from suites, reports and the Hub, and a terminal obeys escape sequences.
    click.echo("error: " + "\n".join(safe_lines(without_secrets(message))), err=True)


def without_secrets(text: str) -> str:
    """Replace the secrets of the environment in a text."""
    from harness.machine.redaction import redact, secrets_in  # noqa: PLC0415 - only where something failed

    return redact(text, secrets_in(os.environ), home="")
