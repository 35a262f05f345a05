from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.checks.observed import breaches, did_not_move
from harness.analysis.checks.schedule import optimizer_steps, schedule_factor
from harness.analysis.gates.applying import check
from harness.analysis.summary import summarize
from harness.analysis.training_verdicts import (
    training_of,
    training_proofs,
    training_verdict,
    training_verdicts,
)
from harness.model.arguments import SchedulerType, Train
from harness.model.observations import Observed
from harness.model.proof import TrainingCheck, TrainingProof
from harness.model.results import Report, TrialResult
from harness.model.values import Padding
from tests.factories import make_data, make_report, make_result, make_trial
from tests.output.written import to_table


def observed(**changes: Any) -> Observed:
    """What a training of 100 examples in three epochs of default settings does."""
    fields: dict[str, Any] = {
        "optimizer_steps": 39,
        "first_learning_rate": 5e-5,
        "last_learning_rate": 5e-5 / 39,
        # Of a linear schedule without warm-up: (1 + 38/39 + ... + 1/39) times the rate.
        "learning_rate_sum": 5e-5 * 20,
        "dropped_share": 0.1003,
        "dropout_rate": 0.1,
        "dropout_elements": 100_000,
        "parameter_change": 0.01,
        "unmoved": (),
        "training_mode": (True, True, True),
    }
    return Observed(**(fields | changes))


def trained(padding: Any = "dynamic", **changes: Any) -> TrialResult:
    speed = 30.0 if padding == "dynamic" else 20.0
    return make_result(
        make_trial(padding),
        samples_per_second=speed,
        data=make_data(train_examples=100, eval_examples=40),
        observed=observed(**changes),
    )


def test_a_training_as_its_settings_ask_breaks_nothing() -> None:
    assert breaches(trained()) == ()
    assert breaches(make_result()) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer_steps": 38}, "the optimizer stepped 38 times, 39 are due"),
        ({"first_learning_rate": 0.0}, "the first learning rate was 0, due 5e-05"),
        ({"last_learning_rate": 5e-5}, "the last learning rate was 5e-05, due 1.28205e-06"),
        ({"last_learning_rate": None}, "the last learning rate was none, due 1.28205e-06"),
        ({"learning_rate_sum": 5e-5 * 20.5}, "the learning rates add up to 0.001025, due 0.001"),
        ({"training_mode": (True, False, True)}, "epoch 2 began in evaluation mode"),
        ({"dropped_share": 0.0}, "the first pass dropped 0.00% at a rate of 10.00%"),
        ({"dropped_share": 0.11}, "the first pass dropped 11.00% at a rate of 10.00%"),
    ],
)
def test_each_breach_names_what_was_and_what_is_due(changes: dict[str, Any], said: str) -> None:
    (found,) = breaches(trained(**changes))
    assert said in found


def test_a_report_from_before_the_sum_of_rates_was_kept_breaks_nothing() -> None:
    assert breaches(trained(learning_rate_sum=None)) == ()


def test_steps_that_a_gradient_scaler_leaves_out_are_no_breach() -> None:
    result = trained(optimizer_steps=37, last_learning_rate=4e-6, learning_rate_sum=5e-5 * 19)
    fp16 = result.model_copy(update={"trial": result.trial.model_copy(update={"precision": "fp16"})})
    assert breaches(fp16) == ()


def test_a_variant_that_did_not_move_is_marked_and_never_fastest() -> None:
    still = trained(parameter_change=0.0, unmoved=("a.weight", "b.bias"))
    report = make_report([still, trained("static"), trained("bucketed")])
    assert did_not_move(still)
    rows = {str(row.trial.padding): row for row in summarize(report)}
    assert (rows["dynamic"].unmoved, rows["dynamic"].rank) == (1, None)
    text = to_table(report)
    assert "parameters did not change" in text
    assert {case.verdict for case in check(report, gates=()).cases if case.kind == "moved"} == {
        "failed",
        "passed",
    }


def test_tensors_that_did_not_move_are_named() -> None:
    report = make_report([trained(unmoved=("embeddings.weight",))])
    assert "did not change in some trial, as far as sampled: embeddings.weight" in to_table(report)


def test_older_results_are_written_as_they_were() -> None:
    text = make_report().model_dump_json()
    assert not [name for name in ("observed", "training_proofs", "wrong_rows", 'fp32":{') if name in text]


def proof_of(result: TrialResult, *, passed: bool) -> TrialResult:
    check = TrainingCheck(name="losses", passed=passed, found="largest difference 1.0e+00 (limit 1e-05)")
    trial = training_of(result.trial, "bert")
    return make_result(trial, training=TrainingProof(checks=(check,), unproved=("more than two epochs",)))


def proved_report() -> Report:
    results = [trained(), trained("static"), trained("bucketed")]
    proofs = (proof_of(results[0], passed=False), proof_of(results[1], passed=True))
    return make_report(results, training_proofs=proofs)


def test_a_variant_whose_engine_trains_otherwise_is_marked_fails_a_check_and_is_never_fastest() -> None:
    report = proved_report()
    verdicts = {str(row.trial.padding): training_verdicts(report)[row.variant] for row in summarize(report)}
    assert verdicts == {"dynamic": "differs", "static": "same", "bucketed": "unproven"}
    marked = {str(row.trial.padding): (row.fails_training, row.rank) for row in summarize(report)}
    assert marked["dynamic"] == (True, None)
    cases = {case.variant: case.verdict for case in check(report, gates=()).cases if case.kind == "training"}
    assert cases == {"dynamic": "failed", "static": "passed", "bucketed": "unsure"}
    text = to_table(report)
    assert "fails training proof" in text
    assert "training of dynamic: losses: largest difference 1.0e+00 (limit 1e-05)" in text
    assert "not proved of training: more than two epochs" in text


def test_one_proof_of_training_covers_seeds_checkpoints_of_a_family_tasks_and_settings() -> None:
    first = training_of(make_trial(), "bert")
    same = [
        make_trial(seed=3),
        make_trial(checkpoint="another"),
        make_trial(train=Train(learning_rate=1e-3, num_train_epochs=9)),
        make_trial(engine="trainer", cuda_graphs=False),
    ]
    other = [
        make_trial("static"),
        make_trial(engine="loop"),
        make_trial(precision="bf16"),
        make_trial(attention="eager"),
        make_trial(train=Train(optim="adamw_torch")),
        make_trial(train=Train(lr_scheduler_type="cosine")),
        make_trial(Padding(strategy="dynamic", multiple_of=8)),
    ]
    assert {training_of(trial, "bert").id for trial in same} == {first.id}
    assert len({training_of(trial, "bert").id for trial in other} | {first.id}) == len(other) + 1
    assert training_of(make_trial(), "distilbert").id != first.id
    report = make_report([make_result()], training_proofs=())
    assert training_proofs(report) == {}


@given(
    kind=st.sampled_from(["linear", "cosine", "constant", "constant_with_warmup"]),
    warmup=st.one_of(st.integers(1, 20).map(float), st.floats(0, 0.9)),
    steps=st.integers(1, 60),
)
def test_a_schedule_stays_between_zero_and_one_and_reaches_its_peak_after_warm_up(
    kind: SchedulerType, warmup: float, steps: int
) -> None:
    train = Train(lr_scheduler_type=kind, warmup_steps=warmup)
    factors = [schedule_factor(train, step, steps) for step in range(steps)]
    assert all(0.0 <= factor <= 1.0 for factor in factors)
    peak = max(range(steps), key=factors.__getitem__)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_an_incomplete_window_is_a_step() -> None:
    train = Train(num_train_epochs=2, per_device_train_batch_size=8, gradient_accumulation_steps=3)
    trial = make_trial(train=train)
    assert optimizer_steps(trial, 64) == 6
    assert optimizer_steps(trial.model_copy(update={"world_size": 2}), 64) == 4
    limited = train.model_copy(update={"max_steps": 5})
    assert optimizer_steps(trial.model_copy(update={"train": limited}), 64) == 5


def test_a_proof_without_a_check_proves_nothing() -> None:
    assert training_verdict(make_result(training=TrainingProof(checks=()))) == "unproven"
