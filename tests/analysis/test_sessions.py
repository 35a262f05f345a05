"""Comparisons of the two sides of one A/B session: paired by seed, whatever library is under test."""

from __future__ import annotations

from typing import Literal

import pytest

from harness.analysis.comparison.comparing import compare
from harness.analysis.stats.ratios import RunVariance
from harness.model.environment import Device
from harness.model.results import Report, Session
from tests.factories import make_environment, make_report, make_result, make_trial

SPEED = "train_real_tokens_per_second"


def side(
    name: Literal["base", "candidate"], speed: float, torch: str = "2.13.0", session: str | None = "a" * 16
) -> Report:
    """Four seeds during which the machine slows down, for both sides."""
    environment = make_environment(
        packages={"harness": "0.1.0", "torch": torch, "transformers": "5.23.0"},
        device=Device(kind="cpu", name="Test CPU"),
        threads=2,
    )
    results = [
        make_result(
            make_trial(seed=seed), samples_per_second=speed * (1 - 0.1 * seed), environment=environment
        )
        for seed in range(4)
    ]
    found = None if session is None else Session(id=session, side=name, positions=(0, 3, 4, 7))
    return make_report(results, run=name, session=found)


def test_sides_of_one_session_are_paired_and_those_of_two_are_not() -> None:
    (row,) = compare([side("base", 25.0), side("candidate", 24.0)], metrics=[SPEED]).rows
    assert row.test == "paired t of logarithms"
    assert row.verdict == "worse"
    apart = [side("base", 25.0), side("candidate", 24.0, session="b" * 16)]
    (row,) = compare(apart, metrics=[SPEED]).rows
    assert (row.verdict, row.test) == ("unsure", None)
    assert row.notes[0].startswith("two separate runs")
    (row,) = compare(apart, metrics=[SPEED], run_variance={SPEED: RunVariance(0.005**2, 9)}).rows
    assert (row.verdict, row.test) == ("unsure", "Welch's t of logarithms with the variance between runs")


def test_equal_scores_of_a_session_were_measured_twice_and_are_the_same() -> None:
    # Both sides have the trial ids of one suite, but trained themselves.
    rows = compare(
        [side("base", 25.0), side("candidate", 24.0)], metrics=["eval_accuracy", "train_loss", SPEED]
    ).rows
    score, loss, speed = rows
    assert (score.verdict, score.effect) == ("same", 0.0)
    assert score.notes == ("the predictions agree on all 40 examples",)
    assert (loss.verdict, loss.effect) == ("same", 1.0)
    assert (speed.verdict, speed.baseline.trials) == ("worse", 4)


def test_another_torch_is_what_a_session_compares_and_is_told() -> None:
    found = compare([side("base", 25.0, "2.12.1"), side("candidate", 30.0)], metrics=[SPEED])
    (row,) = found.rows
    assert row.verdict == "better"
    assert [(each.name, each.allowed) for each in found.mismatches] == [("torch", True)]
    assert "one A/B session" in found.notes[0]


@pytest.mark.parametrize("session", [None, "b" * 16])
def test_between_other_reports_another_torch_is_not_comparable(session: str | None) -> None:
    reports = [side("base", 25.0, "2.12.1"), side("candidate", 30.0, session=session)]
    rows = compare(reports, metrics=[SPEED, "eval_accuracy"]).rows
    assert {row.metric: row.verdict for row in rows}[SPEED] == "not comparable"


def test_a_report_outside_of_a_session_is_stored_as_before() -> None:
    assert "session" not in side("base", 25.0, session=None).model_dump(mode="json")
    kept = side("base", 25.0)
    assert Report.model_validate_json(kept.model_dump_json()).session == kept.session
