"""`harness plan`: the trials of a suite and what each will use, before anything is run or fetched."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.analysis.naming import only_tokenise, short_names
from harness.assets.resolve import peek_checkpoint
from harness.cli.options import field_option, harness_command, output_options, set_option, suite_argument
from harness.cli.writing import write_text
from harness.data.checking import plan_data
from harness.machine.facts import available_devices, installed_torch
from harness.model.assets import AssetsMode
from harness.model.suite import Suite
from harness.model.trial import Train, Trial
from harness.output.safe_text import safe_text
from harness.suite.matrix import expand
from harness.suite.reading import read_suite

ALWAYS_SHOWN = ("checkpoint", "padding", "device", "precision", "seed")
SHOWN_OF_TOKENIZING = ("checkpoint", "tokenization", "tokenizer", "seed")
SHOWN_IF_SEVERAL = ("revision", "engine", "attention", "token_type_ids", "last_layer", "cuda_graphs")


@harness_command("plan")
@suite_argument
@set_option
@field_option("assets")
@output_options(("table", "json"), "a plan")
def command(
    suite: Path, overrides: tuple[str, ...], assets: AssetsMode, name: str, output: Path | None
) -> None:
    """List the trials of SUITE with their ids, and which checkpoints, data and devices they will use.

    Nothing is fetched and nothing is trained. Data that is on this machine is read and checked.
    """
    plan = _plan(suite, overrides, assets)
    text = json.dumps(_as_json(plan), indent=2) if name == "json" else "\n".join(_lines(plan))
    write_text(f"{text}\n", output)


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
        *_aligned(_table(trials)),
        "",
        "uses",
        *(f"  {line}" for line in _aligned(used)),
        *(["", "gates"] if plan["warnings"] else []),
        *(f"  {warning}" for warning in plan["warnings"]),
    ]


def _table(trials: Sequence[Trial]) -> list[list[str]]:
    several = [name for name in SHOWN_IF_SEVERAL if len({getattr(trial, name) for trial in trials}) > 1]
    varied = [key for key in Train.model_fields if len({getattr(trial.train, key) for trial in trials}) > 1]
    always = SHOWN_OF_TOKENIZING if only_tokenise(trials) else ALWAYS_SHOWN
    columns = [*always, *several]
    rows = [["id", *columns, *varied]]
    names = short_names(trial.checkpoint for trial in trials)
    for trial in trials:
        named = {"checkpoint": names[trial.checkpoint]}
        values = [named.get(name, getattr(trial, name)) for name in columns]
        values += [getattr(trial.train, key) for key in varied]
        rows.append([trial.id, *(safe_text(_as_in_yaml(value)) for value in values)])
    return rows


def _as_in_yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _called(name: str, revision: str | None) -> str:
    return name if revision is None else f"{name}@{revision}"


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
