"""Replays of stored results as runs until decided."""

from __future__ import annotations

from harness.analysis.comparison.look_table import Question
from harness.analysis.stats.sequential import look_sizes
from harness.model.results import Report
from tests.factories import make_predictions, make_report, make_result, make_trial
from tools.simulate.stored import replay

SEEDS = 8


def report() -> Report:
    """`dynamic` as `static`, `bucketed` 25 points worse, `unpadded` of equal accuracy with other errors."""
    drawn = {"static": (0, 0.85), "dynamic": (0, 0.85), "bucketed": (0, 0.6), "unpadded": (1_000, 0.85)}
    return make_report(
        [
            make_result(
                make_trial(padding, seed),  # type: ignore[arg-type]
                predictions=make_predictions(seed + shift, 400, accuracy),
            )
            for seed in range(SEEDS)
            for padding, (shift, accuracy) in drawn.items()
        ]
    )


def test_a_decided_variant_needs_the_seeds_of_the_first_look_and_an_open_one_all() -> None:
    found = replay(report(), Question("padding", ("eval_accuracy",)), range(SEEDS), look_sizes(SEEDS))
    assert found.verdicts == {
        ("dynamic", "eval_accuracy"): "same",
        ("bucketed", "eval_accuracy"): "worse",
        ("unpadded", "eval_accuracy"): "unsure",
    }
    assert found.trials == (3 + 3 + SEEDS + SEEDS) / (4 * SEEDS)


def test_one_look_at_all_seeds_is_the_fixed_design() -> None:
    found = replay(report(), Question("padding", ("eval_accuracy",)), range(SEEDS), (SEEDS,))
    assert found.trials == 1
    assert found.verdicts["bucketed", "eval_accuracy"] == "worse"


def test_the_order_of_the_seeds_decides_which_are_used() -> None:
    some = replay(report(), Question("padding", ("eval_accuracy",)), range(SEEDS - 1, -1, -1), (3,))
    assert some.trials == 3 / SEEDS
