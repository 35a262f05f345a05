"""Machine factors of trials from their probes, noisy marks, and what probes forbid between reports."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.analysis.probes import (
    PROBE_BAND,
    deviations,
    held_back,
    machine_changed,
    noisy,
    probe_band,
    probe_ratios,
)
from harness.analysis.stats.ratios import RunVariance
from harness.model.environment import Device
from harness.model.observations import DeviceState
from harness.model.results import Report, TrialResult
from harness.model.values import PaddingStrategy
from harness.store.writing import to_json
from harness.suite.gate_files import parse_gate
from tests.factories import make_environment, make_probe, make_report, make_result, make_trial

SPEED = "train_real_tokens_per_second"
PADDINGS: tuple[PaddingStrategy, ...] = ("static", "dynamic")
# A machine whose speed hardly changes from run to run.
CALIBRATED = {SPEED: RunVariance(0.005**2, 9)}
factor = st.floats(min_value=0.1, max_value=10)


def results(factors: Sequence[tuple[float, float]], speed: float = 25.0) -> list[TrialResult]:
    return [
        make_result(make_trial(seed=seed), samples_per_second=speed + seed, probe=make_probe(*pair))
        for seed, pair in enumerate(factors)
    ]


def test_a_trial_during_which_the_machine_was_slow_is_noisy_and_the_others_are_not() -> None:
    found = results([(1.0, 1.02), (1.0, 0.71), (0.98, 1.0)])
    marked = noisy(found)
    assert list(marked) == [found[1].trial.id]
    deviation = marked[found[1].trial.id]
    assert deviation.factor == pytest.approx(0.71)
    assert (deviation.kind, deviation.moment, deviation.load_average) == ("matrix product", "after", 0.1)


def test_a_machine_that_is_faster_than_the_median_is_noisy_too_and_a_slow_copy_alone_is() -> None:
    found = results([(1.0, 1.0)] * 4)
    found[2] = found[2].model_copy(update={"probe": make_probe(1.3, 1.0, copy=1.0)})
    found[3] = found[3].model_copy(update={"probe": make_probe(copy=0.5)})
    assert {trial: each.kind for trial, each in noisy(found).items()} == {
        found[2].trial.id: "matrix product",
        found[3].trial.id: "memory copy",
    }


def test_a_single_trial_is_noisy_where_the_machine_changed_during_it() -> None:
    assert noisy(results([(1.0, 0.7)]))
    assert not noisy(results([(1.0, 0.95)]))


def test_trials_of_other_devices_and_other_work_are_other_groups_and_one_without_a_probe_is_in_none() -> None:
    fast = make_result(make_trial(device="cuda:0"), probe=make_probe(5.0, 5.0))
    other = make_probe(0.5, 0.5).model_copy(update={"work": "another"})
    found = [
        *results([(1.0, 1.0)] * 2),
        fast,
        make_result(make_trial(seed=7), probe=other),
        make_result(make_trial(seed=8)),
    ]
    assert noisy(found) == {}
    assert len(deviations(found)) == 4


@given(st.lists(st.tuples(factor, factor), min_size=1, max_size=8), st.floats(0.5, 2.0))
def test_factors_do_not_depend_on_how_fast_the_whole_machine_is(
    factors: list[tuple[float, float]], scale: float
) -> None:
    plain = deviations(results(factors))
    scaled = deviations(results([(before * scale, after * scale) for before, after in factors]))
    for trial, found in plain.items():
        assert max(scaled[trial].factor, 1 / scaled[trial].factor) == pytest.approx(
            max(found.factor, 1 / found.factor)
        )


@given(st.lists(st.tuples(factor, factor), min_size=1, max_size=6), st.floats(0.25, 4.0))
def test_the_ratio_between_two_runs_is_that_of_their_machines_and_lies_in_its_range(
    factors: list[tuple[float, float]], scale: float
) -> None:
    before = results(factors)
    after = results([(first * scale, second * scale) for first, second in factors])
    for found in probe_ratios(before, after):
        assert found.ratio == pytest.approx(scale)
        assert found.low <= found.ratio * (1 + 1e-9)
        assert found.ratio <= found.high * (1 + 1e-9)
    assert probe_ratios(before, [make_result()]) == ()


def test_another_machine_or_none_shares_no_probe() -> None:
    gpu = make_environment(device=Device(kind="cuda", name="GPU"), threads=2)
    away = [make_result(environment=gpu, probe=make_probe(0.1, 0.1))]
    here = results([(1.0, 1.0)])
    assert probe_ratios(here, away) == ()
    assert machine_changed(here, away, PROBE_BAND) is None
    assert machine_changed(here, [make_result()], PROBE_BAND) is None


def test_a_band_that_was_calibrated_wider_takes_the_place_of_the_default() -> None:
    before, after = results([(1.0, 1.0)] * 3), results([(0.85, 0.85)] * 3)
    assert machine_changed(before, after, probe_band(None)) is not None
    assert machine_changed(before, after, probe_band(0.01)) is not None
    assert machine_changed(before, after, probe_band(0.25)) is None


def reports(before: float, after: float) -> tuple[Report, Report]:
    return (
        make_report(results([(before, before)] * 4), run="old"),
        make_report(results([(after, after)] * 4, speed=15.0), run="new"),
    )


def test_a_change_of_speed_is_unsure_where_the_machine_changed_and_decided_where_it_did_not() -> None:
    (row,) = compare(reports(1.0, 0.98), metrics=[SPEED], run_variance=CALIBRATED).rows
    assert row.verdict == "worse"
    (row,) = compare(reports(1.0, 0.7), metrics=[SPEED], run_variance=CALIBRATED).rows
    assert (row.verdict, row.p) == ("unsure", None)
    assert (
        "the machine itself differed: its probe reached 0.70 (0.70 to 0.70) of the baseline's matrix product"
        in row.notes[-1]
    )
    assert "harness ab" in row.notes[-1]


def test_a_gate_on_a_drop_of_speed_is_unsure_where_the_machine_changed_and_decided_where_it_did_not() -> None:
    gates = [parse_gate(f"{SPEED} drop<=10%")]
    for after, verdict in ((0.98, "failed"), (0.7, "unsure")):
        before, candidate = reports(1.0, after)
        found = check(candidate, baseline=before, gates=gates, run_variance=CALIBRATED)
        (case,) = (each for each in found.cases if each.kind == "drop")
        assert case.verdict == verdict
        assert any("the machine itself differed" in note for note in case.notes) == (verdict == "unsure")


def test_equal_times_under_a_machine_that_changed_are_not_the_same_speed() -> None:
    before, _ = reports(1.0, 1.0)
    after = make_report(results([(0.7, 0.7)] * 4), run="new")
    (row,) = compare((before, after), metrics=[SPEED], noise={SPEED: 0.2}, run_variance=CALIBRATED).rows
    assert row.verdict == "unsure"


def test_quality_memory_and_variants_of_one_run_are_judged_whatever_the_probes_tell() -> None:
    for metric in ("eval_accuracy", "peak_memory_host_bytes"):
        (row,) = compare(reports(1.0, 0.5), metrics=[metric]).rows
        assert not any("probe" in note for note in row.notes)
    both = [
        make_result(
            make_trial(padding, seed),
            samples_per_second=25.0 + 10 * place + seed,
            probe=make_probe(1.0 - 0.5 * place, 1.0 - 0.5 * place),
        )
        for place, padding in enumerate(PADDINGS)
        for seed in range(4)
    ]
    (row,) = compare([make_report(both)], by="padding", metrics=[SPEED]).rows
    assert row.verdict == "better"


def test_a_result_without_a_probe_is_stored_as_before() -> None:
    assert b"probe" not in to_json(make_result())
    probed = make_result(probe=make_probe())
    assert TrialResult.model_validate_json(to_json(probed)) == probed


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [(5.0, 5.05, None), (5.0, 5.2, "0.2 s"), (0.0, 3.0, "3.0 s"), (9.0, 9.0, None)],
)
def test_a_device_was_held_back_for_the_time_that_passed_between_its_readings(
    before: float, after: float, told: str | None
) -> None:
    probe = make_probe()
    readings = [
        reading.model_copy(
            update={"device": DeviceState(limited_s={"power": seconds}, other_processes=others)}
        )
        for reading, seconds, others in ((probe.before, before, 2), (probe.after, after, 0))
    ]
    found = held_back(
        make_result(probe=probe.model_copy(update={"before": readings[0], "after": readings[1]}))
    )
    limited = () if told is None else (f"clocks lowered by the limit of power for {told}",)
    assert found == (*limited, "2 other processes on the device")
    for lacking in ("before", "after"):
        bare = getattr(probe, lacking).model_copy(update={"device": None})
        known = {"before": readings[0], "after": readings[1]} | {lacking: bare}
        assert held_back(make_result(probe=probe.model_copy(update=known))) == ()
