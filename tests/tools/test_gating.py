"""The counts of the gate's outcomes: the regression fits the source, draws are judged apart, docs agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.model.results import Report
from harness.model.suite import Gate
from tests.factories import make_report, make_result, make_suite, make_trial
from tools.defects.run import ROOT, plant
from tools.gating import KEPT, REGRESSION, SEEDS, counted, judged, of_draw, usable_draws


def report_of(accuracy: float) -> Report:
    """Two draws of seeds with this accuracy."""
    gates = (Gate(metric="eval_accuracy", min=0.8, max_drop=0.05),)
    results = [
        make_result(make_trial(seed=seed), accuracy=accuracy, examples=400) for seed in range(2 * SEEDS)
    ]
    return make_report(results, suite=make_suite(gates=gates))


def test_the_regression_fits_the_source(tmp_path: Path) -> None:
    plant(REGRESSION, tmp_path)


def test_a_draw_has_seeds_of_its_own() -> None:
    report = report_of(0.9)
    seeds = [{result.trial.seed for result in of_draw(report, draw).results} for draw in range(2)]
    assert seeds == [set(range(5)), set(range(5, 10))]


@pytest.mark.parametrize(("accuracy", "red"), [(0.9, "0 of 2"), (0.6, "2 of 2")])
def test_draws_are_counted_by_all_gates_and_by_drops_alone(accuracy: float, red: str) -> None:
    rows = judged(report_of(0.9), report_of(accuracy), range(2))
    assert counted({"side": rows}) == {"side": {"red": red, "red_by_drops_alone": red}}
    if accuracy < 0.9:
        assert {kind for row in rows for kind in row["failed"]} == {"bound", "drop"}
        assert {kind for row in rows for kind in row["failed_of_drops"]} == {"drop"}


def test_a_draw_whose_baseline_fails_its_own_gates_is_not_used() -> None:
    good, bad = report_of(0.9), report_of(0.6)
    mixed = good.model_copy(update={"results": (*good.results[:SEEDS], *bad.results[SEEDS:])})
    assert usable_draws(mixed) == [0]


def test_the_kept_counts_are_those_of_the_documents() -> None:
    kept = json.loads(KEPT.read_text())
    assert kept["regression"] == REGRESSION.name
    assert kept["counts"]["regression"] == {"red": "20 of 20", "red_by_drops_alone": "20 of 20"}
    assert kept["counts"]["unchanged"] == {"red": "0 of 20", "red_by_drops_alone": "0 of 20"}
    page = (ROOT / "docs" / "how-to" / "ci.md").read_text()
    assert "red in 20 of 20" in page
    assert "in 0 of 20" in page
    seeds = [seed for row in kept["draws"]["regression"] for seed in row["seeds"]]
    assert len(set(seeds)) == len(seeds) == 100
