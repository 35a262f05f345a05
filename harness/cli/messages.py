"""Messages of the commands: notes on standard error, and errors as JSON on standard output."""

from __future__ import annotations

import json
import os

import click

from harness.errors import HarnessError
from harness.output.safe_text import safe_text

_LONGEST = 4_000


def say(text: str) -> None:
    """Print a note on standard error, with control characters escaped."""
    click.echo(safe_text(text, _LONGEST), err=True)


def print_error(error: HarnessError, exit_code: int | None = None) -> None:
    """Print an error as JSON for `--json`; `exit_code` is the command's if it is not the error's."""
    document = {
        "error": without_secrets(error.message),
        "hint": None if error.hint is None else without_secrets(error.hint),
        "exit_code": error.exit_code if exit_code is None else exit_code,
    }
    click.echo(json.dumps(document, indent=2))


def without_secrets(text: str) -> str:
    """Replace the secrets of the environment in a text."""
    from harness.machine.redaction import redact, secrets_in  # noqa: PLC0415 - only where something failed

    return redact(text, secrets_in(os.environ), home="")
