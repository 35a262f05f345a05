"""A plan as a document: the trials of a suite, and which checkpoints, data and devices they will use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.forecast.estimating import Estimate
from harness.analysis.forecast.likeness import Range
from harness.analysis.naming import axes as axes_as_text
from harness.analysis.naming import only_tokenise, short_names, task_names, telling_axes
from harness.model.axis import axes_of, text, used_axes
from harness.model.trial import Trial
from harness.output.document import Column, Document, Table
from harness.output.numbers import NOTHING, duration, significant, size
from harness.words import count


@dataclass(frozen=True, slots=True)
class Planned:
    """The trials of a suite and what each will use.

    `checkpoints` has name, revision and use of each, `data` the name of each task and the use of its data,
    `devices` whether each is available; `torch` is the installed build. `cluster` describes the cluster that
    the trials would run on and its nodes, empty for this machine. `offers` are settings of the suite that
    would save trainings. `price` is that of an hour. `problems` are reasons why earlier reports did not count
    for the estimate.
    """

    suite: str
    trials: Sequence[Trial]
    checkpoints: Sequence[tuple[str, str | None, str]]
    data: Sequence[tuple[str, str]]
    devices: Sequence[tuple[str, bool]]
    torch: str
    warnings: Sequence[str]
    estimate: Estimate
    cluster: Sequence[str] = ()
    offers: Sequence[str] = ()
    price: float | None = None
    problems: Sequence[str] = ()


def plan_document(plan: Planned) -> Document:
    """Build a row for each trial with the columns that vary, and the assets of the trials below."""
    return Document(
        kind="plan",
        title=f"{plan.suite}: {count(len(plan.trials), 'trial')} of {_tasks(plan)}",
        model=_model(plan),
        tables=(
            Table("Trials", (*trial_columns(plan.trials), *_estimated_columns(plan))),
            Table("uses", pairs=tuple(_uses(plan))),
            *([Table("cluster", notes=tuple(plan.cluster))] if plan.cluster else []),
            Table("estimate", pairs=tuple(_totals(plan.estimate, plan.price)), notes=tuple(_remarks(plan))),
            *([Table("gates", notes=tuple(plan.warnings))] if plan.warnings else []),
            *([Table("trainings", notes=tuple(plan.offers))] if plan.offers else []),
        ),
        layout="lines",
    )


def _model(plan: Planned) -> dict[str, object]:
    return {
        "suite": plan.suite,
        "task": _tasks(plan),
        "trials": [
            {"id": trial.id, "variant_id": trial.variant_id, **trial.model_dump(mode="json")}
            for trial in plan.trials
        ],
        "checkpoints": [
            {"name": name, "revision": revision, "uses": uses} for name, revision, uses in plan.checkpoints
        ],
        "data": _data(plan),
        "devices": [{"name": name, "available": available} for name, available in plan.devices],
        "cluster": list(plan.cluster),
        "warnings": list(plan.warnings),
        "offers": list(plan.offers),
        "estimate": _estimate_model(plan),
    }


def _tasks(plan: Planned) -> str:
    return task_names([trial.task for trial in plan.trials])


def _data(plan: Planned) -> str:
    if len(plan.data) == 1:
        return plan.data[0][1]
    return "; ".join(f"{name}: {use}" for name, use in plan.data)


def _estimate_model(plan: Planned) -> dict[str, object]:
    found = plan.estimate
    return {
        "to_run": found.to_run,
        "reused": found.reused,
        "unavailable": found.unavailable,
        "unknown": [trial.id for trial in found.unknown],
        "seconds": _bounds(found.seconds),
        "proof_seconds": _bounds(found.proof_seconds),
        "host_memory_bytes": _bounds(found.host_memory),
        "device_memory_bytes": _bounds(found.device_memory),
        "disk_bytes": _bounds(found.disk),
        "price_per_hour": plan.price,
        "cost": _bounds(_cost(found, plan.price)),
        "runs": list(found.runs),
        "trials": [
            {
                "id": id_,
                "seconds": _bounds(each.seconds),
                "host_memory_bytes": _bounds(each.host_memory),
                "device_memory_bytes": _bounds(each.device_memory),
                "disk_bytes": _bounds(each.disk),
                "results": each.results,
                "unlike": list(each.unlike),
            }
            for id_, each in found.trials.items()
        ],
        "notes": _remarks(plan),
    }


def _bounds(found: Range | None) -> dict[str, float] | None:
    return None if found is None else {"low": found.low, "high": found.high}


def _cost(found: Estimate, price: float | None) -> Range | None:
    if price is None or found.seconds is None:
        return None
    return Range(price * found.seconds.low / 3600, price * found.seconds.high / 3600)


def _estimated_columns(plan: Planned) -> list[Column]:
    """Return the time and memory of each trial, if any has an estimate."""
    each = [plan.estimate.trials.get(trial.id) for trial in plan.trials]
    if not any(each):
        return []
    times = tuple(NOTHING if one is None else _between(one.seconds, duration) for one in each)
    memory = tuple(
        NOTHING if one is None else _between(one.device_memory or one.host_memory, size) for one in each
    )
    return [Column("time", times, numeric=False), Column("memory", memory, numeric=False)]


def _between(found: Range | None, form: Callable[[float], str]) -> str:
    return NOTHING if found is None else f"{form(found.low)} to {form(found.high)}"


def _totals(found: Estimate, price: float | None) -> Iterator[tuple[str, str]]:
    numbers = f"{found.to_run} to run, {found.reused} reused, {found.unavailable} unavailable"
    yield "trials", numbers
    if found.seconds is None:
        return
    proofs = found.proof_seconds
    within = f", of which proofs {_between(proofs, duration)}" if proofs is not None and proofs.high else ""
    yield "time", _between(found.seconds, duration) + within
    if found.host_memory is not None:
        yield "memory", _between(found.host_memory, size)
    if found.device_memory is not None:
        yield "device memory", _between(found.device_memory, size)
    yield "disk", _between(found.disk, size)
    if (cost := _cost(found, price)) is not None:
        yield "cost", f"{_between(cost, significant)}, at {price:g} an hour"


def _remarks(plan: Planned) -> list[str]:
    """Return where an estimate comes from, what it leaves out, and in what its results differ."""
    if plan.cluster:
        return ["times on a cluster are not estimated", *plan.problems]
    found, remarks = plan.estimate, []
    if found.runs:
        remarks.append(f"from earlier results on this machine: {', '.join(found.runs)}")
    if found.trials and found.proof_seconds is None:
        remarks.append("the time of proofs is not included: no earlier proof on this machine")
    unlike = Counter(text for each in found.trials.values() for text in each.unlike)
    remarks += [f"wider for {count(number, 'trial')}: {text}" for text, number in unlike.items()]
    unknown = Counter(trial.checkpoint for trial in found.unknown)
    remarks += [
        f"{checkpoint}: {count(number, 'trial')} not estimated: no earlier result of this checkpoint on this "
        "machine: run one seed first"
        for checkpoint, number in unknown.items()
    ]
    return [*remarks, *plan.problems]


def _uses(plan: Planned) -> list[tuple[str, str]]:
    missing = f"not here ({plan.torch}): its trials will be unavailable"
    return [
        *(
            (name if revision is None else f"{name}@{revision}", use)
            for name, revision, use in plan.checkpoints
        ),
        *plan.data,
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
            for name in (*always, *(name for name in telling_axes(values) if name not in always))
        ),
    )
