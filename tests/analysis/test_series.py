"""Series over reports: what shares a line, in which order, and where a change is marked."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.over_time.series import LEAST_SEGMENT, Series, marks, series_of, spread_band
from harness.errors import InvalidInputError
from harness.model.environment import Device, Git
from harness.model.results import Report
from harness.output.builders.series_tables import history_document
from harness.output.formats.known_formats import render
from tests.factories import (
    STARTED,
    make_checkpoint,
    make_data,
    make_environment,
    make_report,
    make_result,
    make_trial,
)

SPEED = "train_real_tokens_per_second"


def report(day: int, speed: float, committed: int | None = None, **changes: Any) -> Report:
    """A report of one trial on that day, at a commit of another day if given."""
    when = STARTED + timedelta(days=day)
    date = None if committed is None else STARTED + timedelta(days=committed)
    git = Git(commit=f"{day:040x}", dirty=False, committed=date)
    result = make_result(samples_per_second=speed, started=when, **changes)
    return make_report([result], run=f"run-{day:02}", created=when, environment=make_environment(git=git))


def steps(speeds: Sequence[float]) -> list[Report]:
    return [report(day, speed) for day, speed in enumerate(speeds)]


def marked(series: Series) -> list[tuple[int, str]]:
    """The place of each confirmed change, and the run at it."""
    return [
        (change.at, track.points[change.at].report.run)
        for line in series.lines
        for track in line.tracks
        for change in track.changes
        if not change.pending
    ]


def test_a_step_of_8_percent_at_the_seventh_of_twelve_reports_is_one_mark() -> None:
    draw = random.Random(7)
    speeds = [25.0 * draw.uniform(0.993, 1.007) * (0.92 if day >= 6 else 1.0) for day in range(12)]
    found = series_of(steps(speeds), [SPEED], band=0.03)
    assert marked(found) == [(6, "run-06")]
    (change,) = found.lines[0].tracks[0].changes
    assert change.after / change.before == pytest.approx(0.92, rel=0.02)
    assert marked(series_of(steps(speeds), [SPEED])) == [(6, "run-06")]


def test_no_step_is_no_mark_and_an_outlier_alone_is_none() -> None:
    flat = [25.0, 25.1, 24.9, 25.0, 25.2, 25.0, 24.9, 25.1, 25.0, 25.1, 25.0, 24.9]
    assert marked(series_of(steps(flat), [SPEED], band=0.03)) == []
    for outlier in (20.0, 30.0):
        assert marked(series_of(steps([*flat[:5], outlier, *flat[6:]]), [SPEED], band=0.03)) == []


def test_the_last_point_outside_is_pending_until_the_next_confirms_it() -> None:
    speeds = [25.0, 25.1, 24.9, 25.0, 20.0]
    (track,) = series_of(steps(speeds), [SPEED], band=0.03).lines[0].tracks
    assert [(change.at, change.pending) for change in track.changes] == [(4, True)]
    (track,) = series_of(steps([*speeds, 20.1]), [SPEED], band=0.03).lines[0].tracks
    assert [(change.at, change.pending) for change in track.changes] == [(4, False)]


def test_two_machines_two_data_sets_and_two_checkpoints_never_share_a_line() -> None:
    gpu = make_environment(device=Device(kind="cuda", index=0, name="A100"), threads=2)
    reports = [
        *(report(day, 25.0) for day in range(3)),
        *(report(day, 99.0, environment=gpu) for day in range(3, 6)),
        *(report(day, 25.0, data=make_data(content_sha256="ef" * 32)) for day in range(6, 8)),
        *(report(day, 25.0, checkpoint=make_checkpoint(weights_sha256="ef" * 32)) for day in range(8, 10)),
    ]
    found = series_of(reports, [SPEED], band=0.03)
    assert sorted(len(line.points) for line in found.lines) == [2, 2, 3, 3]
    assert len({line.machine for line in found.lines}) == 2
    assert marked(found) == []
    for line in found.lines:
        fingerprints = {
            result.environment.fingerprint
            for point in line.points
            for result in point.report.results
            if result.environment is not None
        }
        assert fingerprints == {line.machine}
    assert any("3 lines on one machine, since the data set's content" in note for note in found.notes)


def test_points_are_in_the_order_of_the_commits_not_of_the_reports() -> None:
    days = ((0, 3), (1, 1), (2, 2))
    found = series_of([report(day, 25.0 + day, committed) for day, committed in days], [SPEED])
    assert [point.report.run for point in found.lines[0].points] == ["run-01", "run-02", "run-00"]
    undated = series_of([report(2, 25.0), report(1, 26.0)], [SPEED])
    assert [point.report.run for point in undated.lines[0].points] == ["run-01", "run-02"]
    assert any("without the date of a commit: 2 runs" in note for note in undated.notes)


def test_a_copy_of_a_report_counts_once() -> None:
    assert [len(line.points) for line in series_of([*steps([25.0, 26.0]), report(0, 25.0)]).lines] == [2]


def test_concurrent_and_contradictory_trials_are_left_out_with_a_note() -> None:
    at_once = report(1, 25.0, concurrent=2)
    found = series_of([report(0, 25.0), at_once], [SPEED, "eval_accuracy"])
    values = [dict(point.values) for line in found.lines for point in line.points]
    assert [SPEED in each for each in values] == [True, False]
    assert all("eval_accuracy" in each for each in values)
    assert any("concurrently" in note for note in found.notes)
    failed = report(2, 25.0, status="oom")
    assert series_of([failed]).lines == ()
    assert series_of([failed]).notes == ("left out: run run-02: seed 0 is oom",)


def test_a_score_is_marked_beyond_the_margin_in_points() -> None:
    accuracies = [0.9] * 6 + [0.6] * 6
    reports = [report(day, 25.0 + day / 100, accuracy=share) for day, share in enumerate(accuracies)]
    found = series_of(reports, ["eval_accuracy"])
    assert marked(found) == [(6, "run-06")]
    assert found.lines[0].tracks[0].band is not None
    assert found.lines[0].tracks[0].band.width == 0.02


def test_few_points_without_a_band_give_no_mark_and_a_calibration_gives_one() -> None:
    reports = steps([25.0, 25.1, 20.0, 20.1])
    (line,) = series_of(reports, [SPEED]).lines
    assert line.tracks[0].band is None
    known = {line.machine: {SPEED: 0.03}}
    assert marked(series_of(reports, [SPEED], calibrated=known)) == [(2, "run-02")]
    assert marked(series_of(reports, [SPEED], calibrated={"0" * 12: {SPEED: 0.03}})) == []


@pytest.mark.parametrize("band", [0.0, -0.1, float("inf"), float("nan")])
def test_a_band_out_of_range_is_refused(band: float) -> None:
    with pytest.raises(InvalidInputError, match="band"):
        series_of(steps([25.0]), band=band)


@given(st.lists(st.floats(-1, 1), max_size=30), st.floats(0.01, 1))
def test_marks_leave_two_points_between_them_and_none_within_the_band(
    values: list[float], width: float
) -> None:
    found = [change.at for change in marks(values, width) if not change.pending]
    starts = [0, *found]
    assert all(after - before >= LEAST_SEGMENT for before, after in zip(starts, found, strict=False))
    assert marks([value / 1000 for value in values], max(width, 0.01)) == ()


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=30), st.floats(0.01, 1), st.floats(-5, 5))
def test_marks_do_not_depend_on_the_level_or_the_sign(
    values: list[float], width: float, level: float
) -> None:
    exact = [round(value, 3) for value in values]
    places = [change.at for change in marks(exact, width + 0.00031)]
    assert [change.at for change in marks([-value for value in exact], width + 0.00031)] == places


def test_the_band_of_a_series_is_that_of_its_noise_in_spite_of_a_step() -> None:
    draw = random.Random(3)
    noise = [draw.gauss(0, 0.01) for _ in range(400)]
    plain = spread_band(noise)
    stepped = spread_band([value + (at >= 200) for at, value in enumerate(noise)])
    assert plain == pytest.approx(1.96 * 2**0.5 * 0.01, rel=0.15)
    assert stepped == pytest.approx(plain, rel=0.02)
    assert spread_band(noise[:5]) is None


def test_a_variant_of_several_seeds_has_one_point_per_report() -> None:
    results = [make_result(make_trial(seed=seed), samples_per_second=20.0 + seed) for seed in range(3)]
    (line,) = series_of([make_report(results)], [SPEED]).lines
    assert [point.seeds for point in line.points] == [(0, 1, 2)]
    assert line.points[0].values[SPEED] == results[1].value(SPEED)


def test_a_point_of_other_seeds_is_noted_for_scores_and_not_for_speed() -> None:
    found = [make_report([make_result(make_trial(seed=seed))], run=f"run-{seed}") for seed in range(2)]
    noted = [note for note in series_of(found, ["eval_accuracy"]).notes if "seeds differ" in note]
    assert noted == [
        f"{series_of(found, [SPEED]).lines[0].label}: the seeds differ between reports, which changes scores "
        "without a cause"
    ]
    assert not [note for note in series_of(found, [SPEED]).notes if "seeds differ" in note]


def test_a_report_without_the_metric_has_no_point_and_a_variant_without_any_no_line() -> None:
    with_steps, without = report(0, 25.0), report(1, 25.0)
    kept = tuple(one for one in without.results[0].measurements if one.metric != "train_loss")
    lacking = without.model_copy(
        update={"results": (without.results[0].model_copy(update={"measurements": kept}),)}
    )
    (line,) = series_of([with_steps, lacking], ["train_loss"]).lines
    assert [point.report.run for point in line.points] == ["run-00"]
    assert series_of([lacking], ["train_loss"]).lines == ()


def test_a_last_point_beyond_the_band_has_no_tone_and_a_note_that_it_is_pending() -> None:
    speeds = [25.0] * 7 + [20.0]
    text = render(history_document(series_of(steps(speeds), [SPEED], band=0.03)), "markdown")
    assert "0 + 1 pending" in text
    assert "pending: the last point alone; " in text
    confirmed = render(
        history_document(series_of(steps([25.0] * 6 + [20.0] * 6), [SPEED], band=0.03)), "markdown"
    )
    assert "pending" not in confirmed
    assert "-20.0 %" in confirmed


def test_a_change_of_a_score_without_percent_is_a_difference() -> None:
    found = [report(day, 25.0, accuracy=0.95 if day < 6 else 0.6) for day in range(12)]
    (line,) = series_of(found, ["eval_mcc"], band=0.03).lines
    (change,) = line.tracks[0].changes
    text = render(history_document(series_of(found, ["eval_mcc"], band=0.03)), "markdown")
    assert f"{change.after - change.before:+.3f}" in text
    assert change.after < change.before
