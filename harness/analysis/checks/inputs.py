"""Inputs: detect trials of one condition that used different data or files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from harness.analysis.comparison.conditions import CONDITIONS
from harness.analysis.naming import labels
from harness.model.assets import Checkpoint, Data
from harness.model.axis import text
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed
from harness.model.trial import Trial

# Conditions that the seeds of one variant share on every machine.
INPUTS: Final = (
    "data",
    "stand_in",
    "metric_version",
    "examples",
    "labels",
    "weights",
    "config",
    "tokenizer",
    "columns",
    "truncation",
    "precision",
)

Source = tuple[TrialResult, Report]


def mixed_inputs(trials: Iterable[Source]) -> dict[str, str]:
    """Return the differences between the completed trials of one variant, by condition, with the seeds.

    Empty if all have the same inputs.
    """
    completed = [(result, report) for result, report in trials if result.status == "completed"]
    found: dict[str, str] = {}
    for name in INPUTS:
        seeds: dict[str, list[Seed]] = {}
        for result, report in completed:
            seeds.setdefault(CONDITIONS[name].read(result, report), []).append(result.trial.seed)
        if len(seeds) > 1:
            listed = "; ".join(f"{found} (seed {', '.join(map(str, each))})" for found, each in seeds.items())
            found[name] = f"{CONDITIONS[name].meaning}: {listed}"
    return found


def mixed_variants(report: Report) -> dict[str, Mapping[str, str]]:
    """Return the variants of a report whose trials have different inputs, by id, with the differences."""
    return {
        variant: found
        for variant, results in report.variants().items()
        if (found := mixed_inputs((result, report) for result in results))
    }


def conflicting_inputs(report: Report) -> tuple[str, ...]:
    """Return a message for each task or checkpoint that differs between variants or proofs."""
    names = labels(result.trial for result in report.results)
    # The trials of a large report share the objects that describe the same asset.
    distinct: dict[tuple[object, ...], tuple[str, TrialResult]] = {}
    for result in report.results:
        variant, parts = result.trial.variant_id, (result.trial.task, result.data, result.checkpoint)
        distinct.setdefault((variant, *map(id, parts)), (names[variant], result))
    proofs = [(f"proof of {proof.trial.checkpoint} {proof.trial.padding}", proof) for proof in report.proofs]
    sentences = []
    for what, key, read in _SHARED:
        # Maps the shared asset to its content, and that to the names of its users.
        found: dict[str, dict[str, dict[str, None]]] = {}
        for name, result in (*distinct.values(), *proofs):
            if (text := read(result)) is not None:
                found.setdefault(key(result.trial), {}).setdefault(text, {})[name] = None
        sentences += [
            f"{what} of {shared} differ: "
            + "; ".join(f"{text} in {', '.join(who)}" for text, who in texts.items())
            for shared, texts in found.items()
            if len(texts) > 1 and _several(texts.values())
        ]
    return tuple(sentences)


def _several(readers: Iterable[Iterable[str]]) -> bool:
    # A difference within one variant is a mixture, which `mixed_inputs` reports.
    return len({name for names in readers for name in names}) > 1


def _task(trial: Trial) -> str:
    settings = trial.task.model_dump(
        exclude={"data_dir", "max_length", "dataset", "config"}, exclude_defaults=True
    )
    return ", ".join([trial.task.name, *(f"{name} {text(getattr(trial.task, name))}" for name in settings)])


def _checkpoint(trial: Trial) -> str:
    return trial.checkpoint if trial.revision is None else f"{trial.checkpoint}@{trial.revision}"


def _tokenized_task(trial: Trial) -> str:
    return f"{_task(trial)} with {_checkpoint(trial)}, max_length {trial.task.max_length}"


def _content(result: TrialResult) -> str | None:
    data: Data | None = result.data
    if data is None:
        return None
    synthetic = "synthetic " if data.synthetic else ""
    return (
        f"{synthetic}{data.name}, content {data.content_sha256[:12]}, classes {', '.join(data.labels)}, "
        f"{data.train_examples} and {data.eval_examples} examples, majority {data.eval_majority_share:.6g}"
    )


def _files(result: TrialResult) -> str | None:
    checkpoint: Checkpoint | None = result.checkpoint
    if checkpoint is None:
        return None
    digests = {
        "weights": checkpoint.weights_sha256,
        "config": checkpoint.config_sha256,
        "tokenizer": checkpoint.tokenizer_sha256,
    }
    listed = [f"{name} {digest[:12] if digest else 'unknown'}" for name, digest in digests.items()]
    return ", ".join([checkpoint.name, *listed, *(["stand-in"] if checkpoint.stand_in else [])])


def _lengths(result: TrialResult) -> str | None:
    data = result.data
    if data is None:
        return None
    return (
        f"longest {data.longest} of at most {data.max_length} tokens, mean {data.mean_length:.6g}, "
        f"{data.truncated} truncated"
    )


_SHARED: Final[tuple[tuple[str, Callable[[Trial], str], Callable[[TrialResult], str | None]], ...]] = (
    ("the data", _task, _content),
    ("the files", _checkpoint, _files),
    ("the lengths", _tokenized_task, _lengths),
)
