from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from harness.analysis.comparison.comparing import compare
from harness.analysis.comparison.models import Comparison, ComparisonRow
from harness.analysis.parity import function_of
from harness.analysis.stats.ratios import RunVariance
from harness.errors import InvalidInputError, NotComparableError
from harness.model.arguments import Train
from harness.model.arrays import Logits
from harness.model.environment import Device, Environment
from harness.model.measurements import Measurement, measured
from harness.model.proof import Parity
from harness.model.quality import Predictions
from harness.model.results import Report, TrialResult
from harness.model.seeds import SeedRoles
from harness.model.suite import Measure
from harness.model.tasks import Limit, Task
from harness.model.trial import Trial
from harness.model.values import PaddingStrategy
from harness.output.builders.comparison_page import subtitles
from tests.factories import (
    EFFICIENCY,
    make_checkpoint,
    make_data,
    make_environment,
    make_measurements,
    make_report,
    make_result,
    make_suite,
    make_trial,
)

PADDINGS: Sequence[tuple[PaddingStrategy, int, float]] = (
    ("static", 60, 200.0),
    ("dynamic", 60, 300.0),
    ("unpadded", 61, 400.0),
)
SPEED = "train_real_tokens_per_second"
# A machine whose speed hardly changes from run to run.
CALIBRATED = {SPEED: RunVariance(0.005**2, 9), "train_seconds": RunVariance(0.005**2, 9)}
LABELS = tuple(int(index % 3 != 0) for index in range(408))


def predicted(wrong: Sequence[int]) -> Predictions:
    """408 examples of which these are classified wrong."""
    rows = tuple(
        (0.5, -0.5) if (label == 0) != (index in set(wrong)) else (-0.5, 0.5)
        for index, label in enumerate(LABELS)
    )
    return Predictions(example_ids=tuple(range(408)), labels=LABELS, logits=Logits(rows))


def result(trial: Trial, wrong: Sequence[int] = (), *, speed: float = 25.0, **changes: Any) -> TrialResult:
    kept = predicted(wrong)
    fields: dict[str, Any] = {
        "predictions": kept,
        "measurements": _measurements(kept, speed, EFFICIENCY[trial.padding.strategy]),
    }
    return make_result(trial, examples=408, **(fields | changes))


def _measurements(
    kept: Predictions, speed: float, efficiency: float, steps: int = 14
) -> tuple[Measurement, ...]:
    """Equal steps at `speed` real tokens a second, after warm-up steps that took as long."""
    others = [one for one in make_measurements(kept) if not one.metric.startswith(("train_", "padding_"))]
    step = 8 * 53 / speed
    return (
        *others,
        measured(SPEED, speed),
        measured("padding_efficiency", efficiency),
        measured("train_samples_per_second", 8 / step),
        measured("train_step_seconds", *[step] * steps),
        measured("train_seconds", 24 * step),
    )


def on(name: str, **changes: Any) -> Environment:
    device = Device(kind="cuda", index=0, name=name, memory_bytes=40 << 30, driver="570.1")
    return make_environment(device=device, threads=2, **changes)


def report(results: Sequence[TrialResult], run: str, **changes: Any) -> Report:
    return make_report(results, run=run, **changes)


def seeds(
    wrong: Sequence[int] = (), speeds: Sequence[float] = (25.0, 25.2, 24.9), run: str = "a", **changes: Any
) -> Report:
    """One variant, a seed for each speed, all with the same predictions."""
    trial = changes.pop("trial", make_trial())
    return report(
        [
            result(trial.model_copy(update={"seed": seed}), wrong, speed=speed, **changes)
            for seed, speed in enumerate(speeds)
        ],
        run,
    )


def row(comparison: Comparison, metric: str, candidate: str | None = None) -> ComparisonRow:
    (found,) = [
        each for each in comparison.rows if each.metric == metric and candidate in (None, each.candidate.name)
    ]
    return found


# A hand-made pair: the baseline is wrong on 0-59, the candidate on 40-69 and on nothing else.
BASELINE_WRONG, CANDIDATE_WRONG = range(60), range(40, 70)


@pytest.mark.parametrize(("lost", "gained"), [(0, 8), (1, 7), (0, 60)])
def test_one_seed_tests_this_pair_of_models_and_leaves_the_recipes_unsure(lost: int, gained: int) -> None:
    one = seeds(range(gained), [25.0], "a")
    two = seeds(range(100, 100 + lost), [25.0], "b")
    found = row(compare([one, two], metrics=["eval_accuracy"], margin=0.5), "eval_accuracy")
    assert found.discordant == (lost, gained)
    assert found.effect == pytest.approx((gained - lost) / 408)
    table = [[400 - lost, gained], [lost, 0]]
    assert found.pair_p is not None
    assert found.pair_p == pytest.approx(stats.binomtest(lost, lost + gained).pvalue, rel=1e-9)
    assert found.pair_p == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
    assert (found.verdict, found.test, found.seeds) == ("unsure", "exact McNemar", (0,))
    assert (found.p, found.interval, found.detectable, found.equivalent) == (None, None, None, None)
    (note,) = found.notes
    p = "<0.001" if found.pair_p < 0.0005 else f"{found.pair_p:.3f}"
    assert note == (
        f"this pair of models differs on these examples (p = {p}); the effect of another seed is unknown"
    )
    assert found.next_step is not None
    assert "-s 'matrix.seed=[0, 1, 2, 3, 4]'" in found.next_step


def test_several_seeds_of_the_baseline_lend_their_variance_to_a_candidate_with_one() -> None:
    one = report([result(make_trial(seed=seed), range(55 + seed)) for seed in range(5)], "a")
    far, near = seeds(range(10), [25.0], "b"), seeds(range(56), [25.0], "b")
    found = row(compare([one, far], metrics=["eval_accuracy"]), "eval_accuracy")
    assert (found.verdict, found.test) == ("better", "unpaired seeds, paired examples")
    assert (found.seeds, found.baseline.trials, found.candidate.trials) == ((0,), 5, 1)
    note = "unpaired seeds: the variance over seeds is estimated from the baseline's 5 seeds"
    assert note in found.notes
    assert row(compare([one, near], metrics=["eval_accuracy"]), "eval_accuracy").verdict != "better"


def test_the_table_s_p_values_are_adjusted_together_and_decide() -> None:
    one, two = seeds(BASELINE_WRONG, run="a"), seeds(CANDIDATE_WRONG, run="b")
    compared = compare([one, two], metrics=["eval_accuracy", "eval_f1", "eval_mcc"])
    raw = sorted(each.p for each in compared.rows if each.p is not None)
    assert len(raw) == 3
    adjusted = sorted(each.p_holm for each in compared.rows if each.p_holm is not None)
    assert adjusted[0] == pytest.approx(3 * raw[0])
    assert all(each.verdict == "better" for each in compared.rows)


def test_the_interval_shown_is_the_one_that_decided() -> None:
    one, two = seeds(BASELINE_WRONG, run="a"), seeds(CANDIDATE_WRONG, run="b")
    for found in compare([one, two], metrics=["eval_accuracy", "eval_f1", "eval_mcc"]).rows:
        assert found.interval is not None
        assert found.coverage is not None
        assert found.coverage > 0.95
        assert found.interval[0] > 0
    near = row(compare([seeds(range(30)), seeds(range(31), run="b")]), "eval_accuracy")
    assert (near.verdict, near.coverage) == ("same", 0.9)
    assert near.interval is not None
    assert -0.02 < near.interval[0] < near.interval[1] < 0.02


def test_a_margin_is_a_share_of_each_metric_s_range_or_given_by_metric() -> None:
    one, two = seeds(range(60)), seeds(range(40, 70), run="b")
    metrics = ["eval_accuracy", "eval_mcc", "eval_loss"]
    assert compare([one, two], metrics=metrics, margin=0.02).margins == {
        "eval_accuracy": 0.02,
        "eval_mcc": 0.04,
    }
    assert compare([one, two], metrics=metrics, margin={"eval_mcc": 0.1}).margins["eval_mcc"] == 0.1


def test_separate_runs_have_a_speed_verdict_only_where_the_variance_between_runs_is_known() -> None:
    slow, fast = seeds(speeds=[25.0, 25.2, 24.9]), seeds(speeds=[50.0, 50.3, 50.1], run="b")
    found = row(compare([slow, fast]), SPEED)
    assert (found.verdict, found.p, found.interval) == ("unsure", None, None)
    assert found.effect == pytest.approx(2.0, rel=0.02)
    assert found.next_step is not None
    assert found.next_step.startswith("run both sides in one interleaved session: harness ab BASE CANDIDATE")
    assert found.next_step.endswith(
        "earlier runs of this variant on this machine: compare or check with --history PATH"
    )
    assert row(compare([slow, fast], run_variance=CALIBRATED), SPEED).verdict == "better"
    noisy = {SPEED: RunVariance(0.3**2, 3)}
    assert row(compare([slow, fast], run_variance=noisy), SPEED).verdict == "unsure"


def _two_speeds(bucketed: float) -> Sequence[tuple[PaddingStrategy, float]]:
    return ("static", 100.0), ("bucketed", bucketed)


def _two_scores(seed: int) -> Sequence[tuple[PaddingStrategy, int]]:
    return ("static", 40 + seed), ("dynamic", 44 - seed)


def test_an_axis_is_also_compared_over_all_variants() -> None:
    made = [
        result(make_trial(padding, checkpoint=checkpoint), speed=speed * share)
        for checkpoint, share in (("a", 1.0), ("b", 0.5), ("c", 0.9))
        for padding, speed in _two_speeds(158.0 + share)
    ]
    compared = compare([report(made, "a")], by="padding", metrics=[SPEED])
    singles = [each for each in compared.rows if each.variants == 1]
    assert {each.verdict for each in singles} == {"unsure"}
    (over_all,) = [each for each in compared.rows if each.variants > 1]
    assert (over_all.variant, over_all.variants, over_all.verdict) == ("all 3 variants", 3, "better")
    assert over_all.effect == pytest.approx(1.588, abs=0.01)


def test_the_scatter_of_several_seeds_is_pooled_over_all_variants() -> None:
    random = np.random.default_rng(3)
    made = [
        result(make_trial(padding, seed, checkpoint=checkpoint), speed=speed * random.uniform(0.98, 1.02))
        for checkpoint in "abcd"
        for seed in range(3)
        for padding, speed in _two_speeds(104.0)
    ]
    *singles, over_all = compare([report(made, "a")], by="padding", metrics=[SPEED]).rows
    assert (over_all.variants, over_all.test) == (4, "t of logarithms, pooled over variants")
    assert over_all.effect == pytest.approx(stats.gmean([each.effect for each in singles]), rel=1e-3)
    widths = [each.interval[1] - each.interval[0] for each in singles if each.interval is not None]
    assert len(widths) == 4
    assert over_all.interval is not None
    assert over_all.interval[1] - over_all.interval[0] < min(widths)


def test_variants_with_one_seed_and_with_several_have_no_common_row() -> None:
    made = [
        result(make_trial(padding, seed, checkpoint=checkpoint), speed=speed + seed)
        for checkpoint, seed in (("a", 0), ("b", 0), ("b", 1))
        for padding, speed in _two_speeds(158.0)
    ]
    assert {each.variants for each in compare([report(made, "a")], by="padding", metrics=[SPEED]).rows} == {1}


def test_equal_ratios_of_single_trials_show_no_scatter_over_all_variants() -> None:
    made = [
        result(make_trial(padding, checkpoint=checkpoint), speed=speed)
        for checkpoint in "ab"
        for padding, speed in _two_speeds(158.0)
    ]
    assert {each.variants for each in compare([report(made, "a")], by="padding", metrics=[SPEED]).rows} == {1}


def test_quality_over_all_variants_shares_examples_and_seeds() -> None:
    made = [
        result(make_trial(padding, seed, checkpoint=checkpoint), range(wrong))
        for checkpoint in ("a", "b")
        for seed in range(4)
        for padding, wrong in _two_scores(seed)
    ]
    compared = compare([report(made, "a")], by="padding", metrics=["eval_accuracy"])
    over_all = compared.rows[-1]
    assert (over_all.variants, over_all.verdict) == (2, "same")
    assert over_all.effect == pytest.approx(-1 / 408)


def test_a_report_is_the_same_as_itself() -> None:
    one = seeds(range(30))
    compared = compare([one, one])
    assert row(compared, "eval_accuracy").verdict == "same"
    assert row(compared, "eval_f1").verdict == "same"
    assert row(compared, SPEED).verdict == "same"
    assert row(compared, SPEED).effect == 1.0
    assert compared.candidates == ("a (2)",)
    assert compared.notes == (
        "a (2) and a share the results of 3 of 3 pairs of trials, which did not run twice: that they are "
        "equal shows nothing; run the suite again with --fresh, and compare that run",
    )


def test_results_that_only_look_equal_are_not_shared_ones() -> None:
    one = seeds(range(30))
    later = [each.model_copy(update={"started": each.started + timedelta(hours=1)}) for each in one.results]
    assert compare([one, report(later, "b")]).notes == ()
    (note,) = compare([one, report([*one.results[:1], *later[1:]], "c")]).notes
    assert note.startswith("c and a share the results of 1 of 3 pairs of trials")


def _scattered(random: np.random.Generator, seed: int) -> TrialResult:
    """A seed that is wrong on 50 to 70 examples, most of them the same for every seed."""
    others = random.choice(range(60, 408), 20, replace=False)
    return result(make_trial(seed=seed), [*range(30 + int(random.integers(0, 20))), *map(int, others)])


def test_unsure_comes_with_the_detectable_effect_and_the_seeds_that_decide() -> None:
    random = np.random.default_rng(0)
    one, two = (report([_scattered(random, seed) for seed in range(4)], run) for run in ("a", "b"))
    alone = row(compare([one, two], metrics=["eval_accuracy"]), "eval_accuracy")
    assert alone.verdict == "unsure"
    assert alone.detectable is not None
    assert 0.01 < alone.detectable < 0.1
    assert alone.next_step is not None
    assert "-s 'matrix.seed=[0, 1, 2, 3, " in alone.next_step
    # The adjustment over three rows raises the effect that would be found.
    metrics = ["eval_accuracy", "eval_f1", "eval_mcc"]
    three = row(compare([one, two], metrics=metrics), "eval_accuracy")
    assert three.detectable is not None
    assert three.detectable > alone.detectable


@pytest.mark.parametrize(("margin", "verdict"), [(0.02, "same"), (0.001, "unsure")])
def test_a_small_difference_is_the_same_only_inside_the_margin(margin: float, verdict: str) -> None:
    one, two = seeds(range(30)), seeds(range(31), run="b")
    found = row(compare([one, two], margin=margin), "eval_accuracy")
    assert (found.verdict, found.equivalent) == (verdict, verdict == "same")


def test_speed_is_judged_by_interval_test_and_noise_band() -> None:
    slow, fast = seeds(speeds=[25.0, 25.2, 24.9]), seeds(speeds=[30.0, 30.3, 30.1], run="b")
    found = row(compare([slow, fast], run_variance=CALIBRATED), SPEED)
    assert (found.verdict, found.kind) == ("better", "ratio")
    assert found.effect == pytest.approx(30.1 / 25.0)
    assert row(compare([fast, slow], run_variance=CALIBRATED), SPEED).verdict == "worse"
    assert (
        row(
            compare([slow, fast], metrics=["train_seconds"], run_variance=CALIBRATED), "train_seconds"
        ).verdict
        == "better"
    )
    # A band is of single runs: three trials a side differ by less.
    assert row(compare([slow, fast], noise={SPEED: 0.5}, run_variance=CALIBRATED), SPEED).verdict == "unsure"
    assert row(compare([slow, fast], noise={SPEED: 0.25}, run_variance=CALIBRATED), SPEED).verdict == "better"
    near = seeds(speeds=[25.1, 25.2, 25.0], run="b")
    assert row(compare([slow, near], noise={SPEED: 0.2}, run_variance=CALIBRATED), SPEED).verdict == "same"


@pytest.mark.parametrize("speeds", [[30.0, 32.0, 36.0], [25.1, 25.2, 25.0]])
def test_no_noise_of_a_machine_makes_unlike_speeds_the_same(speeds: list[float]) -> None:
    slow, other = seeds(speeds=[25.0, 25.2, 24.9]), seeds(speeds=speeds, run="b")
    found = row(compare([slow, other], noise={SPEED: 32.8}, run_variance=CALIBRATED), SPEED)
    assert (found.verdict, found.equivalent) == ("unsure", False)


def test_one_trial_is_never_significant_for_speed() -> None:
    found = row(compare([seeds(speeds=[10.0]), seeds(speeds=[30.0], run="b")]), SPEED)
    assert (found.verdict, found.p, found.interval) == ("unsure", None, None)
    assert "one trial: no interval, not a test" in found.notes


@pytest.mark.parametrize(
    ("before", "after", "verdict", "note"),
    [
        ([25.0, 25.0], [25.0, 25.0], "same", "both are constant and equal: no interval and no p-value"),
        ([25.0, 25.0], [30.0, 30.0], "unsure", "neither side varies: no interval and no p-value"),
    ],
)
def test_constant_metrics_get_no_p_value_and_a_reason(
    before: list[float], after: list[float], verdict: str, note: str
) -> None:
    found = row(compare([seeds(speeds=before), seeds(speeds=after, run="b")]), SPEED)
    assert (found.verdict, found.p) == (verdict, None)
    assert note in found.notes
    assert (found.next_step is None) == (verdict == "same")
    assert "no trial decides it" in (found.next_step or "no trial decides it")


def test_more_seeds_or_examples_are_no_advice_on_a_speed_that_scatters_too_much() -> None:
    trials = [make_trial(padding, seed) for padding in ("static", "dynamic") for seed in range(3)]
    speeds = [10.0, 25.0, 60.0, 26.0, 9.0, 65.0]
    made = [make_result(each, samples_per_second=at) for each, at in zip(trials, speeds, strict=True)]
    found = row(compare([report(made, "a")], by="padding"), SPEED)
    assert found.next_step is not None
    assert found.next_step.endswith(": time more steps in each trial, on a machine with less other load")


def test_variants_of_one_report_are_compared_along_an_axis() -> None:
    made = [
        result(make_trial(padding, seed), range(wrong), speed=speed + seed)
        for seed in range(3)
        for padding, wrong, speed in PADDINGS
    ]
    compared = compare([report(made, "a")], by="padding")
    assert (compared.baseline, compared.candidates, compared.by) == (
        "static",
        ("dynamic", "unpadded"),
        "padding",
    )
    assert row(compared, SPEED, "dynamic").verdict == "better"
    assert row(compared, SPEED, "dynamic").test == "paired t of logarithms"
    other = compare([report(made, "a")], by="padding", baseline="unpadded")
    assert row(other, SPEED, "dynamic").verdict == "worse"


def test_an_axis_is_compared_inside_each_value_of_the_others() -> None:
    made = [
        result(make_trial(padding, precision=precision), range(9))
        for precision in ("fp32", "bf16")
        for padding in ("static", "dynamic")
    ]
    compared = compare([report(made, "a")], by="padding", metrics=["eval_accuracy"])
    assert [each.variant for each in compared.rows] == ["fp32", "bf16"]
    compared = compare([report(made, "a")], by="precision", metrics=["eval_accuracy"])
    assert [each.variant for each in compared.rows] == ["static", "dynamic"]


def test_train_keys_are_axes_too() -> None:
    made = [result(make_trial(train=Train(learning_rate=rate)), range(9)) for rate in (2e-5, 5e-5)]
    compared = compare([report(made, "a")], by="train.learning_rate", metrics=["eval_accuracy"])
    assert (compared.baseline, compared.candidates) == ("2e-05", ("5e-05",))


def test_three_gpus_become_one_table_with_quality_compared_and_speed_labelled() -> None:
    machines = [
        seeds(
            range(30),
            [speed, speed + 1, speed + 2],
            run=name,
            environment=on(name),
            trial=make_trial(device=device),
        )
        for name, speed, device in (
            ("T4", 50.0, "cuda:0"),
            ("A100", 400.0, "cuda:0"),
            ("H100", 900.0, "cuda:1"),
        )
    ]
    compared = compare(machines)
    assert [each.candidate.device for each in compared.rows if each.metric == SPEED] == ["A100", "H100"]
    for each in compared.rows:
        if each.metric == SPEED:
            assert (each.verdict, each.p, each.across_devices) == ("not comparable", None, True)
            assert each.effect is not None
            assert each.effect > 7
        else:
            assert each.verdict == "same"
    assert len({each.variant for each in compared.rows}) == 1
    for asked in (
        compare(machines, speed_across_devices=True, run_variance=CALIBRATED),
        compare(machines, allow_mismatch=["device"], run_variance=CALIBRATED),
    ):
        assert all(
            each.verdict == "better" and each.across_devices for each in asked.rows if each.metric == SPEED
        )


def test_two_reports_that_differ_only_in_device_line_up() -> None:
    cpu, gpu = seeds(run="a"), seeds(run="b", trial=make_trial(device="cuda:0"), environment=on("A100"))
    compared = compare([cpu, gpu])
    assert not [each for each in compared.rows if each.verdict == "missing"]
    assert [each.name for each in compared.mismatches] == ["device"]


def test_several_devices_in_one_candidate_stand_against_the_one_of_the_baseline() -> None:
    both = report(
        [
            result(make_trial(device=device), environment=on(device) if device != "cpu" else None)
            for device in ("cpu", "cuda:0", "cuda:1")
        ],
        "b",
    )
    compared = compare([seeds(speeds=[25.0]), both], metrics=["eval_accuracy"])
    assert [each.variant.rsplit("dynamic ")[-1] for each in compared.rows] == [
        "cpu",
        "cpu to cuda:0",
        "cpu to cuda:1",
    ]
    assert all(each.verdict == "same" for each in compared.rows)


Change = Callable[[], dict[str, Any]]
MISMATCHES: dict[str, Change] = {
    "data": lambda: {"data": make_data(content_sha256="00" * 32, eval_examples=408)},
    "stand_in": lambda: {"checkpoint": make_checkpoint(stand_in=True)},
    "metric_version": lambda: {"metric_version": "glue/mrpc 2"},
    "weights": lambda: {"checkpoint": make_checkpoint(weights_sha256="00" * 32)},
    "precision": lambda: {"checkpoint": make_checkpoint(dtype="bfloat16")},
    "config": lambda: {"checkpoint": make_checkpoint(config_sha256="00" * 32)},
    "tokenizer": lambda: {"checkpoint": make_checkpoint(tokenizer_sha256="00" * 32)},
    "columns": lambda: {"checkpoint": make_checkpoint(columns=("input_ids", "attention_mask"))},
    "truncation": lambda: {"data": make_data(max_length=128, eval_examples=408)},
    "labels": lambda: {"data": make_data(labels=("equivalent", "not_equivalent"), eval_examples=408)},
    "libraries": lambda: {
        "environment": make_environment(
            packages={"torch": "2.13.0", "transformers": "6.0"},
            device=Device(kind="cpu", name="Test CPU"),
            threads=2,
        )
    },
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_what_does_not_match_is_not_comparable_unless_allowed_by_name(name: str) -> None:
    one, two = seeds(range(9)), seeds(range(9), run="b", **MISMATCHES[name]())
    with pytest.raises(NotComparableError) as error:
        compare([one, two], metrics=["eval_accuracy"])
    assert f"--allow-mismatch {name}" in str(error.value)
    allowed = compare([one, two], metrics=["eval_accuracy"], allow_mismatch=[name])
    assert row(allowed, "eval_accuracy").verdict == "same"
    assert allowed.allowed_mismatches == (name,)
    assert [(each.name, each.allowed, each.rows) for each in allowed.mismatches] == [(name, True, 1)]
    assert row(allowed, "eval_accuracy").mismatches == (name,)


@pytest.mark.parametrize("name", ["config", "tokenizer", "columns", "truncation"])
def test_other_inputs_make_speed_incomparable_too(name: str) -> None:
    one, two = seeds(range(9)), seeds(range(9), run="b", **MISMATCHES[name]())
    with pytest.raises(NotComparableError, match=f"--allow-mismatch {name}"):
        compare([one, two], metrics=[SPEED])


@pytest.mark.parametrize("name", ["config", "tokenizer"])
def test_a_digest_that_an_older_report_lacks_is_unknown_and_a_mismatch_with_one_that_is_known(
    name: str,
) -> None:
    older, newer = seeds(range(9)), seeds(range(9), run="b", **MISMATCHES[name]())
    assert row(compare([older, seeds(range(9), run="b")]), "eval_accuracy").verdict == "same"
    assert row(compare([newer, newer]), "eval_accuracy").verdict == "same"
    compared = compare([older, newer], allow_mismatch=[name], metrics=["eval_accuracy"])
    assert [(each.before, each.after[-13:]) for each in compared.mismatches] == [("unknown", " 000000000000")]


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_the_model_s_inputs_does_not_matter(order: int) -> None:
    columns = ("input_ids", "attention_mask", "token_type_ids")[::order]
    two = seeds(range(9), run="b", checkpoint=make_checkpoint(columns=columns))
    assert row(compare([seeds(range(9)), two]), "eval_accuracy").verdict == "same"


def test_variants_along_an_axis_differ_by_intent_in_what_belongs_to_it() -> None:
    def made(axis: dict[str, Any], seed: int, **changes: Any) -> TrialResult:
        return result(make_trial(seed=seed, **axis), range(9), **changes)

    files = {"weights_sha256": "1" * 64, "config_sha256": "2" * 64, "tokenizer_sha256": "3" * 64}
    others: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "checkpoint": (
            {"checkpoint": "other"},
            {"checkpoint": make_checkpoint(columns=("input_ids",), **files)},
        ),
        "revision": ({"revision": "abc"}, {"checkpoint": make_checkpoint(**files)}),
        "token_type_ids": (
            {"token_type_ids": "drop"},
            {"checkpoint": make_checkpoint(columns=("input_ids",))},
        ),
        "task.max_length": (
            {"task": Task(max_length=128)},
            {"data": make_data(max_length=128, eval_examples=408)},
        ),
    }
    for axis, (trial, found) in others.items():
        both = report([made({}, 0), made(trial, 0, **found)], "a")
        assert compare([both], by=axis, metrics=["eval_accuracy"]).mismatches == (), axis


def _on_devices(world_size: int, batch: int) -> Trial:
    return make_trial(engine="loop", world_size=world_size, train=Train(per_device_train_batch_size=batch))


def test_numbers_of_devices_are_compared_at_one_global_batch() -> None:
    trials = [_on_devices(1, 8), _on_devices(2, 4), _on_devices(4, 2)]
    compared = compare(
        [report([result(trial, range(9)) for trial in trials], "a")],
        by="world_size",
        metrics=["eval_accuracy"],
    )
    assert [each.verdict for each in compared.rows] == ["same", "same"]
    assert compared.mismatches == ()


def test_another_global_batch_is_another_training_condition() -> None:
    both = report([result(trial, range(9)) for trial in (_on_devices(1, 8), _on_devices(2, 8))], "a")
    with pytest.raises(NotComparableError, match="--allow-mismatch global_batch"):
        compare([both], by="world_size", metrics=["eval_accuracy"])
    allowed = compare([both], by="world_size", metrics=["eval_accuracy"], allow_mismatch=["global_batch"])
    assert [(each.before, each.after) for each in allowed.mismatches] == [
        ("8 examples a step", "16 examples a step")
    ]


def test_mismatches_that_touch_only_speed_leave_quality_comparable() -> None:
    newer = make_environment(
        packages={"torch": "2.14.0", "transformers": "5.23.0"},
        device=Device(kind="cpu", name="Test CPU"),
        threads=2,
    )
    # Two more steps were left out of the times, as the plan then has it.
    longer = make_suite(measure=Measure(warmup_steps=12))
    later = _measurements(predicted(()), 25.0, 0.74, steps=12)
    for name, two in (
        ("torch", seeds(run="b", environment=newer)),
        ("warm_up", seeds(run="b", measurements=later).model_copy(update={"suite": longer})),
    ):
        compared = compare([seeds(), two])
        assert row(compared, "eval_accuracy").verdict == "same"
        assert (row(compared, SPEED).verdict, row(compared, SPEED).effect) == ("not comparable", None)
        assert row(compare([seeds(), two], allow_mismatch=[name]), SPEED).verdict != "not comparable"


def test_times_of_trials_that_ran_beside_others_are_not_compared_even_with_their_like() -> None:
    beside = seeds(run="b", concurrent=2)
    for one, two in ((seeds(), beside), (beside, seeds()), (beside, seeds(run="c", concurrent=2))):
        compared = compare([one, two])
        assert row(compared, "eval_accuracy").verdict == "same"
        assert (row(compared, SPEED).verdict, row(compared, SPEED).effect) == ("not comparable", None)
        assert "2 at once: times do not count" in row(compared, SPEED).notes[0]


def test_fewer_examples_are_compared_only_if_allowed_and_then_on_the_shared_ones() -> None:
    full = predicted(range(9))
    shorter = Predictions(
        example_ids=full.example_ids[::-1][:400],
        labels=full.labels[::-1][:400],
        logits=Logits(full.logits[::-1][:400]),
    )
    two = report([result(make_trial(), predictions=shorter, measurements=make_measurements(shorter))], "b")
    one = seeds(range(9), [25.0])
    with pytest.raises(NotComparableError, match="408 examples"):
        compare([one, two], metrics=["eval_accuracy"])
    found = row(compare([one, two], metrics=["eval_accuracy"], allow_mismatch=["examples"]), "eval_accuracy")
    assert found.verdict == "same"
    assert "8 examples that not every trial has were left out" in found.notes


def test_labels_that_disagree_cannot_be_allowed() -> None:
    full = predicted(range(9))
    relabelled = full.model_copy(update={"labels": (1 - full.labels[0], *full.labels[1:])})
    two = report(
        [result(make_trial(), predictions=relabelled, measurements=make_measurements(relabelled))], "b"
    )
    with pytest.raises(NotComparableError, match="the labels of 1 of 408 shared examples disagree"):
        compare([seeds(range(9), [25.0]), two], metrics=["eval_accuracy"])


def test_a_stored_score_that_its_predictions_contradict_is_not_compared() -> None:
    honest = seeds(range(9), [25.0])
    forged = result(make_trial(), range(9))
    forged = forged.model_copy(
        update={
            "measurements": tuple(
                measured("eval_accuracy", 0.999) if one.metric == "eval_accuracy" else one
                for one in forged.measurements
            )
        }
    )
    compared = compare([honest, report([forged], "b")])
    found = row(compared, "eval_accuracy")
    assert (found.verdict, found.mismatches) == ("not comparable", ("stored_value",))
    assert row(compared, "eval_f1").verdict == "same"


def test_sides_without_a_common_example_are_not_comparable() -> None:
    kept = predicted(range(30))
    others = kept.model_copy(update={"example_ids": tuple(range(1000, 1408))})
    one = report([result(make_trial(), range(30))], "a")
    two = report([result(make_trial(), range(30)).model_copy(update={"predictions": others})], "b")
    compared = compare([one, two], metrics=["eval_accuracy", SPEED], allow_mismatch=["examples"])
    found = row(compared, "eval_accuracy")
    assert found.verdict == "not comparable"
    assert found.notes[0] == "the two sides share no evaluation example"


def test_unpaired_seeds_are_dropped_and_counted() -> None:
    one = seeds(range(9), [25.0, 25.1, 25.2])
    two = report([result(make_trial(seed=seed), range(9)) for seed in (1, 2, 3, 4)], "b")
    found = row(compare([one, two]), "eval_accuracy")
    assert (found.seeds, found.dropped_seeds) == ((1, 2), (0, 3, 4))
    option = "-s 'matrix.seed=[0, 1, 2, 3, 4]'"
    assert (
        f"seeds 0, 3, 4 on one side only: dropped; to use them, run both sides with {option}" in found.notes
    )


def test_seeds_that_never_meet_are_not_comparable() -> None:
    two = report([result(make_trial(seed=7), range(9))], "b")
    with pytest.raises(NotComparableError, match="no seed is on both sides"):
        compare([seeds(speeds=[25.0]), two])
    # Several seeds of one side give the variance over seeds.
    found = row(compare([seeds(range(9)), two]), "eval_accuracy")
    assert (found.seeds, found.baseline.trials, found.verdict) == ((), 3, "same")


@pytest.mark.parametrize(
    ("changes", "verdict", "note"),
    [
        ({"status": "oom"}, "failed", "b, seeds 0, 1 left out, oom: the trial was oom"),
        ({"status": "pending"}, "missing", "b, seeds 0, 1 left out, pending: the trial was pending"),
        (
            {"degenerate": True},
            "failed",
            "b, seeds 0, 1 left out of scores, degenerate: it predicts a single class",
        ),
    ],
)
def test_trials_that_ended_short_are_said_and_never_averaged_in(
    changes: dict[str, Any], verdict: str, note: str
) -> None:
    good = make_trial("static")
    one = report([result(good), *(result(make_trial(seed=seed)) for seed in range(2))], "a")
    bad = [
        make_result(make_trial(seed=seed), **changes)
        if "status" in changes
        else result(make_trial(seed=seed), range(9), **changes)
        for seed in range(2)
    ]
    two = report([result(good), *bad], "b")
    (found,) = [
        each
        for each in compare([one, two]).rows
        if each.variant == "dynamic" and each.metric == "eval_accuracy"
    ]
    assert (found.verdict, found.effect, found.candidate.trials) == (verdict, None, 0)
    assert note in found.notes


def test_a_candidate_that_lost_a_seed_is_neither_better_nor_the_same() -> None:
    one = seeds(range(60), [25.0, 25.1, 25.2])
    two = report(
        [
            result(make_trial(seed=0), range(9), speed=50.0),
            result(make_trial(seed=1), range(9), speed=50.1),
            make_result(make_trial(seed=2), status="diverged"),
        ],
        "b",
    )
    compared = compare([one, two], run_variance=CALIBRATED)
    assert {each.verdict for each in compared.rows} == {"unsure"}
    assert "better on the remaining trials only: some were lost" in row(compared, SPEED).notes
    # The other way round the baseline lost it: that says nothing against the candidate.
    assert row(compare([two, one], run_variance=CALIBRATED), SPEED).verdict == "worse"


def test_missing_variants_are_said_on_both_sides() -> None:
    one = report([result(make_trial("static")), result(make_trial("dynamic"))], "a")
    two = report([result(make_trial("dynamic")), result(make_trial("unpadded"))], "b")
    compared = compare([one, two], metrics=["eval_accuracy"])
    assert {each.variant: each.verdict for each in compared.rows} == {
        "static": "missing",
        "dynamic": "same",
        "unpadded": "missing",
    }
    notes = {each.variant: each.notes for each in compared.rows}
    assert notes["static"] == ("b has no such variant",)
    assert notes["unpadded"] == ("the baseline has no such variant",)


def test_what_was_not_measured_is_missing_with_its_reason() -> None:
    compared = compare([seeds(), seeds(run="b")], metrics=["eval_accuracy", "model_flops_utilization"])
    found = row(compared, "model_flops_utilization")
    assert found.verdict == "missing"
    assert "no peak is known for Test CPU" in found.notes[0]


@pytest.mark.parametrize(
    ("difference", "parity", "verdict"),
    [(1e-7, "exact", "better"), (1e-5, "within", "better"), (0.5, "differs", "not comparable")],
)
def test_a_variant_that_failed_parity_is_never_faster(difference: float, parity: str, verdict: str) -> None:
    made = [
        result(make_trial(padding, seed), speed=speed + seed)
        for seed in range(3)
        for padding, _, speed in PADDINGS[1:]
    ]
    proof = make_result(function_of(make_trial("unpadded"))).model_copy(
        update={
            "parity": Parity(
                examples=64,
                largest_logit_difference=difference,
                relative_gradient_error=0.0,
                flipped_predictions=0,
            )
        }
    )
    compared = compare([report(made, "a", proofs=(proof,))], by="padding")
    found = row(compared, SPEED)
    assert (found.verdict, found.candidate.parity, found.baseline.parity) == (verdict, parity, "unproven")
    assert ("parity failed: one side computes a different function" in found.notes) == (parity == "differs")
    assert f"parity with the plain model: unproven for dynamic, {parity} for unpadded" in subtitles(compared)


def test_an_explanation_tells_what_differs_and_which_examples_flipped() -> None:
    newer = make_environment(
        packages={"torch": "2.13.1"}, device=Device(kind="cpu", name="Test CPU"), threads=2
    )
    suite = make_suite(train=Train(learning_rate=3e-5))
    two = seeds([1, 5], [25.0], "b", environment=newer).model_copy(update={"suite": suite})
    compared = compare([seeds([0, 5], [25.0]), two], explain=True, allow_mismatch=["libraries", "torch"])
    explained = compared.explanation
    assert explained is not None
    assert ("packages.torch", "2.13.0", "2.13.1") in [
        (each.field, each.before, each.after) for each in explained.environment
    ]
    assert [(each.field, each.before, each.after) for each in explained.configuration] == [
        ("train.learning_rate", "5e-05", "3e-05")
    ]
    (flips,) = explained.flips
    assert [(each.seed, each.example_id, each.before, each.after) for each in flips.flips] == [
        (0, 0, 1, 0),
        (0, 1, 1, 0),
    ]


def test_an_explanation_tells_what_auto_attention_became_on_both_sides() -> None:
    def ran(report: Report, attention: str | None) -> Report:
        results = [
            result.model_copy(
                update={"checkpoint": result.checkpoint.model_copy(update={"attention": attention})}
            )
            for result in report.results
            if result.checkpoint is not None
        ]
        return report.model_copy(update={"results": tuple(results)})

    def explained(*attentions: str | None) -> list[tuple[str, str | None, str | None]]:
        sides = [ran(seeds([0], [25.0], run), each) for run, each in zip("ab", attentions, strict=True)]
        found = compare(sides, explain=True).explanation
        assert found is not None
        return [(each.field, each.before, each.after) for each in found.environment]

    assert explained("sdpa", "eager") == [("attention", "sdpa", "eager")]
    assert explained("sdpa", "sdpa") == []
    assert explained(None, "sdpa") == [("attention", "auto", "sdpa")]


def test_a_comparison_survives_its_own_json() -> None:
    one, two = seeds(range(60), [25.0]), seeds(range(40, 70), [25.0], "b")
    compared = compare([one, two], explain=True)
    assert Comparison.model_validate_json(compared.model_dump_json()) == compared


def test_the_same_question_gets_the_same_answer() -> None:
    one, two = seeds(range(60)), seeds(range(40, 70), run="b")
    assert compare([one, two]) == compare([one, two])


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"metrics": ["accuracy"]}, "no metric 'accuracy'"),
        ({"metrics": ["model_flops"]}, "no better direction"),
        ({"metrics": []}, "no metric to compare"),
        ({"margin": -0.1}, "margin"),
        ({"margin": 1.5}, "margin"),
        ({"margin": float("nan")}, "margin"),
        ({"allow_mismatch": ["everything"]}, "there is no mismatch 'everything'"),
        ({"noise": {SPEED: -1.0}}, "noise band"),
        ({"baseline": 2}, "baseline 2"),
        ({"by": "padding"}, "inside one report"),
    ],
)
def test_terms_out_of_range_are_refused(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        compare([seeds(), seeds(run="b")], **terms)


def test_one_report_needs_an_axis_that_varies() -> None:
    with pytest.raises(InvalidInputError, match="one report alone"):
        compare([seeds()])
    with pytest.raises(InvalidInputError, match="no axis 'padd'"):
        compare([seeds()], by="padd")
    with pytest.raises(NotComparableError, match="every trial of the report has padding dynamic"):
        compare([seeds()], by="padding")
    with pytest.raises(NotComparableError, match="no trial"):
        compare([report([], "a")], by="padding")
    with pytest.raises(NotComparableError, match="no trial"):
        compare([report([], "a"), report([], "b")])


def test_losses_compare_too_and_huge_logits_do_not_overflow() -> None:
    kept = predicted(range(9))
    huge = kept.model_copy(update={"logits": tuple((-1e60 * a, 1e60 * a) for a, _ in kept.logits)})
    one = seeds(range(9), [25.0])
    assert (
        row(compare([seeds(range(9)), seeds(range(30), run="b")], metrics=["eval_loss"]), "eval_loss").verdict
        == "worse"
    )
    with pytest.raises(NotComparableError, match="too large"):
        compare(
            [one, seeds(range(9), [25.0], "b", predictions=huge, measurements=make_measurements(huge))],
            metrics=["eval_loss"],
        )


@pytest.mark.parametrize("speeds", [[25.0], [25.0, 26.0, 27.5]])
def test_swapping_the_sides_turns_every_effect_around(speeds: list[float]) -> None:
    one, two = seeds(range(60), speeds), seeds(range(40, 70), [2 * speed for speed in speeds], "b")
    turned = {"better": "worse", "worse": "better"}
    there, back = compare([one, two]), compare([two, one])
    for forth, reverse in zip(there.rows, back.rows, strict=True):
        assert forth.effect is not None
        assert reverse.effect == pytest.approx(
            -forth.effect if forth.kind == "difference" else 1 / forth.effect
        )
        assert reverse.p == pytest.approx(forth.p)
        assert reverse.verdict == turned.get(forth.verdict, forth.verdict)


def with_degenerate(run: str, which: Sequence[int], speeds: Sequence[float]) -> Report:
    """One variant, a seed for each speed; those in `which` predict a single class."""
    return report(
        [
            result(make_trial(seed=seed), range(9), speed=speed, degenerate=seed in which)
            for seed, speed in enumerate(speeds)
        ],
        run,
    )


def test_the_speed_of_a_degenerate_trial_counts_and_its_quality_never_does() -> None:
    one = with_degenerate("a", [], [25.0, 25.1, 25.2])
    two = with_degenerate("b", [2], [50.0, 50.1, 50.2])
    compared = compare([one, two], run_variance=CALIBRATED)
    speed, accuracy = row(compared, SPEED), row(compared, "eval_accuracy")
    assert (speed.seeds, speed.verdict) == ((0, 1, 2), "better")
    assert speed.effect == pytest.approx(50.1 / 25.1)
    assert "b, seed 2 counted for speed, though degenerate: it predicts a single class" in speed.notes
    assert accuracy.seeds == (0, 1)
    assert "b, seed 2 left out of scores, degenerate: it predicts a single class" in accuracy.notes


def test_a_candidate_that_is_degenerate_throughout_has_a_speed_and_failed_quality() -> None:
    one = with_degenerate("a", [], [25.0, 25.1, 25.2])
    compared = compare([one, with_degenerate("b", [0, 1, 2], [12.0, 12.1, 12.2])], run_variance=CALIBRATED)
    assert row(compared, SPEED).verdict == "worse"
    found = row(compared, "eval_accuracy")
    assert (found.verdict, found.effect, found.candidate.value) == ("failed", None, None)
    # Nor is anything said about the quality of the others by a baseline that collapsed.
    other_way = compare([with_degenerate("b", [0, 1, 2], [12.0, 12.1, 12.2]), one], run_variance=CALIBRATED)
    assert row(other_way, SPEED).verdict == "better"
    assert row(other_way, "eval_accuracy").effect is None


def test_what_differs_on_a_degenerate_trial_stands_in_the_way_of_its_speed() -> None:
    one = report([result(make_trial(), environment=on("A100"))], "a")
    two = report([result(make_trial(), environment=on("H100"), degenerate=True)], "b")
    compared = compare([one, two])
    assert [each.name for each in compared.mismatches] == ["device"]
    assert row(compared, SPEED).verdict == "not comparable"


def test_a_share_of_the_peak_is_compared_like_a_speed() -> None:
    def shared(share: float, run: str, name: str) -> Report:
        bare = result(make_trial(), environment=on(name))
        more = (*bare.measurements, measured("matmul_peak_share", share))
        return report([bare.model_copy(update={"measurements": more})], run)

    compared = compare(
        [shared(0.2, "a", "A100"), shared(0.5, "b", "A100")], metrics=["matmul_peak_share", "eval_f1"]
    )
    assert row(compared, "matmul_peak_share").effect == pytest.approx(2.5)
    across = compare(
        [shared(0.2, "a", "A100"), shared(0.5, "b", "H100")], metrics=["matmul_peak_share", "eval_f1"]
    )
    assert row(across, "matmul_peak_share").verdict == "not comparable"


def roles(wrong: Sequence[int], run: str, *, init: int | None = None) -> Report:
    """Three seeds of one variant, all with this number for initial weights, or each with its own."""
    made = [
        seed if init is None else SeedRoles(init=init, order=seed, dropout=seed) for seed in range(10, 13)
    ]
    found = [result(make_trial(seed=seed), [*wrong, *range(100, 100 + at)]) for at, seed in enumerate(made)]
    return report(found, run)


def test_seeds_with_roles_are_paired_as_a_whole() -> None:
    one, other = roles([1], "a", init=0), roles([1], "b", init=0)
    assert row(compare([one, other], metrics=["eval_accuracy"]), "eval_accuracy").seeds == tuple(
        SeedRoles(init=0, order=order, dropout=order) for order in range(10, 13)
    )
    unrelated = row(compare([one, roles([1], "b", init=1)], metrics=["eval_accuracy"]), "eval_accuracy")
    assert unrelated.seeds == ()


def test_partly_varied_seeds_label_every_verdict() -> None:
    partly = compare([roles([1], "a", init=0), roles([1], "b", init=0)])
    for each in partly.rows:
        assert any(
            "init has 1 number over 3 seeds" in note and "not to the recipe" in note for note in each.notes
        )
    whole = compare([roles([1], "a"), roles([1], "b")])
    assert not any("partly varied" in note for each in whole.rows for note in each.notes)


def test_advice_on_more_seeds_varies_every_role() -> None:
    noisy = [result(make_trial(seed=SeedRoles(init=0, order=at)), range(at * 9)) for at in (1, 2)]
    other = [result(make_trial(seed=SeedRoles(init=0, order=at)), range(30)) for at in (1, 2)]
    found = row(compare([report(noisy, "a"), report(other, "b")], metrics=["eval_accuracy"]), "eval_accuracy")
    assert found.next_step is not None
    assert "matrix.seed=[0, 1, 2" in found.next_step
    assert "init" not in found.next_step


@pytest.mark.parametrize("limits", [(None, Limit(eval=408)), (Limit(train=64), Limit(train=32))])
def test_another_limit_of_rows_is_a_mismatch_of_every_metric(limits: tuple[Limit | None, Limit]) -> None:
    one, two = (
        seeds(run=run, trial=make_trial().model_copy(update={"task": Task(limit=limit)}))
        for run, limit in zip("ab", limits, strict=True)
    )
    with pytest.raises(NotComparableError) as caught:
        compare([one, two])
    assert "--allow-mismatch limit" in (caught.value.hint or "")
    assert compare([one, two], allow_mismatch=["limit"]).rows


def test_a_checkpoint_with_two_revisions_is_no_level_and_its_revisions_are_two() -> None:
    variants = (("a", "1" * 40, 10.0), ("a", "2" * 40, 20.0), ("b", None, 30.0))
    found = make_report(
        [
            make_result(
                make_trial(seed=seed, checkpoint=name, revision=revision), samples_per_second=speed + seed
            )
            for seed in range(3)
            for name, revision, speed in variants
        ]
    )
    with pytest.raises(InvalidInputError, match=r"a has several values of revision.*1{40}, 2{40}"):
        compare([found], by="checkpoint", metrics=[SPEED])
    (of_a,) = (
        each
        for each in compare([found], by="revision", metrics=[SPEED]).rows
        if each.baseline.trials and each.candidate.trials
    )
    assert (of_a.variant, of_a.verdict) == ("a", "better")
