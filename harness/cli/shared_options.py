"""The options that several commands share, each declared once; those of a run are in `run_options`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from harness.cli.messages import QUIET, VERBOSE
from harness.cli.parsing import AnyPath, Command, Names, Option, SuiteFile, completing
from harness.cli.writing_results import Target, is_written, write_failure
from harness.errors import HarnessError, InvalidInputError
from harness.model.metrics import METRICS, headlines
from harness.output.document import Kind
from harness.output.formats.known_formats import ENDINGS, FORMATS, format_of, formats_of, require
from harness.store.writing import require_writable
from harness.words import quoted

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
AsCommand = Callable[[Callable[..., Any]], click.Command]

PATH: Final = AnyPath(path_type=Path)
SUITE: Final = SuiteFile()


def harness_command(name: str, **settings: Any) -> AsCommand:
    """Make a command of a function, as `click.command` does, with the options under headings."""
    return click.command(name, cls=Command, **settings)


def option(*names: str, **settings: Any) -> Decorator:
    """Declare an option that one command has, under the heading `group`."""
    return click.option(*names, cls=Option, **settings)


def _axes(_ctx: click.Context) -> dict[str, str]:
    from harness.model.trial import AXES  # noqa: PLC0415 - only completion lists them

    return {name: axis.meaning for name, axis in AXES.items()}


def _metrics(_ctx: click.Context) -> dict[str, str]:
    return {name: metric.meaning for name, metric in METRICS.items()}


def _keys(_ctx: click.Context) -> dict[str, str]:
    from harness.suite.names import known_paths  # noqa: PLC0415 - as above

    return {f"{path}=": "" for path in known_paths()}


def _baselines(ctx: click.Context) -> dict[str, str]:
    from harness.store.baselines import REPORTS, kept_baselines  # noqa: PLC0415 - as above

    return dict.fromkeys(kept_baselines(ctx.params.get("reports") or REPORTS), "kept baseline")


suite_argument: Final = click.argument("suite", type=SUITE)
report_argument: Final = click.argument("report", type=PATH)
set_option: Final = option(
    "-s",
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the suite: -s train.max_steps=100, -s 'matrix.seed=[0, 1]'. Repeatable.",
    group="What to run",
    shell_complete=completing(_keys),
)
by_option: Final = option(
    "--by",
    metavar="AXIS",
    help="Compare the values of this axis with each other: padding, engine, train.learning_rate.",
    group="What to compare",
    shell_complete=completing(_axes),
)
suite_gates_option: Final = option(
    "--suite-gates/--no-suite-gates",
    default=True,
    show_default=True,
    help="Judge by the gates of the suite.",
    group="Gates",
)
allow_unsealed_option: Final = option(
    "--allow-unsealed/--no-allow-unsealed",
    help="Accept a report whose digest is null, such as one edited by hand.",
    group="What to compare",
)
metrics_option: Final = option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="METRIC",
    help=f"Compare this metric. Repeatable. [default: those of the task and {headlines('training')[-1]}]",
    group="What to compare",
    shell_complete=completing(_metrics),
)
margin_option: Final = option(
    "--margin",
    "margins",
    multiple=True,
    metavar="[METRIC=]SHARE",
    help="Scores that differ by less count as the same: 0.02, or 2%, of the metric's range, which is two "
    "points of accuracy and 0.04 of MCC; eval_mcc=0.03 sets the margin of one metric. [default: 0.02]",
    group="What to compare",
)
history_option: Final = option(
    "--history",
    "history",
    multiple=True,
    metavar="PATH",
    help="Earlier runs: a report, a run directory, a folder of runs such as reports/padding, or a kept "
    "baseline's name. They give the variance of quality over the seeds of a recipe, and of speed between "
    "runs of a variant on this machine. Repeatable.",
    group="What to compare",
    shell_complete=completing(_baselines, files=True),
)


def baseline_option(group: str, more: str = "") -> Decorator:
    """Declare `--baseline`; `more` is what else it may name in this command."""
    return option(
        "--baseline",
        metavar="REPORT",
        help=f"Compare with this: a report, or the name of a kept baseline{more}.",
        group=group,
        shell_complete=completing(_baselines, files=True),
    )


def selection_option(group: str) -> Decorator:
    """Declare `-k`, which selects variants of the reports."""
    return option(
        "-k",
        "selection",
        metavar="EXPR",
        help="Take only the variants whose labels match: -k 'lora and not static', -k 'minilm*'.",
        group=group,
    )


def allow_mismatch_option(names: Collection[str]) -> Decorator:
    """Declare `--allow-mismatch`."""
    return option(
        "--allow-mismatch",
        multiple=True,
        metavar="NAME",
        help=f"Compare in spite of this mismatch: {', '.join(names)}. Repeatable.",
        group="What to compare",
    )


def share(text: str, what: str) -> float:
    """Return a share of one that is written as `0.02` or `2%`; `what` names the option in the error."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise InvalidInputError(
            f"{what}: {text!r} is not a number", hint="Write a share or a percentage: 0.02 or 2%."
        ) from None


def margins_of_texts(texts: Sequence[str]) -> float | dict[str, float]:
    """Return one share of every metric's range, or margins by metric, of the texts of `--margin`."""
    if len(texts) == 1 and "=" not in texts[0]:
        return share(texts[0], "--margin")
    found: dict[str, float] = {}
    for text in texts:
        metric, equals, given = text.partition("=")
        if not equals:
            raise InvalidInputError(
                f"--margin {text}: several margins need a metric each", hint="Write --margin eval_mcc=0.03."
            )
        if metric in found:
            raise InvalidInputError(f"--margin {text}: {metric} has a margin already", hint="Give it once.")
        found[metric] = share(given, f"--margin {metric}")
    return found


def verbosity_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare `-q/--quiet` and `-v/--verbose`, which the functions of `harness.cli.messages` read."""
    for short, name, stored, text in (
        ("-v", "verbose", VERBOSE, "Print each step of progress and each file that is read."),
        ("-q", "quiet", QUIET, "Print no progress and no notes: the result and errors only."),
    ):
        option(
            short,
            f"--{name}/--no-{name}",
            expose_value=False,
            is_eager=True,
            callback=_remember(stored),
            help=text,
            group="Output",
        )(function)
    return function


def _remember(stored: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(context: click.Context, _param: click.Parameter, value: bool) -> None:
        context.meta[stored] = value
        if context.meta.get(QUIET) and context.meta.get(VERBOSE):
            raise click.UsageError("--quiet and --verbose exclude each other", context)

    return callback


def output_option(help_text: str = "Write the result to FILE, in the format of its ending.") -> Decorator:
    """Declare `-o/--output`."""
    return option("-o", "--output", type=PATH, metavar="FILE", help=help_text, group="Output")


class _FormatName(Names):
    """The name of a format that can carry a kind of document."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(formats_of(kind))
        self._kind: Kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse a format that exists but cannot carry this kind, naming those that can."""
        if value in FORMATS and value not in self.choices:
            able = ", ".join(self.choices)
            self.fail(f"a {self._kind} cannot be written as {value}; use one of {able}", param, ctx)
        return super().convert(value, param, ctx)


def output_options(kind: Kind, *, to_file: bool = True, every_failure: bool = False) -> Decorator:
    """Declare `--format`, `--json` and `-o/--output` for a document; the command gets its `target`.

    An error that occurs before the document is written replaces it if the format is JSON.

    Args:
        kind: of the document.
        to_file: declare `-o/--output`; without it the document goes to standard output.
        every_failure: write an error instead of the document in every format.
    """
    declarations = (
        option(
            "--format",
            "wanted",
            type=_FormatName(kind),
            help="The format of the result. [default: table]",
            group="Output",
        ),
        option("--json/--no-json", "as_json", help="The same as --format json.", group="Output"),
        *([output_option()] if to_file else []),
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def called(*, wanted: str | None, as_json: bool, **given: Any) -> Any:
            output = given.pop("output") if to_file else None
            name = _format(wanted, as_json=as_json, output=output, takes_set="overrides" in given)
            target = Target(require(kind, name), output)
            if output is not None and not _in_new_reports(output, given.get("options")):
                require_writable(output)
            try:
                return function(target=target, **given)
            except HarnessError as error:
                if (every_failure or target.name == "json") and not is_written():
                    write_failure(error, kind, str(click.get_current_context().info_name), target)
                raise

        for declare in reversed(declarations):
            declare(called)
        return called

    return decorate


def _in_new_reports(output: Path, options: object) -> bool:
    """Return whether the file will lie in the folder of reports, which a run makes."""
    reports = getattr(options, "reports", None)
    return reports is not None and output.is_relative_to(reports) and not reports.exists()


def _format(wanted: str | None, *, as_json: bool, output: Path | None, takes_set: bool) -> str:
    if as_json and wanted not in (None, "json"):
        raise click.UsageError(f"--json and --format {wanted} exclude each other")
    name = "json" if as_json else wanted
    if output is None:
        return name or "table"
    if takes_set and "=" in str(output):
        _refuse_setting(str(output), no_format=name is None and output.suffix.lower() not in ENDINGS)
    return name or format_of(output)


def _refuse_setting(text: str, *, no_format: bool) -> None:
    """Refuse `-o KEY=VALUE`: `-s` sets a value of the suite."""
    if no_format or not Path(text).parent.is_dir():
        raise InvalidInputError(
            f"-o {quoted(text)}: -o names the output file, and this looks like a value of the suite",
            hint=f"Set a value with -s: -s {quoted(text, 200)}",
        )
