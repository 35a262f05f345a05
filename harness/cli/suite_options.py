"""The arguments that commands which run a suite have in common."""

from __future__ import annotations

from pathlib import Path

import click

from harness.running.options import DEFAULT_RUNNER

suite_argument = click.argument("suite", type=click.Path(path_type=Path))
overrides_option = click.option(
    "-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the suite."
)
assets_option = click.option(
    "--assets",
    type=click.Choice(["auto", "hub", "embedded"]),
    default="auto",
    show_default=True,
    help="Where checkpoints and data come from; `auto` takes a labelled stand-in where it must.",
)
reports_option = click.option(
    "--reports",
    type=click.Path(path_type=Path),
    default=Path("reports"),
    show_default=True,
    help="Where run directories go.",
)
runner_option = click.option("--runner", default=DEFAULT_RUNNER, hidden=True)
strict_option = click.option("--strict/--no-strict", help="Run nothing if anything is unavailable.")
fresh_option = click.option(
    "--fresh/--no-fresh", help="Start a new run even if an earlier one can be resumed."
)
rerun_option = click.option(
    "--rerun", type=click.Choice(["failed", "all"]), help="Run these trials of the run again."
)
trial_timeout_option = click.option(
    "--trial-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End a trial that takes longer.",
)
retries_option = click.option(
    "--retries",
    type=click.IntRange(0, 10),
    default=0,
    show_default=True,
    help="More attempts for a trial that was killed, timed out or could not start.",
)
fail_fast_option = click.option(
    "--fail-fast/--no-fail-fast", help="End the run at the first trial that does not complete."
)
parity_option = click.option(
    "--parity/--no-parity", default=True, show_default=True, help="First prove what each variant computes."
)
gates_option = click.option(
    "--gates/--no-gates", default=True, show_default=True, help="Judge the run by its suite's gates."
)
wait_option = click.option("--wait/--no-wait", help="Wait while another process works on this run.")
grace_option = click.option("--grace", "grace_s", type=click.FloatRange(0), default=10.0, hidden=True)
