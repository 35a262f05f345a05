"""The arguments that commands which run a suite have in common."""

from __future__ import annotations

from pathlib import Path

import click

from harness.execution.options import DEFAULT_RUNNER

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
