"""A plan as a document: the trials of a suite, and which checkpoints, data and devices they will use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.naming import axes as axes_as_text
from harness.analysis.naming import only_tokenise, short_names, varying_axes
from harness.model.axis import axes_of, text, used_axes
from harness.model.trial import Trial
from harness.output.document import Column, Document, Table
from harness.words import count


@dataclass(frozen=True, slots=True)
class Planned:
    """The trials of a suite and what each will use.

    `checkpoints` has name, revision and use of each, `devices` whether each is available; `torch` is the
    installed build. `offers` are settings of the suite that would save trainings.
    """

    suite: str
    task: str
    trials: Sequence[Trial]
    checkpoints: Sequence[tuple[str, str | None, str]]
    data: str
    devices: Sequence[tuple[str, bool]]
    torch: str
    warnings: Sequence[str]
    offers: Sequence[str] = ()


def plan_document(plan: Planned) -> Document:
    """Build a row for each trial with the columns that vary, and the assets of the trials below."""
    return Document(
        kind="plan",
        title=f"{plan.suite}: {count(len(plan.trials), 'trial')} of {plan.task}",
        model=_model(plan),
        tables=(
            Table("Trials", trial_columns(plan.trials)),
            Table("uses", pairs=tuple(_uses(plan))),
            *([Table("gates", notes=tuple(plan.warnings))] if plan.warnings else []),
            *([Table("trainings", notes=tuple(plan.offers))] if plan.offers else []),
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
        "offers": list(plan.offers),
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


def trial_columns(trials: Sequence[Trial]) -> tuple[Column, ...]:
    """Return the columns that every plan has, then those of the axes that vary."""
    axes = used_axes(axes_of(type(trials[0])), tokenizing=only_tokenise(trials))
    values = [{**axes_as_text(trial), "seed": text(trial.seed)} for trial in trials]
    always = [name for name, axis in axes.items() if axis.shown == "column"]
    names = short_names(trial.checkpoint for trial in trials)
    rows = [
        each | {"checkpoint": names[trial.checkpoint]} for each, trial in zip(values, trials, strict=True)
    ]
    return (
        Column("id", tuple(trial.id for trial in trials), numeric=False),
        *(
            Column(name.rpartition(".")[2], tuple(row[name] for row in rows), numeric=False)
            for name in (*always, *(name for name in varying_axes(values) if name not in always))
        ),
    )
