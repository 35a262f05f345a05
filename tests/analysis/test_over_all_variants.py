"""One effect over all variants of an axis: its error, and which variants it is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from harness.analysis.comparison.comparing import compare
from harness.analysis.comparison.models import ComparisonRow
from harness.model.observations import Apart
from harness.model.quality import Predictions
from harness.model.results import TrialResult
from harness.model.values import PaddingStrategy
from tests.analysis.test_comparison import SPEED, result
from tests.factories import make_report, make_trial

CHECKPOINTS = "abcd"
PADDINGS: Sequence[PaddingStrategy] = ("static", "dynamic")


def over_all(
    results: Sequence[TrialResult],
    metrics: Sequence[str] = (SPEED,),
    noise: Mapping[str, float] | None = None,
) -> list[ComparisonRow]:
    found = compare([make_report(results)], by="padding", metrics=metrics, noise=noise)
    return [row for row in found.rows if row.variants > 1]


def speeds(seeds: int, spread: float = 0.02, seed: int = 0) -> dict[tuple[str, PaddingStrategy, int], float]:
    """The speeds of four checkpoints, which differ much, and of a padding that is 4 % faster."""
    random = np.random.default_rng([seed, seeds])
    return {
        (checkpoint, padding, number): 100.0
        * (place + 1)
        * (1.04 if padding == "dynamic" else 1.0)
        # Scatters differ from checkpoint to checkpoint.
        * float(random.lognormal(0, spread * (1 + place)))
        for place, checkpoint in enumerate(CHECKPOINTS)
        for number in range(seeds)
        for padding in PADDINGS
    }


def timed(found: dict[tuple[str, PaddingStrategy, int], float]) -> list[TrialResult]:
    return [
        result(make_trial(padding, seed, checkpoint=checkpoint), speed=speed)
        for (checkpoint, padding, seed), speed in found.items()
    ]


def gaps(found: dict[tuple[str, PaddingStrategy, int], float], seeds: int) -> list[list[float]]:
    """The logarithms of the ratios, for each checkpoint by seed."""
    return [
        [float(np.log(found[name, "dynamic", seed] / found[name, "static", seed])) for seed in range(seeds)]
        for name in CHECKPOINTS
    ]


@pytest.mark.parametrize("seed", range(3))
def test_single_trials_have_the_t_test_of_their_ratios_over_the_variants(seed: int) -> None:
    found = speeds(1, seed=seed)
    (row,) = over_all(timed(found))
    ratios = [gap for (gap,) in gaps(found, 1)]
    test = stats.ttest_1samp(ratios, 0.0)
    assert row.effect == pytest.approx(np.exp(np.mean(ratios)))
    assert row.p == pytest.approx(test.pvalue, rel=1e-6)
    assert row.interval == pytest.approx(np.exp(test.confidence_interval(0.95)), rel=1e-6)
    assert row.test == "t of logarithms over variants"


@pytest.mark.parametrize(("seeds", "band"), [(2, None), (3, None), (5, None), (3, 0.3)])
def test_several_trials_pool_the_variances_of_the_variants(seeds: int, band: float | None) -> None:
    found = speeds(seeds)
    (row,) = over_all(timed(found), noise={} if band is None else {SPEED: band})
    each = np.array(gaps(found, seeds))
    parts = each.var(axis=1, ddof=1) / seeds / len(each) ** 2
    freedom = parts.sum() ** 2 / (parts**2 / (seeds - 1)).sum()
    half = stats.t.ppf(0.975, freedom) * np.sqrt(parts.sum())
    if band is not None:
        half = max(half, np.log(1 + band) / np.sqrt(seeds * len(each)))
    center = each.mean()
    assert row.effect == pytest.approx(np.exp(center))
    assert row.interval == pytest.approx((np.exp(center - half), np.exp(center + half)), rel=1e-5)
    if band is None:
        p = 2 * stats.t.sf(abs(center) / np.sqrt(parts.sum()), freedom)
        assert row.p == pytest.approx(p, rel=1e-6)


def test_a_metric_that_not_every_variant_has_leaves_the_rows_of_the_others() -> None:
    made = timed(speeds(3))
    lacking = [
        each.model_copy(
            update={"measurements": tuple(one for one in each.measurements if one.metric != SPEED)}
        )
        if each.trial.checkpoint == "b"
        else each
        for each in made
    ]
    rows = over_all(lacking, [SPEED, "train_samples_per_second"])
    assert [(row.metric, row.variants) for row in rows] == [("train_samples_per_second", 4)]


def _scored(seeds: dict[str, Sequence[int]]) -> list[TrialResult]:
    return [
        result(make_trial(padding, seed, checkpoint=checkpoint), range(40 + (padding == "dynamic") + seed))
        for checkpoint, numbers in seeds.items()
        for seed in numbers
        for padding in PADDINGS
    ]


def test_scores_of_variants_with_other_seeds_or_examples_have_no_common_row() -> None:
    score = ["eval_accuracy"]
    (row,) = over_all(_scored({"a": range(3), "b": range(3)}), score)
    assert row.variants == 2
    assert row.effect == pytest.approx(-1 / 408)
    assert over_all(_scored({"a": range(3), "b": range(4)}), score) == []
    assert over_all(_scored({"a": range(4), "b": range(3)}), score) == []
    assert over_all(_scored({"a": [0], "b": [0]}), score) == []
    other = [
        each.model_copy(update={"predictions": _relabelled(each)}) if each.trial.checkpoint == "b" else each
        for each in _scored({"a": range(3), "b": range(3)})
    ]
    assert over_all(other, score) == []


def _relabelled(found: TrialResult) -> Predictions:
    kept = found.predictions
    assert kept is not None
    return kept.model_copy(update={"labels": kept.labels[::-1]})


def test_variants_that_share_a_training_on_one_side_alone_count_each() -> None:
    made = _scored({"a": range(3), "b": range(3)})
    first = {(each.trial.padding.strategy, each.trial.seed): each.trial.id for each in made[:6]}

    def shared(*paddings: PaddingStrategy) -> list[TrialResult]:
        return [
            each.model_copy(
                update={
                    "apart": Apart(
                        steps=14,
                        jobs=2,
                        threads=1,
                        trained=first[each.trial.padding.strategy, each.trial.seed],
                    )
                }
            )
            if each.trial.checkpoint == "b" and each.trial.padding.strategy in paddings
            else each
            for each in made
        ]

    for paddings, rows in (((), 1), (("static",), 1), (("dynamic",), 1), (PADDINGS, 0)):
        assert len(over_all(shared(*paddings), ["eval_accuracy"])) == rows, paddings
