"""Whether a report may pass, alone and against a baseline."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
from harness.analysis.gates.applying import check, judge_run
from harness.analysis.gates.cases import GateCase, GateReport
from harness.analysis.stats.ratios import RunVariance
from harness.errors import InvalidInputError, NotComparableError
from harness.model.arrays import Logits
from harness.model.environment import Device
from harness.model.measurements import measured
from harness.model.proof import Parity
from harness.model.quality import Predictions
from harness.model.results import Report, TrialResult
from harness.model.suite import Gate
from harness.suite.gate_files import parse_gate
from tests.factories import (
    make_checkpoint,
    make_data,
    make_environment,
    make_report,
    make_result,
    make_suite,
    make_trial,
)

F1 = "eval_f1"
SPEED = "train_real_tokens_per_second"
# A machine whose speed hardly changes from run to run.
CALIBRATED = {SPEED: RunVariance(0.005**2, 9), "train_seconds": RunVariance(0.005**2, 9)}


def gate(text: str) -> Gate:
    return parse_gate(text)


def report(accuracy: float = 0.85, speed: float = 25.0, seeds: int = 3, **changes: Any) -> Report:
    return make_report(
        [
            make_result(make_trial(seed=seed), accuracy=accuracy, samples_per_second=speed, **changes)
            for seed in range(seeds)
        ]
    )


def of_kind(found: GateReport, kind: str) -> list[GateCase]:
    return [case for case in found.cases if case.kind == kind]


def only(found: GateReport, kind: str) -> GateCase:
    (case,) = of_kind(found, kind)
    return case


def scored(seed: int, right: int, examples: int = 400) -> TrialResult:
    """A trial that has its first `right` of `examples` right."""
    labels = tuple(index % 2 for index in range(examples))
    logits = Logits(
        [(0.0, 1.0 if (label == 1) == (index < right) else -1.0) for index, label in enumerate(labels)]
    )
    found = Predictions(example_ids=tuple(range(examples)), labels=labels, logits=logits)
    return make_result(make_trial(seed=seed), predictions=found)


def single_class(seed: int) -> TrialResult:
    """A trial on the same examples that predicts one class."""
    kept = scored(seed, 0).predictions
    assert kept is not None
    one = kept.model_copy(update={"logits": ((0.0, 1.0),) * len(kept.labels)})
    return make_result(make_trial(seed=seed), predictions=one, degenerate=True)


def test_the_public_name_is_the_function() -> None:
    assert harness.check is check


def test_a_sound_report_passes_and_says_that_there_was_no_gate() -> None:
    found = check(report())
    assert (found.outcome, found.exit_code) == ("pass", 0)
    assert {case.verdict for case in found.cases} == {"passed"}
    assert any("no gate on a metric" in note for note in found.notes)


def test_an_empty_report_fails() -> None:
    assert check(make_report([]), gates=[gate("eval_f1>=0.1")]).outcome == "fail"


@pytest.mark.parametrize("limit", ["eval_accuracy>=0.5", "eval_accuracy<=0.99", "train_seconds<=100000"])
def test_a_bound_that_holds_passes(limit: str) -> None:
    assert check(report(), gates=[gate(limit)]).outcome == "pass"


@pytest.mark.parametrize("limit", ["eval_accuracy>=0.99", "eval_accuracy<=0.5", "train_seconds<=0.001"])
def test_a_bound_that_does_not_hold_fails_with_its_numbers(limit: str) -> None:
    found = check(report(), gates=[gate(limit)])
    case = only(found, "bound")
    assert (found.outcome, case.verdict) == ("fail", "failed")
    assert case.rule.replace(" ", "") == limit
    assert "mean of 3 trials" in case.reason


def test_a_bound_is_on_the_mean_of_the_sound_seeds_and_may_be_met_exactly() -> None:
    made = make_report([scored(0, 320), scored(1, 360), single_class(2)])
    found = check(made, gates=[gate("eval_accuracy>=0.85")], allow_degenerate=True)
    assert only(found, "bound").value == pytest.approx(0.85)
    assert found.outcome == "pass"


@settings(max_examples=60, deadline=None)
@given(rights=st.lists(st.integers(0, 400), min_size=1, max_size=4), limit=st.floats(0, 1))
def test_a_lower_bound_passes_exactly_where_the_mean_reaches_it(rights: list[int], limit: float) -> None:
    made = make_report([scored(seed, right) for seed, right in enumerate(rights)])
    case = only(check(made, gates=[Gate(metric="eval_accuracy", min=limit)]), "bound")
    assert case.value is not None
    assert (case.verdict == "passed") == (case.value >= limit)


def test_a_metric_that_was_not_measured_fails_with_the_reason() -> None:
    case = only(check(report(), gates=[gate("model_flops_utilization>=0.1")]), "bound")
    assert (case.verdict, case.reason) == ("failed", "no value: no peak is known for Test CPU")


@pytest.mark.parametrize("rule", ["train_samples_per_second>=1", "train_samples_per_second drop<=10%"])
def test_a_rate_of_unknown_data_follows_from_nothing_and_fails(rule: str) -> None:
    made = report(data=None)
    found = check(made, baseline=made, gates=[gate(rule)])
    (case,) = (case for case in found.cases if case.kind in ("bound", "drop"))
    assert case.verdict == "failed"
    assert "data" in case.reason
    assert only(check(made, gates=[gate("train_seconds>=1")]), "bound").verdict == "passed"


def test_a_metric_that_nobody_knows_fails() -> None:
    unknown = Gate.model_construct(metric="eval_beauty", min=0.1, max=None, max_drop=None)
    assert only(check(report(), gates=[unknown]), "bound").verdict == "failed"


@pytest.mark.parametrize(
    "status", ["failed", "oom", "diverged", "timeout", "killed", "interrupted", "unavailable", "pending"]
)
def test_a_trial_that_did_not_complete_is_red(status: Any) -> None:
    results = [make_result(make_trial(seed=0)), make_result(make_trial(seed=1), status=status)]
    found = check(make_report(results))
    assert found.outcome == "fail"
    assert only(found, "trials").reason.startswith(f"seed 1 {status} in train: the trial was {status}")


def test_a_variant_without_any_sound_trial_fails_its_gates() -> None:
    made = make_report([make_result(status="diverged")])
    assert only(check(made, gates=[gate("eval_f1>=0")]), "bound").verdict == "failed"


def test_a_degenerate_trial_is_red_unless_allowed() -> None:
    made = make_report([make_result(make_trial(seed=0)), make_result(make_trial(seed=1), degenerate=True)])
    assert check(made).outcome == "fail"
    allowed = check(made, allow_degenerate=True)
    assert allowed.outcome == "pass"
    assert "seed 1" in only(allowed, "degenerate").reason


def proof(difference: float | None) -> TrialResult:
    parity = (
        difference
        if difference is None
        else Parity(
            examples=40,
            largest_logit_difference=difference,
            relative_gradient_error=0.0,
            flipped_predictions=0,
        )
    )
    status: dict[str, Any] = {"status": "failed"} if parity is None else {}
    return make_result(make_trial(), **status).model_copy(update={"parity": parity})


@pytest.mark.parametrize(
    ("difference", "verdict", "outcome"),
    [(0.0, "passed", "pass"), (5e-5, "passed", "pass"), (0.5, "failed", "fail"), (None, "unsure", "unsure")],
)
def test_parity_is_a_gate(difference: float | None, verdict: str, outcome: str) -> None:
    found = check(report().model_copy(update={"proofs": (proof(difference),)}))
    assert (only(found, "parity").verdict, found.outcome) == (verdict, outcome)


def test_a_report_without_proofs_says_that_parity_was_not_proven() -> None:
    assert any("parity was not proven" in note for note in check(report()).notes)


@pytest.mark.parametrize(
    ("published", "verdict"),
    [(0.80, "failed"), (0.819, "failed"), (0.821, "passed"), (0.83, "passed"), (0.95, "passed")],
)
def test_a_score_far_above_the_reference_is_suspicious(published: float, verdict: str) -> None:
    made = make_report([scored(0, 340)], suite=make_suite(reference={"eval_accuracy": published}))
    case = only(check(made), "reference")
    assert (case.verdict, case.value, case.baseline) == (verdict, 0.85, published)
    assert case.limit == pytest.approx(published + 0.03)


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": make_checkpoint(requested="bert-base-uncased", stand_in=True)},
        {"data": make_data(name="harness/corpus", synthetic=True)},
    ],
)
def test_numbers_of_stand_ins_are_held_against_nothing(changes: dict[str, Any]) -> None:
    made = report(**changes).model_copy(update={"suite": make_suite(reference={"eval_accuracy": 0.1})})
    found = check(made, gates=[gate("eval_accuracy>=0.5"), gate("train_seconds>=0")])
    verdicts = {case.metric: case.verdict for case in of_kind(found, "bound")}
    assert verdicts == {"eval_accuracy": "not comparable", "train_seconds": "not comparable"}
    assert not of_kind(found, "reference")
    assert any("stand-ins" in note for note in found.notes)
    both = [gate("eval_accuracy>=0.5"), gate("train_seconds>=0")]
    allowed = check(made, gates=both, allow_mismatch=["stand_in"])
    assert (allowed.outcome, allowed.allowed_mismatches) == ("pass", ("stand_in",))


def test_a_stored_score_that_its_predictions_contradict_is_not_believed() -> None:
    honest = scored(0, 200)
    forged = honest.model_copy(
        update={"measurements": (measured("eval_accuracy", 0.99), *honest.measurements[1:])}
    )
    found = check(make_report([forged]), gates=[gate("eval_accuracy>=0.9")])
    assert only(found, "bound").verdict == "not comparable"
    assert found.exit_code != 0


def test_the_gates_of_the_suite_hold_unless_others_are_given() -> None:
    made = report().model_copy(update={"suite": make_suite(gates=(gate("eval_f1>=0.999"),))})
    assert check(made).outcome == "fail"
    assert check(made, gates=[]).outcome == "pass"


def test_a_mismatch_that_nobody_knows_cannot_be_allowed() -> None:
    with pytest.raises(InvalidInputError, match="there is no mismatch"):
        check(report(), allow_mismatch=["everything"])


@pytest.mark.parametrize("accuracy", [0.5, 0.85, 1.0])
def test_a_report_passes_against_itself(accuracy: float) -> None:
    made = report(accuracy)
    gates = [gate("eval_accuracy drop<=0"), gate("eval_f1 drop<=1%"), gate(f"{SPEED} drop<=10%")]
    found = check(made, baseline=made, gates=gates)
    assert (found.outcome, found.count("failed", "not comparable")) == ("pass", 0)


def test_a_real_drop_in_quality_fails_and_a_small_one_passes_or_is_unsure() -> None:
    base = make_report([scored(seed, 380) for seed in range(3)])
    drop = gate("eval_accuracy drop<=0.02")
    worse = check(make_report([scored(seed, 340) for seed in range(3)]), baseline=base, gates=[drop])
    assert (worse.exit_code, only(worse, "drop").verdict) == (1, "failed")
    assert only(worse, "drop").drop == pytest.approx(0.1)
    near = make_report([scored(seed, 373) for seed in range(3)])
    warned = check(near, baseline=base, gates=[drop])
    assert (warned.outcome, only(warned, "drop").verdict) == ("unsure", "unsure")
    assert check(near, baseline=base, gates=[drop], on_unsure="fail").outcome == "fail"
    better = check(base, baseline=near, gates=[drop])
    assert only(better, "drop").verdict == "passed"


def test_a_drop_in_percent_is_of_the_baseline_and_in_the_metrics_own_direction() -> None:
    slow, fast = report(speed=10.0), report(speed=20.0)
    gates = [gate(f"{SPEED} drop<=10%"), gate("train_seconds drop<=10%")]
    found = check(slow, baseline=fast, gates=gates, run_variance=CALIBRATED)
    drops = {case.metric: case for case in of_kind(found, "drop")}
    assert {case.verdict for case in drops.values()} == {"failed"}
    assert drops[SPEED].drop == pytest.approx(0.5, abs=0.02)
    assert drops["train_seconds"].drop == pytest.approx(1.0, abs=0.08)
    assert all(case.relative for case in drops.values())
    assert check(fast, baseline=slow, gates=gates, run_variance=CALIBRATED).outcome == "pass"


def test_a_drop_in_the_metrics_own_unit_is_no_share() -> None:
    gates = [gate(f"{SPEED} drop<=400"), gate(f"{SPEED} drop<=700")]
    found = check(report(speed=10.0), baseline=report(speed=20.0), gates=gates, run_variance=CALIBRATED)
    assert [case.verdict for case in of_kind(found, "drop")] == ["failed", "passed"]


def test_a_slowdown_within_the_machines_noise_is_unsure_and_a_tighter_gate_is_told() -> None:
    found = check(
        report(speed=18.0), baseline=report(speed=20.0), gates=[gate(f"{SPEED} drop<=5%")], noise={SPEED: 0.2}
    )
    assert only(found, "drop").verdict == "unsure"
    assert any("tighter than this machine's noise of ±20 %" in note for note in found.notes)


def test_the_speed_of_separate_runs_is_unsure_until_the_variance_between_runs_is_known() -> None:
    found = check(report(speed=10.0), baseline=report(speed=20.0), gates=[gate(f"{SPEED} drop<=10%")])
    case = only(found, "drop")
    assert (case.verdict, found.outcome, found.exit_code) == ("unsure", "unsure", 0)
    assert case.next_step is not None
    assert case.next_step.startswith("run both sides in one interleaved session: harness ab BASE CANDIDATE")
    assert case.next_step.endswith(
        "earlier runs of this variant on this machine: compare or check with --history PATH"
    )


def test_a_drop_gate_prints_the_drop_it_detects_and_is_under_powered_beyond_twice_its_limit() -> None:
    base = make_report([scored(seed, 380 + 3 * seed) for seed in range(4)])
    made = make_report([scored(seed, 383 - 2 * seed) for seed in range(4)])
    tight, loose = (
        only(check(made, baseline=base, gates=[gate(rule)]), "drop")
        for rule in ("eval_accuracy drop<=0.01", "eval_accuracy drop<=0.2")
    )
    assert (tight.underpowered, loose.underpowered) == (True, False)
    assert tight.detectable is not None
    assert tight.detectable > 0.02
    assert f"detects drops of {100 * tight.detectable:.2g} points or more (80 %)" in tight.reason
    assert tight.seeds is not None
    assert tight.next_step is not None
    assert tight.next_step.startswith(f"about {tight.seeds} seeds detect drops of 2 points")
    found = check(made, baseline=base, gates=[gate("eval_accuracy drop<=0.01")], on_unsure="more")
    assert (found.exit_code, found.underpowered, found.seeds_wanted) == (1, 1, tight.seeds)


def test_failures_of_drop_gates_are_adjusted_over_the_whole_check() -> None:
    base = make_report([scored(seed, 380 + seed) for seed in range(3)])
    made = make_report([scored(seed, 372 - seed) for seed in range(3)])
    alone = check(made, baseline=base, gates=[gate("eval_accuracy drop<=0.005")])
    assert only(alone, "drop").verdict == "failed"
    more = [gate(f"eval_accuracy drop<={limit}") for limit in (0.005, 0.03, 0.04, 0.05, 0.06, 0.07)]
    together = check(made, baseline=base, gates=more)
    assert next(case.verdict for case in of_kind(together, "drop")) == "unsure"


def test_one_seed_a_side_decides_no_drop_of_a_score() -> None:
    found = check(
        make_report([scored(0, 340)]),
        baseline=make_report([scored(0, 380)]),
        gates=[gate("eval_accuracy drop<=0.02")],
    )
    case = only(found, "drop")
    assert (case.verdict, case.interval) == ("unsure", None)
    assert "another seed is unknown" in "; ".join(case.notes)


def test_one_trial_has_no_interval_and_decides_nothing() -> None:
    gates = [gate(f"{SPEED} drop<=10%")]
    found = check(report(speed=10.0, seeds=1), baseline=report(speed=20.0, seeds=1), gates=gates)
    case = only(found, "drop")
    assert (case.verdict, case.interval) == ("unsure", None)
    assert any("one trial" in note for note in case.notes)


def test_a_constant_metric_divides_by_nothing() -> None:
    same = make_report([scored(seed, 400) for seed in range(2)])
    gates = [gate("eval_accuracy drop<=0.01"), gate("padding_efficiency drop<=1%")]
    assert check(same, baseline=same, gates=gates).outcome == "pass"
    none_right = make_report([scored(seed, 0) for seed in range(2)])
    found = check(none_right, baseline=none_right, gates=[gate("eval_accuracy drop<=1%")])
    assert only(found, "drop").verdict == "not comparable"


def test_without_a_baseline_a_drop_cannot_be_judged_and_does_not_pass() -> None:
    found = check(report(), gates=[gate("eval_accuracy drop<=0.02"), gate("eval_accuracy>=0.5")])
    assert (found.outcome, found.exit_code) == ("not comparable", 3)
    assert "harness baseline set" in only(found, "drop").reason


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([make_result(make_trial(seed=0))], "seeds 1, 2 vanished"),
        ([make_result(make_trial(seed=seed), status="oom") for seed in range(3)], "seeds 0, 1, 2 oom"),
        (
            [make_result(make_trial(seed=seed), degenerate=seed > 0) for seed in range(3)],
            "seeds 1, 2 degenerate",
        ),
    ],
)
def test_a_trial_of_the_baseline_that_was_lost_is_red(results: list[TrialResult], message: str) -> None:
    found = check(make_report(results), baseline=report(), gates=[gate("eval_accuracy drop<=0.5")])
    assert (found.exit_code, only(found, "baseline").reason) == (1, message)


def test_a_variant_that_lost_every_trial_is_red_where_no_other_can_be_compared() -> None:
    base = make_report([*report().results, *_static()])
    other = [make_result(make_trial("static", seed), metric_version="glue/mrpc 9") for seed in range(3)]
    lost = [make_result(make_trial(seed=seed), status="oom") for seed in range(3)]
    with pytest.raises(NotComparableError):
        check(make_report(other), baseline=base)
    found = check(make_report([*lost, *other]), baseline=base, gates=[gate("eval_accuracy drop<=0.5")])
    assert (found.outcome, found.exit_code) == ("fail", 1)
    assert "seeds 0, 1, 2 oom" in {case.reason for case in of_kind(found, "baseline")}


def test_a_variant_of_the_baseline_that_vanished_is_red() -> None:
    base = make_report([make_result(make_trial("static")), make_result(make_trial("dynamic"))])
    found = check(make_report([make_result(make_trial("dynamic"))]), baseline=base)
    assert found.outcome == "fail"
    assert [case.reason for case in of_kind(found, "baseline") if case.verdict == "failed"] == [
        "vanished: the report has no such variant"
    ]


def test_a_variant_that_the_baseline_lacks_cannot_be_judged_by_a_drop() -> None:
    both = make_report([make_result(make_trial("static")), make_result(make_trial("dynamic"))])
    base = make_report([make_result(make_trial("dynamic"))])
    found = check(both, baseline=base, gates=[gate("eval_accuracy drop<=0.02")])
    assert found.outcome == "fail"
    assert {case.verdict for case in of_kind(found, "drop")} == {"passed", "not comparable"}
    assert check(both, baseline=base, gates=[]).outcome == "pass"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("data", {"data": make_data(content_sha256="ef" * 32)}),
        ("metric_version", {"metric_version": "glue/mrpc 9"}),
        ("examples", {"examples": 39}),
        ("precision", {"checkpoint": make_checkpoint(dtype="bfloat16")}),
    ],
)
def test_other_conditions_than_the_baselines_are_red_or_end_with_3(
    name: str, changes: dict[str, Any]
) -> None:
    other = report(**changes)
    with pytest.raises(NotComparableError) as caught:
        check(other, baseline=report())
    assert f"--allow-mismatch {name}" in str(caught.value)
    assert "harness baseline set" in str(caught.value)
    assert check(other, baseline=report(), allow_mismatch=[name]).allowed_mismatches == (name,)
    mixed = make_report([*other.results, *_static()])
    found = check(mixed, baseline=make_report([*report().results, *_static()]))
    assert found.outcome == "fail"
    assert name in {case.rule.partition(" ")[0] for case in of_kind(found, "mismatch")}


def _static() -> list[TrialResult]:
    return [make_result(make_trial("static", seed)) for seed in range(3)]


@pytest.mark.parametrize(
    "baseline",
    [
        make_report([]),
        make_report([make_result(make_trial(checkpoint="another"))]),
        make_report([make_result(make_trial(), status="failed")]),
    ],
)
def test_a_baseline_without_a_trial_to_compare_ends_with_3_and_says_how_to_make_one(baseline: Report) -> None:
    with pytest.raises(NotComparableError) as caught:
        check(report(), baseline=baseline)
    assert caught.value.exit_code == 3
    assert "harness baseline set" in str(caught.value)


def test_speed_on_another_device_is_not_comparable_and_quality_is() -> None:
    gpu = make_environment(device=Device(kind="cuda", index=0, name="A100"), threads=2)
    found = check(
        report(environment=gpu),
        baseline=report(),
        gates=[gate("eval_accuracy drop<=0.02"), gate(f"{SPEED} drop<=10%")],
    )
    assert [case.verdict for case in of_kind(found, "drop")] == ["passed", "not comparable"]
    assert found.outcome == "fail"
    speed_alone = check(report(environment=gpu), baseline=report(), gates=[gate(f"{SPEED} drop<=10%")])
    assert speed_alone.exit_code == 3


@settings(max_examples=15, deadline=None)
@given(
    before=st.integers(300, 400),
    after=st.integers(300, 400),
    limit=st.floats(0, 0.5),
)
def test_a_larger_allowance_never_turns_a_drop_red(before: int, after: int, limit: float) -> None:
    base, made = (
        make_report([scored(seed, right - 7 * seed) for seed in range(3)]) for right in (before, after)
    )
    order = {"failed": 0, "unsure": 1, "passed": 2}
    gates = [Gate(metric="eval_accuracy", max_drop=each) for each in (limit, limit + 0.1)]
    strict, loose = (only(check(made, baseline=base, gates=[each]), "drop").verdict for each in gates)
    assert order[strict] <= order[loose]


def test_the_result_is_json_and_comes_back() -> None:
    found = check(report(), baseline=report(), gates=[gate("eval_accuracy drop<=0.02")])
    assert GateReport.model_validate_json(found.model_dump_json()) == found


def test_no_gate_on_speed_judges_trials_that_ran_beside_others() -> None:
    beside = report(concurrent=2)
    for rule in (f"{SPEED}>=1", "train_seconds<=1", f"{SPEED} drop<=10%"):
        found = check(beside, baseline=report(), gates=[gate(rule)])
        case = only(found, "drop" if "drop" in rule else "bound")
        assert case.verdict == "not comparable"
        assert "2 at once: times do not count" in case.reason
    assert only(check(beside, gates=[gate("eval_accuracy>=0.1")]), "bound").verdict == "passed"
    allowed = check(beside, gates=[gate(f"{SPEED}>=1")], allow_mismatch=["at_once"])
    assert (only(allowed, "bound").verdict, allowed.allowed_mismatches) == ("passed", ("at_once",))


def test_a_run_skips_what_it_cannot_judge_and_tells_why() -> None:
    bound, drop = gate("eval_accuracy>=0.5"), gate("eval_accuracy drop<=0.5")
    found, skipped = judge_run(report(), [bound, drop], None, {}, {})
    assert found is not None
    assert (found.outcome, [case.rule for case in of_kind(found, "bound")]) == (
        "pass",
        ["eval_accuracy >= 0.5"],
    )
    assert skipped == ("not judged: eval_accuracy drop <= 0.5: there is no baseline (--baseline)",)
    assert judge_run(report(), [drop], None, {}, {}) == (None, skipped)
    judged, skipped = judge_run(report(), [drop], report(), {}, {})
    assert judged is not None
    assert (only(judged, "drop").verdict, skipped) == ("passed", ())


@pytest.mark.parametrize("metric", ["eval_accuracy", SPEED])
def test_a_run_judges_no_bound_on_a_stand_in_but_the_drop_of_the_same_gate(metric: str) -> None:
    stand_in = report(checkpoint=make_checkpoint(requested="bert-base-uncased", stand_in=True))
    both = gate(f"{metric}>=0.99").model_copy(update={"max_drop": 0.5})
    found, (skipped,) = judge_run(stand_in, [both], stand_in, {}, {})
    assert found is not None
    assert [case.rule for case in found.cases if case.kind in ("bound", "drop")] == [f"{metric} drop <= 0.5"]
    assert skipped.startswith(f"not judged: {metric} >= 0.99: ")
    assert judge_run(stand_in, [gate(f"{metric}>=0.99")], None, {}, {})[0] is None


def test_a_variant_without_a_sound_trial_in_the_baseline_is_not_comparable() -> None:
    base = make_report([*_static(), make_result(make_trial("dynamic"), status="failed")])
    found = check(make_report([*_static(), make_result(make_trial("dynamic"))]), baseline=base)
    reasons = {case.verdict: case.reason for case in of_kind(found, "baseline")}
    assert reasons["passed"] == "seeds 0, 1, 2 on both sides"
    assert reasons["not comparable"].startswith("the baseline has no sound trial of it; keep a better one: ")


@pytest.mark.parametrize(
    ("metric", "limits", "rule"),
    [
        ("eval_f1", {"min": 0.0}, "eval_f1 >= 0 can never fail: eval_f1 is from 0 to 1"),
        ("eval_f1", {"max": 1.0}, "eval_f1 <= 1 can never fail: eval_f1 is from 0 to 1"),
        ("eval_mcc", {"min": -1.0}, "eval_mcc >= -1 can never fail: eval_mcc is from -1 to 1"),
        ("eval_f1", {"max_drop": 1.0}, "eval_f1 drop <= 1 can never fail: eval_f1 is from 0 to 1"),
        ("eval_loss", {"min": 0.0}, "eval_loss >= 0 can never fail: eval_loss is 0 or more"),
        (
            "train_samples_per_second",
            {"max_drop": "100%"},
            "train_samples_per_second drop <= 100% can never fail: train_samples_per_second is above 0",
        ),
    ],
)
def test_a_gate_that_can_never_fail_is_noted(metric: str, limits: dict[str, Any], rule: str) -> None:
    report = make_report()
    assert rule in check(report, baseline=report, gates=[Gate(metric=metric, **limits)]).notes


@pytest.mark.parametrize(
    ("metric", "limits"),
    [
        ("eval_f1", {"min": 0.01}),
        ("eval_mcc", {"min": 0.0}),
        ("eval_mcc", {"max_drop": 1.0}),
        ("train_seconds", {"max_drop": "100%"}),
        ("train_seconds", {"max": 1e9}),
    ],
)
def test_a_gate_that_some_value_breaks_is_not(metric: str, limits: dict[str, Any]) -> None:
    report = make_report()
    found = check(report, baseline=report, gates=[Gate(metric=metric, **limits)])
    assert not any("can never fail" in note for note in found.notes)
