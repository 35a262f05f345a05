"""Parsing of command lines: options under headings, suggestions, completion, one style of errors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from harness.cli.messages import print_note
from harness.words import did_you_mean, nearest, quoted

HELP: Final = ("-h", "--help")
OTHER: Final = "Options"
# The order of the headings in the help of a command.
HEADINGS: Final = (
    "What to run",
    "What to show",
    "What to compare",
    "Where",
    "Limits",
    "Gates",
    OTHER,
    "Output",
)
_PAIR: Final = re.compile(r"--(\S+) / --no-\1(?!\S)")


class Option(click.Option):
    """An option under a heading, its switch and the negative in one word: `--[no-]strict`."""

    def __init__(self, *args: Any, group: str = OTHER, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.group = group

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the names and the help text."""
        record = super().get_help_record(ctx)
        return None if record is None else (_PAIR.sub(r"--[no-]\1", record[0]), record[1])


class Command(click.Command):
    """A command with its options under headings."""

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return the names of the option that prints the help, whatever the context."""
        return list(HELP)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by heading; `--help` comes last."""
        found: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if isinstance(param, click.Option) and record is not None:
                found.setdefault(param.group if isinstance(param, Option) else "", []).append(record)
        unheaded = found.pop("", [])
        shown = sorted(found, key=HEADINGS.index) or [OTHER]
        found.setdefault(shown[-1], []).extend(unheaded)
        for heading in shown:
            with formatter.section(heading):
                formatter.write_dl(found[heading])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with a suggestion for an option that does not exist."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = [name for param in self.get_params(ctx) for name in (*param.opts, *param.secondary_opts)]
            raise click.UsageError(_no_option(error.option_name, known), ctx) from None


def _no_option(name: str, known: Sequence[str]) -> str:
    found = nearest(name, [other for other in known if other.startswith("--")])
    return f"there is no option {quoted(name)}" + (f" (did you mean {found}?)" if found else "")


class Group(click.Group):
    """A group that suggests a command for a mistyped one."""

    command_class = Command

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return the names of the option that prints the help, whatever the context."""
        return list(HELP)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            raise click.UsageError(
                f"there is no command {quoted(args[0])}{did_you_mean(args[0], known)}", ctx
            )
        return super().resolve_command(ctx, args)


class Names(click.Choice[str]):
    """One of several names, with a suggestion for a mistyped one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            found = nearest(str(value), [str(name) for name in self.choices])
            hint = f" (did you mean {found}?)" if found else ""
            self.fail(error.message.rstrip(".") + hint, param, ctx)


class AnyPath(click.Path):
    """A path; an empty text, mostly a variable of the shell that is not set, would be the current folder."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the path."""
        if not os.fspath(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


class SuiteFile(AnyPath):
    """A suite: a file, or a name; see `harness.suite.text.find_suite`."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the path of the file."""
        from harness.suite.text import find_suite  # noqa: PLC0415 - `--help` needs none of it

        return find_suite(os.fsdecode(super().convert(value, param, ctx)), note=print_note)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete files and the names of suites."""
        from harness.suite.text import shipped_suites  # noqa: PLC0415 - as above

        names = {file.stem: str(file) for file in sorted(Path().glob("*.yaml"))}
        names |= {name: "shipped" for name in shipped_suites() if name not in names}
        return [*super().shell_complete(ctx, param, incomplete), *_starting(names, incomplete)]


Completing = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completing(values: Callable[[click.Context], Mapping[str, str]], *, files: bool = False) -> Completing:
    """Return a function that completes names.

    Args:
        values: the names with a phrase for each; called when the shell asks.
        files: complete files too.
    """

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        # Bash drops what precedes a file.
        first = [CompletionItem(incomplete, type="file")] if files else []
        return [*first, *_starting(values(ctx), incomplete)]

    return complete


def _starting(names: Mapping[str, str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=text) for name, text in names.items() if name.startswith(incomplete)]


def usage_text(error: click.ClickException) -> str:
    """Return the text of an error of click in the style of the other errors, with the command that helps."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    where = context.command_path if isinstance(context, click.Context) else "harness"
    return f"{message[:1].lower()}{message[1:]}\nThe options are listed by: {where} --help"
