"""Trials of one run that did not take turns: on another day, or on several machines, they are not pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.comparison.comparing import compare
from harness.analysis.leading import leaders
from harness.analysis.summary import summarize
from harness.cli import main
from harness.model.observations import Apart
from harness.model.results import Report
from harness.model.values import PaddingStrategy
from harness.output.builders.report_parts.notes import notes
from harness.store.writing import to_json
from tests.factories import STARTED, make_report, make_result, make_trial

SPEED = "train_real_tokens_per_second"
PADDINGS: tuple[PaddingStrategy, ...] = ("static", "dynamic")


def run_of(began: Mapping[tuple[PaddingStrategy, int], float], seeds: int = 4) -> Report:
    """A run whose dynamic trials are faster, with the seconds at which each trial began."""
    return make_report(
        [
            make_result(
                make_trial(padding, seed),
                samples_per_second=(25.0 if padding == "static" else 27.0) + 0.05 * seed,
                started=STARTED + timedelta(seconds=began[padding, seed]),
                duration_s=20.0,
            )
            for seed in range(seeds)
            for padding in PADDINGS
        ]
    )


def in_turn(seeds: int = 4) -> dict[tuple[PaddingStrategy, int], float]:
    """A B, then B A: each trial begins when the one before has ended."""
    order = [(name, seed) for seed in range(seeds) for name in (PADDINGS, PADDINGS[::-1])[seed % 2]]
    return {trial: 20.0 * place for place, trial in enumerate(order)}


def test_trials_that_took_turns_are_pairs() -> None:
    (row,) = compare([run_of(in_turn())], by="padding", metrics=[SPEED]).rows
    assert (row.verdict, row.test) == ("better", "paired t of logarithms")


def test_trials_taken_over_from_an_earlier_day_get_no_verdict_on_speed() -> None:
    began = {key: at + (86_400.0 if key[0] == "dynamic" else 0.0) for key, at in in_turn().items()}
    report = run_of(began)
    speed, score = compare([report], by="padding", metrics=[SPEED, "eval_accuracy"]).rows
    assert (speed.verdict, speed.p) == ("unsure", None)
    assert "4 of 4 pairs" in speed.notes[0]
    assert "--fresh" in speed.notes[0]
    assert score.verdict != "not comparable"
    rows = summarize(report)
    assert [row.rank for row in rows] == [None, None]
    (leader,) = leaders(report, rows)
    assert (leader.ranked, leader.interval) == (False, None)
    assert any("4 of 4 pairs" in note for note in notes(report, rows))


@pytest.mark.parametrize(
    ("seeds", "later", "doubted"), [(2, 2, True), (4, 3, True), (4, 2, False), (2, 1, False)]
)
def test_pauses_in_most_pairs_leave_no_verdict_on_speed(seeds: int, later: int, doubted: bool) -> None:
    began = {
        key: at + (86_400.0 if key[0] == "dynamic" and key[1] < later else 0.0)
        for key, at in in_turn(seeds).items()
    }
    (row,) = compare([run_of(began, seeds)], by="padding", metrics=[SPEED]).rows
    assert (row.p is None) == doubted
    assert any(f"{later} of {seeds} pairs" in note for note in row.notes) == doubted


@pytest.mark.parametrize(("pause", "states"), [(59.0, 1), (60.0, 2), (61.0, 2)])
def test_a_pause_of_a_minute_ends_a_state_of_the_machine(pause: float, states: int) -> None:
    # Every dynamic trial begins so long after the end of the last static one.
    order = [(name, seed) for name in PADDINGS for seed in range(4)]
    began = {
        (name, seed): 20.0 * place + (pause if name == "dynamic" else 0.0)
        for place, (name, seed) in enumerate(order)
    }
    (row,) = compare([run_of(began)], by="padding", metrics=[SPEED]).rows
    assert (row.p is None) == (states == 2)


def test_a_pause_after_the_first_trial_or_between_seeds_leaves_the_pairs() -> None:
    after_first = {key: at + (0.0 if at == 0 else 300.0) for key, at in in_turn().items()}
    between_seeds = {key: at + (86_400.0 if key[1] > 1 else 0.0) for key, at in in_turn().items()}
    for began in (after_first, between_seeds):
        (row,) = compare([run_of(began)], by="padding", metrics=[SPEED]).rows
        assert row.test == "paired t of logarithms"


def test_a_selection_of_variants_has_the_turns_of_the_whole_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Three others run between each two trials of a pair.
    order = [(name, seed) for seed in range(4) for name in ("static", "bucketed", "unpadded", "dynamic")]
    began = {trial: 30.0 * place for place, trial in enumerate(order)}
    whole = make_report(
        [
            make_result(
                make_trial(name, seed),  # type: ignore[arg-type] # a name of a padding
                samples_per_second=(25.0 if name == "static" else 27.0) + 0.05 * seed,
                started=STARTED + timedelta(seconds=began[name, seed]),
                duration_s=25.0,
            )
            for name, seed in order
        ]
    )
    (tmp_path / "report.json").write_bytes(to_json(whole))
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "compare",
                str(tmp_path),
                "--by",
                "padding",
                "-k",
                "static or dynamic",
                "--metric",
                SPEED,
                "--json",
            ]
        )
    assert ended.value.code == 0
    (row,) = json.loads(capfd.readouterr().out)["rows"]
    assert row["test"] == "paired t of logarithms"


def test_trials_that_ran_alone_at_the_same_time_were_on_several_machines() -> None:
    began = {key: at / 2 for key, at in in_turn().items()}
    report = run_of(began)
    (row,) = compare([report], by="padding", metrics=[SPEED]).rows
    assert (row.verdict, row.p) == ("unsure", None)
    assert "several machines" in row.notes[0]
    rows = summarize(report)
    assert [each.rank for each in rows] == [None, None]
    assert any("several machines" in note for note in notes(report, rows))


def test_trainings_at_the_same_time_leave_the_pairs_of_windows_that_took_turns() -> None:
    steps = run_of(in_turn()).results[0].measurement("train_step_seconds")
    assert steps is not None

    def windows(began: Mapping[tuple[PaddingStrategy, int], float]) -> Report:
        whole = run_of(began)
        window = Apart(steps=len(steps.values), jobs=2, threads=1)
        return whole.model_copy(
            update={"results": tuple(each.model_copy(update={"apart": window}) for each in whole.results)}
        )

    length = sum(steps.values)
    for share, test in ((1.0, "paired t of logarithms"), (0.1, None)):
        report = windows({key: at / 20.0 * share * length for key, at in in_turn().items()})
        (row,) = compare([report], by="padding", metrics=["train_samples_per_second"]).rows
        assert row.test == test, row.notes


def test_devices_of_one_run_take_no_turns_and_are_no_pairs() -> None:
    # One device pauses between its trials, the other does not.
    results = [
        make_result(
            make_trial(seed=seed, device=device),
            samples_per_second=speed + 0.05 * seed,
            started=STARTED + timedelta(seconds=seed * step),
            duration_s=20.0,
        )
        for device, speed, step in (("cpu", 25.0, 20.0), ("cuda:0", 27.0, 600.0))
        for seed in range(4)
    ]
    (row,) = compare([make_report(results)], by="device", metrics=[SPEED], speed_across_devices=True).rows
    assert (row.verdict, row.test) == ("better", "Welch's t of logarithms")


@pytest.mark.parametrize("duration_s", [0.0, 1e300])
def test_any_duration_can_be_read(duration_s: float) -> None:
    report = run_of(in_turn())
    results = [each.model_copy(update={"duration_s": duration_s}) for each in report.results]
    compare([report.model_copy(update={"results": tuple(results)})], by="padding", metrics=[SPEED])


@given(st.permutations(range(8)), st.floats(0, 59))
def test_any_order_without_pauses_is_in_turn(order: list[int], pause: float) -> None:
    began = {key: (20.0 + pause) * order[place] for place, key in enumerate(in_turn())}
    (row,) = compare([run_of(began)], by="padding", metrics=[SPEED]).rows
    assert row.test == "paired t of logarithms"
