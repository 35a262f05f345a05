"""The page of commands: the help text of each."""

from __future__ import annotations

from collections.abc import Iterator

import click

from harness.cli import COMMANDS, cli
from tools.reference.markdown import page, table

WIDTH = 100


def commands_page() -> str:
    """Return an overview and the help text of every command and subcommand."""
    with _context(cli, "harness") as context:
        found = {name: cli.get_command(context, name) for name in COMMANDS}
    return page(
        "Commands and options",
        "the help texts",
        table(
            ["Command", "Purpose"],
            [[f"[`{name}`](#harness-{name})", text] for name, text in COMMANDS.items()],
        ),
        *(
            part
            for name, command in found.items()
            if command is not None
            for part in _sections(command, f"harness {name}")
        ),
    )


def _sections(command: click.Command, name: str) -> Iterator[str]:
    with _context(command, name) as context:
        yield f"## {name}\n\n```text\n{command.get_help(context)}\n```"
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                with _context(inner, f"{name} {inner.name}") as nested:
                    yield f"### {name} {inner.name}\n\n```text\n{inner.get_help(nested)}\n```"


def _context(command: click.Command, name: str) -> click.Context:
    return click.Context(
        command,
        info_name=name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
    )
