"""Summarise a report: one row for each variant, over all its seeds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import fsum, sqrt
from statistics import fmean, median
from typing import Final, Literal

import numpy as np

from harness.analysis.assets_used import is_stand_in, stand_ins_of
from harness.analysis.checks.inputs import mixed_variants
from harness.analysis.checks.observed import did_not_move
from harness.analysis.comparison.sessions import Turns
from harness.analysis.naming import labels
from harness.analysis.parity import verdicts
from harness.analysis.probes import Deviation, held_back, noisy
from harness.analysis.rows import Estimate, Failure, Rank, Row, Tokenizing, groups_of, ranks
from harness.analysis.sharing import trained_by
from harness.analysis.training_verdicts import training_verdicts
from harness.model.metrics import METRICS, metrics_of
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed
from harness.model.status import Phase, StatusName
from harness.model.tasks import further_scores

_NOTED: Final = frozenset(name for name, metric in METRICS.items() if metric.noted)
PEAK_MEMORY: Final[dict[Literal["device", "host"], str]] = {
    "device": "peak_memory_allocated_bytes",
    "host": "peak_memory_host_bytes",
}
SPEED: Final = "train_real_tokens_per_second"
TOKENIZING_SPEED: Final = "tokenize_tokens_per_second"


def summarize(report: Report) -> tuple[Row, ...]:
    """Return one row for each variant, in plan order.

    A variant whose proof shows a different function or different training is marked and not ranked; a variant
    whose parameters did not change is not ranked either. A variant whose trials have different inputs has no
    averages.
    """
    parity, training = verdicts(report), training_verdicts(report)
    mixed = mixed_variants(report)
    variants = report.variants()
    names = labels(result.trial for result in report.results)
    rows = [
        replace(
            _row(names[variant], results, report.suite.reference, averaged=variant not in mixed),
            parity=parity[variant],
            training=training[variant],
            mixed=mixed.get(variant, {}),
        )
        for variant, results in variants.items()
    ]
    trained = _trained(report, names)
    disturbed, found = noisy(report.results), _ranks(rows, variants, Turns(report.results))
    return tuple(
        replace(
            row,
            rank=found.get(row.variant),
            noisy=_of_seeds(variants[row.variant], disturbed),
            trained=trained.get(row.variant, {}),
        )
        for row in rows
    )


def _trained(report: Report, names: Mapping[str, str]) -> dict[str, dict[str, tuple[Seed, ...]]]:
    """Return the labels and seeds of the trials that trained for those that share a training, by variant."""
    label_of = {result.trial.id: names[result.trial.variant_id] for result in report.results}
    found: dict[str, dict[str, tuple[Seed, ...]]] = {}
    for result in report.results:
        if (source := trained_by(result)) != result.trial.id:
            of_variant, label = found.setdefault(result.trial.variant_id, {}), label_of.get(source, source)
            of_variant[label] = (*of_variant.get(label, ()), result.trial.seed)
    return found


def _of_seeds(results: Sequence[TrialResult], found: Mapping[str, Deviation]) -> dict[Seed, Deviation]:
    return {result.trial.seed: found[result.trial.id] for result in results if result.trial.id in found}


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """Return mean and sample standard deviation of the measured values, or None without any."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    mean = fmean(found)
    return Estimate(mean, _deviation(found, mean) if len(found) > 1 else None, len(found))


def _deviation(values: Sequence[float], mean: float) -> float:
    """Return the sample standard deviation to the last digit or two; `statistics.stdev` adds up fractions."""
    gaps = [value - mean for value in values]
    # The mean is rounded: equal values differ from it, but not from each other.
    squares = fsum(gap * gap for gap in gaps) - fsum(gaps) ** 2 / len(gaps)
    return sqrt(max(squares, 0.0) / (len(gaps) - 1))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the quantile of sorted values with linear interpolation, the default of numpy."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - ordered[below])


def _in_order(several: Iterable[Sequence[float]]) -> list[float]:
    """Return all numbers in order, which numpy sorts in a fifth of the time."""
    found: list[float] = np.sort(np.concatenate([(), *several])).tolist()
    return found


def _row(
    label: str, results: Sequence[TrialResult], reference: Mapping[str, float], *, averaged: bool
) -> Row:
    completed = [result for result in results if result.status == "completed" and averaged]
    sound = [result for result in completed if result.sound]
    quality = {
        metric: found
        for metric in (*metrics_of("quality"), *further_scores([results[0].trial.task]))
        if (found := estimate(result.value(metric) for result in sound)) is not None
    }
    steps = _in_order(result.values("train_step_seconds") for result in completed)
    memory_of, memory = _peak_memory(completed)
    stand_in = _stand_in(results)
    synthetic = any(result.data is not None and result.data.synthetic for result in results)
    limited = any(result.trial.task.limit is not None for result in results)
    return Row(
        variant=results[0].trial.variant_id,
        label=label,
        trial=results[0].trial,
        statuses=_statuses(results),
        seeds=tuple(result.trial.seed for result in results),
        failures=_failures(results),
        degenerate=sum(result.degenerate for result in results if result.status == "completed"),
        quality=quality,
        real_tokens_per_second=_median(completed, SPEED),
        samples_per_second=_median(completed, "train_samples_per_second"),
        step_seconds_median=quantile(steps, 0.5) if steps else None,
        step_seconds_p95=quantile(steps, 0.95) if steps else None,
        padding_efficiency=_median(completed, "padding_efficiency"),
        train_seconds=_median(completed, "train_seconds"),
        peak_memory_bytes=memory,
        peak_memory_of=memory_of,
        model_flops_utilization=_median(completed, "model_flops_utilization"),
        unmeasured=_unmeasured(completed),
        stand_in=stand_in,
        synthetic=synthetic,
        against_reference={} if stand_in or synthetic or limited else _differences(quality, reference),
        rank=None,
        speed_range=_range(speeds(completed).values()),
        below_majority=sum(map(_below_majority, sound)),
        unmoved=sum(map(did_not_move, completed)),
        concurrent=max(result.concurrent for result in results),
        held_back={each.trial.seed: causes for each in completed if (causes := held_back(each))},
        apart=next((result.apart for result in completed if result.apart is not None), None),
        tokenizing=_tokenizing(completed) if results[0].trial.tokenization is not None else None,
    )


def _tokenizing(results: Sequence[TrialResult]) -> Tokenizing:
    added = [value for result in results if (value := result.value("tokenize_memory_bytes")) is not None]
    seconds = _median(results, "tokenize_seconds")
    return Tokenizing(
        seconds=seconds,
        examples_per_second=_over(seconds, results, "tokenize_examples_per_second"),
        tokens_per_second=_over(seconds, results, "tokenize_tokens_per_second"),
        added_memory_bytes=max(added, default=None),
    )


def _over(seconds: float | None, results: Sequence[TrialResult], metric: str) -> float | None:
    """Return the rate at the median time, since a median of rates over two seeds would not match it."""
    for result in results:
        rate, time = result.value(metric), result.value("tokenize_seconds")
        if seconds and rate is not None and time is not None:
            return rate * time / seconds
    return None


def _statuses(results: Sequence[TrialResult]) -> dict[StatusName, int]:
    counts: dict[StatusName, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    return counts


def _failures(results: Sequence[TrialResult]) -> tuple[Failure, ...]:
    """Return the trials that did not complete, grouped by status, phase and reason."""
    seeds_by_end: dict[tuple[StatusName, Phase, str], list[Seed]] = {}
    for result in results:
        if result.status != "completed":
            key = (result.status, result.phase, result.reason or "no reason given")
            seeds_by_end.setdefault(key, []).append(result.trial.seed)
    return tuple(Failure(*key, tuple(seeds)) for key, seeds in seeds_by_end.items())


def _median(results: Iterable[TrialResult], metric: str) -> float | None:
    found = [value for result in results if (value := result.value(metric)) is not None]
    return median(found) if found else None


def _range(values: Collection[float]) -> tuple[float, float] | None:
    """Return the smallest and the largest value; None for fewer than two values."""
    return (min(values), max(values)) if len(values) > 1 else None


def _below_majority(result: TrialResult) -> bool:
    """Return whether a trial scores below the majority share, the score of a constant prediction."""
    accuracy = result.value("eval_accuracy")
    return accuracy is not None and result.data is not None and accuracy < result.data.eval_majority_share


def _peak_memory(
    results: Sequence[TrialResult],
) -> tuple[Literal["device", "host"] | None, float | None]:
    """Return the peak memory of a device with separate memory, else the peak resident set size."""
    for kind, metric in PEAK_MEMORY.items():
        found = [value for result in results if (value := result.value(metric)) is not None]
        if found:
            return kind, max(found)
    return None, None


def _unmeasured(results: Iterable[TrialResult]) -> dict[tuple[str, str], tuple[Seed, ...]]:
    found: dict[tuple[str, str], tuple[Seed, ...]] = {}
    for result in results:
        for metric, reason in result.reasons.items():
            if metric in _NOTED:
                found[metric, reason] = (*found.get((metric, reason), ()), result.trial.seed)
    return found


def _stand_in(results: Iterable[TrialResult]) -> str | None:
    return next(iter(stand_ins_of(results).values()), None)


def _differences(quality: Mapping[str, Estimate], reference: Mapping[str, float]) -> dict[str, float]:
    return {
        metric: found.mean - reference[metric] for metric, found in quality.items() if metric in reference
    }


def _ranks(
    rows: Sequence[Row], variants: Mapping[str, Sequence[TrialResult]], turns: Turns
) -> dict[str, Rank]:
    """Return the ranks in each group of comparable variants."""

    def are_pairs(one: str, other: str) -> bool:
        return turns.doubt(variants[one], variants[other]) is None

    places = {row.variant: _place(row, variants[row.variant]) for row in rows}
    found: dict[str, Rank] = {}
    for group in groups_of(places):
        found |= ranks({variant: speeds(variants[variant]) for variant in group}, are_pairs)
    return found


def speeds(results: Iterable[TrialResult]) -> dict[Seed, float]:
    """Return the real tokens per second of training, or of tokenizing, by seed, where they were measured."""
    return {
        result.trial.seed: value
        for result in results
        if (value := result.value(SPEED if result.trial.tokenization is None else TOKENIZING_SPEED))
        is not None
    }


def _place(row: Row, results: Sequence[TrialResult]) -> tuple[object, ...] | None:
    """Return the machine and inputs of a speed measurement, or None if it is not comparable."""
    if row.completed < len(results) or row.degenerate or row.unmoved or row.concurrent > 1 or row.mixed:
        return None
    if row.fails_parity or row.fails_training or row.speed is None:
        return None
    places = {
        (
            result.trial.tokenization is None,
            result.trial.device,
            result.environment and result.environment.fingerprint,
            result.data and result.data.content_sha256,
            is_stand_in(result),
        )
        for result in results
    }
    return places.pop() if len(places) == 1 else None
