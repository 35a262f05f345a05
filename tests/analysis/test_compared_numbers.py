"""The numbers of a comparison against those of scipy and statsmodels, row by row and over the table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, median
from typing import Final

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.analysis.comparison.comparing import compare
from harness.analysis.comparison.models import Comparison, ComparisonRow
from harness.analysis.stats.quality_tests import compare_quality
from harness.analysis.stats.resampling import Case
from harness.analysis.stats.sheets import read_sheet
from harness.model.measurements import measured
from harness.model.metrics import metric_named
from harness.model.results import Report, TrialResult
from harness.model.values import PaddingStrategy
from tests.analysis.test_comparison import result
from tests.factories import make_report, make_trial

TIMES: Final = ("train_real_tokens_per_second", "evaluate_seconds")
SCORES: Final = ("eval_accuracy", "eval_f1", "eval_loss")
PADDINGS: Final[tuple[PaddingStrategy, ...]] = ("static", "dynamic")


def _trial(random: np.random.Generator, padding: PaddingStrategy, seed: int, change: float) -> TrialResult:
    """A trial whose rate and errors scatter; `change` is relative for the rate, and in errors of 10 %."""
    wrong = random.choice(np.arange(90), size=int(40 + 10 * change + random.integers(0, 6)), replace=False)
    speed = 1_000.0 * (1 + change * random.uniform(0.5, 1.5)) * random.lognormal(0, 0.01)
    made = result(make_trial(padding, seed), list(map(int, wrong)), speed=speed)
    # A value of its own for each metric, which no other measurement implies.
    seconds = measured("evaluate_seconds", 2.0 * random.lognormal(-change, 0.02))
    kept = [each for each in made.measurements if each.metric != "evaluate_seconds"]
    return made.model_copy(update={"measurements": (*kept, seconds)})


@lru_cache
def _run(number: int) -> Report:
    """A run of two paddings, which may differ in nothing, in times, or also in scores."""
    random = np.random.default_rng(number)
    seeds, change = (3, 4, 6)[number % 3], (0.0, 0.02, 0.15, 1.0)[number % 4]
    return make_report(
        [
            _trial(random, padding, seed, change * (padding == "dynamic"))
            for seed in range(seeds)
            for padding in PADDINGS
        ]
    )


def _values(report: Report, metric: str) -> tuple[list[float], list[float]]:
    """The values of both paddings, by seed."""
    static, dynamic = (
        [
            value
            for each in report.results
            if each.trial.padding.strategy == name and (value := each.value(metric)) is not None
        ]
        for name in PADDINGS
    )
    return static, dynamic


NUMBERS: Final = range(12)


@lru_cache
def _compared(number: int) -> Comparison:
    return compare([_run(number)], by="padding", metrics=[*TIMES, *SCORES])


def _row(number: int, metric: str) -> ComparisonRow:
    return next(each for each in _compared(number).rows if each.metric == metric)


@pytest.mark.parametrize("metric", TIMES)
@pytest.mark.parametrize("number", NUMBERS)
def test_a_time_has_the_medians_and_the_paired_t_test_of_its_logarithms(number: int, metric: str) -> None:
    row = _row(number, metric)
    before, after = _values(_run(number), metric)
    assert (row.kind, row.baseline.value, row.candidate.value) == ("ratio", median(before), median(after))
    assert (row.baseline.trials, row.candidate.trials) == (len(before), len(after))
    assert row.effect == pytest.approx(median(after) / median(before))
    test = stats.ttest_rel(np.log(after), np.log(before))
    assert row.p == pytest.approx(test.pvalue, rel=1e-6)
    assert row.coverage is not None
    assert row.interval == pytest.approx(np.exp(test.confidence_interval(row.coverage)), rel=1e-6)


@pytest.mark.parametrize("metric", SCORES)
@pytest.mark.parametrize("number", NUMBERS)
def test_a_score_has_the_means_over_seeds_and_their_difference(number: int, metric: str) -> None:
    row = _row(number, metric)
    before, after = _values(_run(number), metric)
    assert row.kind == "difference"
    assert row.baseline.value == pytest.approx(fmean(before))
    assert row.candidate.value == pytest.approx(fmean(after))
    assert row.effect == pytest.approx(fmean(after) - fmean(before))
    # The variance over the examples of one seed never lowers that over seeds.
    assert row.p is not None
    assert row.p >= 0.9 * stats.ttest_rel(after, before).pvalue or row.p < 1e-3


@pytest.mark.parametrize("number", NUMBERS)
def test_the_table_is_adjusted_as_a_whole_and_decided_at_5_percent(number: int) -> None:
    rows = _compared(number).rows
    raw = [row.p for row in rows if row.p is not None]
    assert len(raw) == len(rows) == len(TIMES) + len(SCORES)
    adjusted = multipletests(raw, method="holm")[1]
    for row, p in zip(rows, adjusted, strict=True):
        assert row.p_holm == pytest.approx(p)
        _assert_decided(row, float(p), _compared(number).margins.get(row.metric), len(raw))


def _assert_decided(row: ComparisonRow, p: float, margin: float | None, tested: int) -> None:
    assert row.effect is not None
    assert row.interval is not None
    assert row.coverage is not None
    assert row.p is not None
    none = 1.0 if row.kind == "ratio" else 0.0
    low, high = row.interval
    if row.verdict != "same" and p < 1:
        assert 1 - row.coverage == pytest.approx(0.05 * row.p / p)
    elif row.verdict != "same":
        assert 0.05 / tested <= 1 - row.coverage + 1e-9 <= 0.05 + 1e-9
    if p <= 0.05:
        better = "better" if (row.effect > none) == (metric_named(row.metric).goal == "max") else "worse"
        assert row.verdict == better
        assert not low <= none <= high
    elif row.verdict == "same":
        assert margin is not None
        assert row.equivalent
        assert row.coverage == pytest.approx(0.9)
        assert -margin <= low <= high <= margin
    else:
        assert row.verdict == "unsure"
        assert row.equivalent is (None if margin is None else False)
        assert low <= none <= high
    assert (row.next_step is None) == (row.verdict != "unsure")
    assert row.verdict == "unsure" or row.detectable is None


@pytest.mark.parametrize("metric", ["eval_accuracy", "eval_f1"])
def test_the_interval_of_the_same_scores_is_that_of_an_effect_at_the_margin(metric: str) -> None:
    # Seeds disagree on many examples, and the sides of each seed on two others: an effect would be uneven.
    random = np.random.default_rng(5)
    wrong = [[*range(30), *map(int, random.choice(range(60, 400), 25, replace=False))] for _ in range(4)]
    before = [result(make_trial(seed=seed), each) for seed, each in enumerate(wrong)]
    after = [
        result(make_trial(seed=seed), [*each[:seed], *each[seed + 1 :], 400 + seed])
        for seed, each in enumerate(wrong)
    ]
    (row,) = compare(
        [make_report(side, run=run) for run, side in zip("ab", (before, after), strict=True)],
        metrics=[metric],
    ).rows
    sheets = [[sheet for each in side if (sheet := read_sheet(each)) is not None] for side in (before, after)]
    columns = [np.stack([sheet.predicted for sheet in side]) for side in sheets]
    (effect,) = compare_quality([Case(metric, sheets[0][0].labels, columns[0], columns[1])])
    assert (row.verdict, row.coverage) == ("same", 0.9)
    low, high = effect.at(0.02).interval(0.1) or (0.0, 0.0)
    assert row.interval == pytest.approx((low, high), rel=1e-6)
    narrow = effect.interval(0.1)
    assert narrow is not None
    assert high - low > 1.05 * (narrow[1] - narrow[0])


def test_the_runs_have_every_verdict() -> None:
    found = {row.verdict for number in NUMBERS for row in _compared(number).rows}
    assert found == {"better", "worse", "same", "unsure"}
    scores = {_row(number, metric).verdict for number in NUMBERS for metric in SCORES}
    assert {"worse", "same", "unsure"} <= scores


def test_sides_swapped_have_the_opposite_effects() -> None:
    opposite = {"better": "worse", "worse": "better", "same": "same", "unsure": "unsure"}
    for number in (1, 2, 3):
        back = compare([_run(number)], by="padding", baseline="dynamic", metrics=[*TIMES, *SCORES])
        for there, again in zip(_compared(number).rows, back.rows, strict=True):
            assert (again.baseline.value, again.candidate.value) == (
                there.candidate.value,
                there.baseline.value,
            )
            assert again.p == pytest.approx(there.p)
            assert again.verdict == opposite[there.verdict]


def _separate(run: str, values: Sequence[float], metric: str = "evaluate_seconds") -> Report:
    made = [result(make_trial(seed=seed), range(30)) for seed, _ in enumerate(values)]
    changed = [
        each.model_copy(
            update={
                "measurements": (
                    *(one for one in each.measurements if one.metric != metric),
                    measured(metric, value),
                )
            }
        )
        for each, value in zip(made, values, strict=True)
    ]
    return make_report(changed, run=run)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("value", [0.0, 1e-31])
def test_values_too_small_for_a_ratio_are_shown_and_not_compared(value: float, place: int) -> None:
    sides = [[1.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    sides[place][1] = value
    reports = [_separate(run, values) for run, values in zip("ab", sides, strict=True)]
    found = compare(reports, metrics=["evaluate_seconds", "eval_accuracy"]).rows[0]
    assert (found.verdict, found.effect, found.p) == ("not comparable", None, None)
    assert (found.baseline.value, found.candidate.value) == tuple(map(median, sides))
    assert "no ratio can be formed" in found.notes[0]
