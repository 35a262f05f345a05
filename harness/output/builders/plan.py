"""A plan as a document: the trials of a suite, and which checkpoints, data and devices they will use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.analysis.naming import only_tokenise, short_names
from harness.model.trial import Train, Trial
from harness.output.document import Column, Document, Table
from harness.words import count

_ALWAYS: Final = ("checkpoint", "padding", "device", "precision", "seed")
_ALWAYS_TOKENIZING: Final = ("checkpoint", "tokenization", "tokenizer", "seed")
_IF_SEVERAL: Final = ("revision", "engine", "attention", "token_type_ids", "last_layer", "cuda_graphs")


@dataclass(frozen=True, slots=True)
class Planned:
    """The trials of a suite and what each will use.

    `checkpoints` has name, revision and use of each, `devices` whether each is available; `torch` is the
    installed build.
    """

    suite: str
    task: str
    trials: Sequence[Trial]
    checkpoints: Sequence[tuple[str, str | None, str]]
    data: str
    devices: Sequence[tuple[str, bool]]
    torch: str
    warnings: Sequence[str]


def plan_document(plan: Planned) -> Document:
    """One row a trial, with the columns that vary, and below it what the trials use."""
    return Document(
        kind="plan",
        title=f"{plan.suite}: {count(len(plan.trials), 'trial')} of {plan.task}",
        model=_model(plan),
        tables=(
            Table("Trials", _columns(plan.trials)),
            Table("uses", pairs=tuple(_uses(plan))),
            *([Table("gates", notes=tuple(plan.warnings))] if plan.warnings else []),
        ),
        layout="lines",
    )


def _model(plan: Planned) -> dict[str, object]:
    return {
        "suite": plan.suite,
        "task": plan.task,
        "trials": [
            {"id": trial.id, "variant_id": trial.variant_id, **trial.model_dump(mode="json")}
            for trial in plan.trials
        ],
        "checkpoints": [
            {"name": name, "revision": revision, "uses": uses} for name, revision, uses in plan.checkpoints
        ],
        "data": plan.data,
        "devices": [{"name": name, "available": available} for name, available in plan.devices],
        "warnings": list(plan.warnings),
    }


def _uses(plan: Planned) -> list[tuple[str, str]]:
    missing = f"not here ({plan.torch}): its trials will be unavailable"
    return [
        *(
            (name if revision is None else f"{name}@{revision}", use)
            for name, revision, use in plan.checkpoints
        ),
        (plan.task, plan.data),
        *((name, "here" if available else missing) for name, available in plan.devices),
    ]


def _columns(trials: Sequence[Trial]) -> tuple[Column, ...]:
    several = [name for name in _IF_SEVERAL if len({getattr(trial, name) for trial in trials}) > 1]
    varied = [key for key in Train.model_fields if len({getattr(trial.train, key) for trial in trials}) > 1]
    always = _ALWAYS_TOKENIZING if only_tokenise(trials) else _ALWAYS
    names = short_names(trial.checkpoint for trial in trials)
    cells = {
        name: tuple(_as_in_yaml(getattr(trial, name)) for trial in trials) for name in (*always, *several)
    }
    cells |= {key: tuple(_as_in_yaml(getattr(trial.train, key)) for trial in trials) for key in varied}
    cells["checkpoint"] = tuple(names[trial.checkpoint] for trial in trials)
    return (
        Column("id", tuple(trial.id for trial in trials), numeric=False),
        *(Column(name, shown, numeric=False) for name, shown in cells.items()),
    )


def _as_in_yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
