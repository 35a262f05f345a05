"""`harness plan`: the trials of a suite and what each will use, before anything is run or fetched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click

from harness.analysis.naming import axes as axes_as_text
from harness.analysis.naming import only_tokenise, short_names, varying_axes
from harness.assets.resolve import peek_checkpoint
from harness.cli.messages import print_error
from harness.data.checking import plan_data
from harness.errors import HarnessError
from harness.machine.facts import available_devices, installed_torch
from harness.model.assets import AssetsMode
from harness.model.axis import axes_of, text, used_axes
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.output.safe_text import safe_text
from harness.suite.matrix import expand
from harness.suite.reading import read_suite


@click.command
@click.argument("suite", type=click.Path(path_type=Path))
@click.option(
    "-o", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key, train.learning_rate=3e-5."
)
@click.option(
    "--assets",
    type=click.Choice(get_args(AssetsMode)),
    default="auto",
    show_default=True,
    help="Where checkpoints and data may come from.",
)
@click.option("--json/--no-json", "as_json", default=False, help="Print JSON instead of a table.")
def command(suite: Path, overrides: tuple[str, ...], assets: AssetsMode, as_json: bool) -> None:
    """List the trials of SUITE with their ids, and which checkpoints, data and devices they will use.

    Nothing is fetched and nothing is trained. Data that is on this machine is read and checked.
    """
    try:
        plan = _plan(suite, overrides, assets)
    except HarnessError as error:
        if as_json:
            print_error(error)
        raise
    click.echo(json.dumps(_as_json(plan), indent=2) if as_json else "\n".join(_lines(plan)))


def _plan(path: Path, overrides: Sequence[str], assets: AssetsMode) -> dict[str, Any]:
    suite = read_suite(path, overrides)
    devices = available_devices()
    trials = expand(suite, devices)
    wanted = dict.fromkeys((trial.checkpoint, trial.revision) for trial in trials)
    return {
        "suite": suite.name,
        "task": suite.task.name,
        "trials": trials,
        "checkpoints": [
            {"name": name, "revision": revision, "uses": peek_checkpoint(name, revision, assets)}
            for name, revision in wanted
        ],
        "data": plan_data(suite.task, assets),
        "devices": [
            {"name": device, "available": device in devices}
            for device in dict.fromkeys(trial.device for trial in trials)
        ],
        "warnings": _gate_warnings(suite, trials),
    }


def _gate_warnings(suite: Suite, trials: Sequence[Trial]) -> list[str]:
    if all(gate.max_drop is None for gate in suite.gates):
        return []
    # Most plans have no drop gate, and start in a fraction of the time without numpy.
    from harness.analysis.gates.planning import gate_warnings  # noqa: PLC0415

    return gate_warnings(suite.gates, trials)


def _as_json(plan: dict[str, Any]) -> dict[str, Any]:
    trials: Sequence[Trial] = plan["trials"]
    rows = [
        {"id": trial.id, "variant_id": trial.variant_id, **trial.model_dump(mode="json")} for trial in trials
    ]
    return {**plan, "trials": rows}


def _lines(plan: dict[str, Any]) -> list[str]:
    trials: Sequence[Trial] = plan["trials"]
    used = [
        [safe_text(_called(found["name"], found["revision"])), safe_text(found["uses"])]
        for found in plan["checkpoints"]
    ]
    used.append([safe_text(plan["task"]), safe_text(plan["data"])])
    used += [
        [
            found["name"],
            "here"
            if found["available"]
            else f"not here ({installed_torch()}): its trials will be unavailable",
        ]
        for found in plan["devices"]
    ]
    count = f"{len(trials):,} {'trial' if len(trials) == 1 else 'trials'}"
    return [
        f"{plan['suite']}: {count} of {safe_text(plan['task'])}",
        "",
        *_aligned(trial_table(trials)),
        "",
        "uses",
        *(f"  {line}" for line in _aligned(used)),
        *(["", "gates"] if plan["warnings"] else []),
        *(f"  {warning}" for warning in plan["warnings"]),
    ]


def trial_table(trials: Sequence[Trial]) -> list[list[str]]:
    """Return the rows of the table of trials: the columns that every plan has, then the axes that vary."""
    axes = used_axes(axes_of(type(trials[0])), tokenizing=only_tokenise(trials))
    values = [{**axes_as_text(trial), "seed": text(trial.seed)} for trial in trials]
    always = [name for name, axis in axes.items() if axis.shown == "column"]
    columns = [*always, *(name for name in varying_axes(values) if name not in always)]
    names = short_names(trial.checkpoint for trial in trials)
    rows = [["id", *(name.rpartition(".")[2] for name in columns)]]
    for trial, each in zip(trials, values, strict=True):
        shown = {**each, "checkpoint": names[trial.checkpoint]}
        rows.append([trial.id, *(safe_text(shown[name]) for name in columns)])
    return rows


def _called(name: str, revision: str | None) -> str:
    return name if revision is None else f"{name}@{revision}"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
