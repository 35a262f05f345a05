"""The command line: one file a command, imported only when that command is asked for.

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
from typing import Final

import click

from harness import __version__
from harness.cli.messages import without_secrets
from harness.cli.streams import secure_streams
from harness.errors import ExitCode, HarnessError, after_signal
from harness.output.safe_text import safe_lines

# name -> (what `harness --help` says of it, so that help imports no command)
COMMANDS: Final[dict[str, str]] = {
    "run": "Fine-tune and evaluate every trial of a suite.",
    "plan": "List the trials of a suite and what each will use.",
    "prove": "Show that each variant of a suite computes the plain function.",
    "show": "Print a report's table again.",
    "compare": "Compare reports, or the variants of one, and say what is better, worse or the same.",
    "check": "Judge a report by its gates: what a pull request needs to be merged.",
    "ab": "Run two suites, environments or checkouts in turn on this machine, and compare them.",
    "baseline": "Keep a report to be compared with, list those that are kept.",
    "calibrate": "Measure how far this machine's times differ when nothing does.",
    "rescore": "Score a report's stored logits again, without training.",
    "schema": "Print the JSON Schema of a suite, a report, a comparison or a check.",
    "doctor": "Tell what on this machine would stop a run, and what to do about it.",
    "fetch": "Bring a pinned pretrained checkpoint to this machine.",
}


class LazyGroup(click.Group):
    """A group whose commands live in `harness.cli.<name>` and are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of a day's work, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"harness.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"harness.cli.{cmd_name}.command is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list from the table above, importing nothing."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Fine-tune and evaluate every combination of padding, checkpoint and device, and compare the reports.

    Start with:  harness run suites/quickstart.yaml
    """


def main(args: list[str] | None = None) -> None:
    """Run one command and exit with its code; the table of codes is in the README."""
    secure_streams()
    atexit.register(_be_deaf)
    sys.exit(_exit_code(args))


def _be_deaf() -> None:
    # All is said and done: a signal must not turn the interpreter's last moments into another ending.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _exit_code(args: list[str] | None) -> int:
    try:
        code = cli.main(args, prog_name="harness", standalone_mode=False)
        sys.stdout.flush()
    except HarnessError as error:
        _say_error(str(error))
        return error.exit_code
    except click.ClickException as error:
        usage = io.StringIO()
        error.show(usage)
        click.echo(without_secrets(usage.getvalue()), err=True, nl=False)
        return ExitCode.INVALID_INPUT
    except (click.Abort, KeyboardInterrupt):
        _say_error("interrupted")
        return after_signal(signal.SIGINT)
    except (OSError, SystemExit) as error:
        # click turns the broken pipe of a reader that has gone, and nothing else, into SystemExit.
        return _exit_code_of(error if isinstance(error, OSError) else BrokenPipeError(errno.EPIPE, ""))
    except Exception:
        click.echo(without_secrets(traceback.format_exc()), err=True, nl=False)
        _say_error("this is a bug in harness: please report it with the lines above")
        return ExitCode.BUG
    return code if isinstance(code, int) else 0


def _exit_code_of(error: OSError) -> int:
    """141 without a word when the reader of our output has gone, as a shell would say of SIGPIPE; else 74."""
    if error.errno == errno.EPIPE:
        # Python flushes standard output once more at exit; there is nowhere left to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.READER_GONE
    _say_error(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    return ExitCode.STORAGE


def _say_error(message: str) -> None:
    # Names in it come from suites, reports and the Hub, and a terminal obeys escape sequences.
    click.echo("error: " + "\n".join(safe_lines(without_secrets(message))), err=True)
