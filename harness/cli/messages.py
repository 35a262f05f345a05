"""Messages of the commands: notes on standard error, without secrets and control characters."""

from __future__ import annotations

import os

import click

from harness.output.safe_text import safe_text

_LONGEST = 4_000


def say(text: str) -> None:
    """Print a note on standard error, with control characters escaped."""
    click.echo(safe_text(text, _LONGEST), err=True)


def without_secrets(text: str) -> str:
    """Replace the secrets of the environment in a text."""
    from harness.machine.redaction import redact, secrets_in  # noqa: PLC0415 - only where something failed

    return redact(text, secrets_in(os.environ), home="")
