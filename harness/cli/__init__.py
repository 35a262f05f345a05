"""The command line: one file a command, imported only when that command runs.

This is the one place that prints, exits and turns errors into exit codes.
"""

from __future__ import annotations

import atexit
import errno
import importlib
import io
import os
import signal
import sys
import traceback
from typing import Any, Final

import click
from click.shell_completion import CompletionItem, shell_complete

from harness import __version__
from harness.cli.messages import print_error, without_secrets
from harness.cli.parsing import Group, usage_text
from harness.errors import ExitCode, HarnessError, after_signal
from harness.importing import interruptible

# name -> help text, so that `harness --help` imports no command
COMMANDS: Final[dict[str, str]] = {
    "run": "Fine-tune and evaluate every trial of a suite.",
    "init": "Write a commented suite to start from.",
    "merge": "Merge the runs of shards into one run.",
    "plan": "List the trials of a suite and what each will use.",
    "inspect": "Show a suite's examples, tokens and padded batches, without training.",
    "prove": "Show that each variant computes the plain function and trains as a reference.",
    "show": "Print a report's table again.",
    "compare": "Compare reports, or the variants of one report, with a verdict per row.",
    "check": "Judge a report by its gates, as CI does before a merge.",
    "ab": "Run two suites, environments or checkouts in turn on this machine, and compare them.",
    "baseline": "Keep, list and show baselines: reports to compare with.",
    "history": "Show the values of each variant over the reports of a folder, with the changes marked.",
    "list": "List the runs: state, suite, age, size and best variants.",
    "clean": "Remove old runs, except baselines and runs in progress.",
    "export": "Store the trials of a report in an experiment tracker.",
    "calibrate": "Measure this machine's timing noise.",
    "rescore": "Score a report's stored logits again, without training.",
    "schema": "Print the JSON Schema of a suite, a report, a comparison or a check.",
    "completion": "Print the completion script of a shell.",
    "doctor": "List what on this machine would stop a run, and how to fix it.",
    "fetch": "Download a pinned pretrained checkpoint.",
}
# The variable by which a completion script asks for completions.
COMPLETE: Final = "_HARNESS_COMPLETE"
_FOLDERS: Final[dict[str, frozenset[str]]] = {
    "suite_commands": frozenset({"run", "init", "plan", "inspect", "prove", "ab", "schema"}),
    "machine_commands": frozenset({"calibrate", "completion", "doctor", "fetch"}),
}
_OTHER_FOLDER: Final = "report_commands"
# A submodule `list` would replace the builtin of that name in its package.
_MODULES: Final = {"list": "list_runs"}


class LazyGroup(Group):
    """A group whose commands live in the modules of `harness.cli` and are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        folder = next((name for name, commands in _FOLDERS.items() if cmd_name in commands), _OTHER_FOLDER)
        with interruptible():
            module = importlib.import_module(f"harness.cli.{folder}.{_MODULES.get(cmd_name, cmd_name)}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of commands from the table above, importing nothing."""
        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items()]
        names = [item for item in found if item.value.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table above, importing nothing."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Fine-tune and evaluate every combination of padding, checkpoint and device, and compare the reports.

    Start with:  harness run quickstart
    """


def main(args: list[str] | None = None) -> None:
    """Run one command and exit with its code; `harness.errors.ExitCode` has the codes."""
    secure_streams()
    atexit.register(_ignore_signals)
    if asked := os.environ.get(COMPLETE):
        sys.exit(shell_complete(cli, {}, "harness", COMPLETE, asked))
    sys.exit(_exit_code(args))


def _ignore_signals() -> None:
    # The exit code is decided: a signal during interpreter shutdown must not change it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _exit_code(args: list[str] | None) -> int:
    try:
        code = cli.main(args, prog_name="harness", standalone_mode=False)
        sys.stdout.flush()
    except HarnessError as error:
        print_error(str(error))
        return error.exit_code
    except click.ClickException as error:
        return _usage_error(error)
    except (click.Abort, KeyboardInterrupt):
        print_error("interrupted")
        return after_signal(signal.SIGINT)
    except (OSError, SystemExit) as error:
        # click raises SystemExit for a broken pipe only: the reader of standard output has exited.
        return _exit_code_of(error if isinstance(error, OSError) else BrokenPipeError(errno.EPIPE, ""))
    except Exception:
        click.echo(without_secrets(traceback.format_exc()), err=True, nl=False)
        print_error("this is a bug in harness: please report it with the lines above")
        return ExitCode.BUG
    return code if isinstance(code, int) else 0


def _usage_error(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
    else:
        print_error(usage_text(error))
    return ExitCode.INVALID_INPUT


def _exit_code_of(error: OSError) -> int:
    """Return 141 without a message, as a shell does for SIGPIPE, when the reader has exited; else 74."""
    if error.errno == errno.EPIPE:
        # Python flushes standard output once more at exit; there is nowhere left to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.READER_GONE
    print_error(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    return ExitCode.STORAGE


_STREAMS: Final = (0, 1, 2)


class _Lossy(io.FileIO):
    """A file that takes everything, also where the system does not."""

    def write(self, data: Any, /) -> int:
        """Write what can be written, and count it as written in full."""
        try:
            written: int | None = super().write(data)
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def secure_streams() -> None:
    """Open closed streams as the null device, and make standard error forgiving.

    A run takes hours: a terminal that has gone, or a full disk under its progress, must not end it. Standard
    output carries the result, and an error there still counts.
    A closed descriptor would be given to the next file that is opened, and get the messages printed into it.
    """
    for descriptor in _STREAMS:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as above
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Lossy(2, "w", closefd=False)),
            encoding=getattr(sys.stderr, "encoding", "utf-8"),
            errors="backslashreplace",
            line_buffering=True,
            write_through=True,
        )
