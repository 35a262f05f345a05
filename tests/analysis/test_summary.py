from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.rows import Failure
from harness.analysis.summary import estimate, quantile, summarize
from harness.model.environment import Device
from harness.model.measurements import measured
from harness.model.proof import Parity
from harness.model.results import TrialResult
from harness.model.values import PaddingStrategy
from tests.factories import (
    make_checkpoint,
    make_data,
    make_environment,
    make_report,
    make_result,
    make_suite,
    make_trial,
)


def test_each_variant_is_one_row_in_the_order_of_the_plan_named_by_what_varies() -> None:
    rows = summarize(make_report())
    assert [row.label for row in rows] == ["static", "dynamic"]
    assert [row.seeds for row in rows] == [(0, 1, 2), (0, 1, 2)]
    assert [row.statuses for row in rows] == [{"completed": 3}, {"completed": 3}]


def test_quality_is_the_mean_over_seeds_with_their_sample_standard_deviation() -> None:
    results = [make_result(make_trial(seed=seed), accuracy=0.7 + seed / 10) for seed in range(3)]
    row = summarize(make_report(results))[0]
    accuracies = [value for result in results if (value := result.value("eval_accuracy")) is not None]
    assert row.quality["eval_accuracy"].mean == pytest.approx(statistics.fmean(accuracies))
    assert row.quality["eval_accuracy"].spread == pytest.approx(statistics.stdev(accuracies))
    assert row.quality["eval_accuracy"].n == 3


def test_one_seed_has_no_spread() -> None:
    row = summarize(make_report([make_result()]))[0]
    assert row.quality["eval_accuracy"].spread is None


def test_a_degenerate_trial_is_counted_and_left_out_of_the_mean() -> None:
    sound = make_result(make_trial(seed=0))
    row = summarize(make_report([sound, make_result(make_trial(seed=1), accuracy=0.1, degenerate=True)]))[0]
    assert row.degenerate == 1
    assert row.completed == 2
    found = row.quality["eval_accuracy"]
    assert (found.mean, found.n) == (sound.value("eval_accuracy"), 1)


def test_a_variant_that_only_predicts_one_class_has_no_quality_and_is_never_fastest() -> None:
    row, other = summarize(
        make_report(
            [
                make_result(make_trial("dynamic"), degenerate=True, samples_per_second=90.0),
                make_result(make_trial("static")),
            ]
        )
    )
    assert (row.quality, row.rank) == ({}, None)
    assert other.rank is None


def test_what_did_not_complete_keeps_its_status_phase_and_reason() -> None:
    report = make_report(
        [
            make_result(make_trial(seed=0)),
            make_result(make_trial(seed=1), status="oom", reason="batch 8, peak 15.9 GiB"),
            make_result(make_trial(seed=2), status="oom", reason="batch 8, peak 15.9 GiB"),
            make_result(make_trial(seed=3), status="unavailable", phase="start", reason="no cuda:3"),
        ]
    )
    row = summarize(report)[0]
    assert row.statuses == {"completed": 1, "oom": 2, "unavailable": 1}
    assert row.failures == (
        Failure("oom", "train", "batch 8, peak 15.9 GiB", (1, 2)),
        Failure("unavailable", "start", "no cuda:3", (3,)),
    )
    assert row.quality["eval_accuracy"].n == 1


def test_rates_are_medians_over_trials_and_step_times_over_all_steps() -> None:
    results = [
        make_result(make_trial(seed=seed), samples_per_second=rate)
        for seed, rate in enumerate((10.0, 40.0, 20.0))
    ]
    row = summarize(make_report(results))[0]
    steps = [step for result in results for one in result.measurements if one.unit == "s"
             for step in one.values if one.metric == "train_step_seconds"]  # fmt: skip
    assert row.samples_per_second == results[2].value("train_samples_per_second")
    assert row.step_seconds_median == pytest.approx(np.quantile(steps, 0.5))
    assert row.step_seconds_p95 == pytest.approx(np.quantile(steps, 0.95))


def timed(padding: PaddingStrategy, speed: float, **changes: Any) -> list[TrialResult]:
    """Three seeds around a speed, in samples a second."""
    device = changes.pop("device", "cpu")
    return [
        make_result(make_trial(padding, seed, device=device), samples_per_second=speed * share, **changes)
        for seed, share in enumerate((1.0, 1.01, 0.985))
    ]


def test_the_fastest_is_named_among_complete_rows_that_may_be_compared() -> None:
    rows = summarize(make_report([*timed("static", 10.0), *timed("unpadded", 50.0)]))
    assert [row.rank for row in rows] == [None, "fastest"]
    assert rows[1].speed_range is not None
    assert rows[1].speed_range[0] < (rows[1].real_tokens_per_second or 0.0) < rows[1].speed_range[1]
    assert [row.rank for row in summarize(make_report(timed("unpadded", 50.0)))] == [None]


def test_variants_that_the_trials_do_not_tell_apart_are_tied() -> None:
    near = [
        make_result(make_trial("dynamic", seed), samples_per_second=speed)
        for seed, speed in enumerate((51.0, 49.0, 50.5))
    ]
    rows = summarize(make_report([*timed("static", 10.0), *timed("unpadded", 50.0), *near]))
    assert [row.rank for row in rows] == [None, "tied", "tied"]


def test_one_trial_a_variant_ranks_none() -> None:
    slow, fast = make_result(make_trial("static")), make_result(make_trial(), samples_per_second=90.0)
    rows = summarize(make_report([slow, fast]))
    assert [(row.rank, row.speed_range) for row in rows] == [(None, None), (None, None)]


def test_a_variant_that_fails_parity_is_not_fastest() -> None:
    fast = timed("unpadded", 50.0)
    other = Parity(
        examples=64, largest_logit_difference=1.0, relative_gradient_error=0.0, flipped_predictions=9
    )
    proof = fast[0].model_copy(update={"parity": other})
    rows = summarize(make_report([*fast, *timed("static", 10.0), *timed("dynamic", 30.0)], proofs=(proof,)))
    assert [(row.fails_parity, row.rank) for row in rows] == [
        (True, None),
        (False, None),
        (False, "fastest"),
    ]


def test_a_variant_with_a_failed_trial_is_not_fastest() -> None:
    fast = [*timed("unpadded", 50.0)[:2], make_result(make_trial("unpadded", 2), status="failed")]
    report = make_report([*fast, *timed("static", 10.0), *timed("dynamic", 30.0)])
    assert [row.rank for row in summarize(report)] == [None, None, "fastest"]


def test_each_device_has_its_own_fastest() -> None:
    gpu = {"device": "cuda:0", "environment": make_environment(device=Device(kind="cuda", name="Test GPU"))}
    results = [
        *timed("static", 5.0),
        *timed("dynamic", 9.0),
        *timed("static", 200.0, **gpu),
        *timed("dynamic", 100.0, **gpu),
    ]
    rows = summarize(make_report(results))
    assert [row.label for row in rows if row.rank == "fastest"] == ["dynamic cpu", "static cuda:0"]


def test_a_trial_below_the_majority_class_is_counted() -> None:
    good, bad = make_result(make_trial(seed=0)), make_result(make_trial(seed=1), accuracy=0.05)
    (row,) = summarize(make_report([good, bad]))
    assert row.below_majority == 1


def test_memory_is_the_devices_where_it_has_its_own() -> None:
    host = make_result(make_trial("static"))
    device = make_result(
        make_trial("dynamic"),
        measurements=(
            measured("peak_memory_host_bytes", 9e9),
            measured("peak_memory_allocated_bytes", 2e9),
        ),
    )
    rows = summarize(make_report([host, device]))
    assert [(row.peak_memory_of, row.peak_memory_bytes) for row in rows] == [
        ("host", 512_000_000.0),
        ("device", 2e9),
    ]


def test_stand_ins_and_synthetic_data_are_marked_and_kept_from_the_reference() -> None:
    suite = make_suite(reference={"eval_accuracy": 0.80})
    real = make_result(make_trial("static"))
    stand_in = make_result(
        make_trial("dynamic"), checkpoint=make_checkpoint(stand_in=True, name="embedded/bert-uncased")
    )
    synthetic = make_result(make_trial("unpadded"), data=make_data(synthetic=True, content_sha256="ef" * 32))
    rows = summarize(make_report([real, stand_in, synthetic], suite=suite))
    assert [(row.stand_in, row.synthetic) for row in rows] == [
        (None, False),
        ("embedded/bert-uncased", False),
        (None, True),
    ]
    accuracy = real.value("eval_accuracy")
    assert accuracy is not None
    assert rows[0].against_reference == {"eval_accuracy": pytest.approx(accuracy - 0.80)}
    assert rows[1].against_reference == rows[2].against_reference == {}
    assert not any(row.rank for row in rows)


def test_what_was_not_measured_says_why() -> None:
    row = summarize(make_report([make_result()]))[0]
    assert row.model_flops_utilization is None
    assert row.unmeasured == {("model_flops_utilization", "no peak is known for Test CPU"): (0,)}


def test_a_report_without_results_has_no_rows() -> None:
    assert summarize(make_report([])) == ()


@given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1), st.floats(min_value=0, max_value=1))
def test_quantiles_agree_with_numpy(values: list[float], share: float) -> None:
    assert quantile(sorted(values), share) == pytest.approx(np.quantile(values, share), abs=1e-6)


def test_nothing_measured_is_no_estimate() -> None:
    assert estimate([None, None]) is None
