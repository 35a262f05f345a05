from __future__ import annotations

import pytest

from harness.analysis.parity import (
    ParityVerdict,
    between,
    function_of,
    judge,
    limits,
    verdicts,
)
from harness.analysis.training_verdicts import training_of
from harness.model.arguments import SchedulerKwargs, Train
from harness.model.arrays import Logits
from harness.model.proof import Parity
from harness.model.results import TrialResult
from harness.model.values import Precision
from harness.output.builders.proof_tables import proofs_document
from harness.output.numbers import NOTHING
from tests.factories import make_checkpoint, make_report, make_result, make_trial


def parity(logit: float, gradient: float) -> Parity:
    return Parity(
        examples=64, largest_logit_difference=logit, relative_gradient_error=gradient, flipped_predictions=0
    )


@pytest.mark.parametrize(
    ("precision", "logit", "gradient", "verdict"),
    [
        ("fp32", 0.0, 1e-8, "exact"),
        ("fp32", 5e-6, 1e-5, "exact"),
        ("fp32", 6e-6, 1e-5, "within"),
        ("fp32", 1e-4, 2e-3, "differs"),
        ("fp32", 2e-4, 0.0, "differs"),
        ("bf16", 5e-4, 5e-3, "within"),
        ("bf16", 5e-4, 0.2, "differs"),
        ("fp16", 1e-3, 5e-3, "within"),
    ],
)
def test_the_verdict_follows_the_thresholds_of_the_precision(
    precision: Precision, logit: float, gradient: float, verdict: ParityVerdict
) -> None:
    assert judge(parity(logit, gradient), precision) == verdict


def test_seeds_and_training_settings_are_one_function_and_all_else_is_not() -> None:
    trials = [
        make_trial(seed=0),
        make_trial(seed=1),
        make_trial(train=Train(learning_rate=1e-3)),
        make_trial(precision="bf16"),
        make_trial(attention="eager"),
        make_trial("unpadded"),
    ]
    first = function_of(trials[0])
    assert [function_of(trial) == first for trial in trials] == [True, True, True, False, False, False]


def proof(result: TrialResult, found: Parity | None) -> TrialResult:
    return result.model_copy(update={"parity": found, "status": "completed" if found else "failed"})


def test_every_variant_of_a_report_gets_the_verdict_of_its_function() -> None:
    results = [
        make_result(make_trial(name, seed=seed))
        for seed in (0, 1)
        for name in ("static", "dynamic", "unpadded")
    ]
    proofs = (
        proof(results[0], parity(0.0, 0.0)),
        proof(results[1], parity(1.0, 1.0)),
        proof(results[2], None),
    )
    report = make_report(results).model_copy(update={"proofs": proofs})
    by_name = {str(result.trial.padding): verdicts(report)[result.trial.variant_id] for result in results}
    assert by_name == {"static": "exact", "dynamic": "differs", "unpadded": "unproven"}


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0.0, "exact"), (1e-7, "exact"), (1e-5, "within"), (1e-3, "differs")]
)
def test_two_proofs_are_held_against_each_other_by_their_logits(shift: float, verdict: str) -> None:
    before, after = make_result(make_trial("dynamic")), make_result(make_trial("unpadded"))
    assert before.predictions is not None
    moved = tuple((low, high + shift) for low, high in before.predictions.logits)
    predictions = before.predictions.model_copy(update={"logits": moved})
    assert between(before, after.model_copy(update={"predictions": predictions})) == verdict


def test_nothing_follows_from_proofs_of_other_weights_or_examples() -> None:
    before, after = make_result(make_trial("dynamic")), make_result(make_trial("unpadded"))
    assert before.checkpoint is not None
    assert before.predictions is not None
    other = before.checkpoint.model_copy(update={"weights_sha256": "1" * 64})
    fewer = before.predictions.model_copy(update={"example_ids": before.predictions.example_ids[::-1]})
    for change in ({"checkpoint": other}, {"predictions": fewer}, {"predictions": None}):
        assert between(before, after.model_copy(update=change)) == "unproven"


def test_a_report_without_proofs_proves_nothing_and_fails_nobody() -> None:
    report = make_report([make_result(make_trial())])
    assert set(verdicts(report).values()) == {"unproven"}
    assert "differs" not in verdicts(report).values()


@pytest.mark.parametrize(
    ("logit", "gradient", "tensor", "structure", "verdict"),
    [
        (1.7e-2, 4.5e-2, 0.2, parity(1e-7, 1e-7), "within"),
        (1.7e-2, 4.5e-2, 0.2, parity(1e-3, 1e-7), "differs"),
        (1.7e-2, 4.5e-2, 1.5, parity(1e-7, 1e-7), "differs"),
        (1e-7, 4.5e-2, 0.2, parity(1e-7, 1e-7), "differs"),
        (1.7e-2, 1e-7, 1e-6, parity(1e-7, 1e-7), "differs"),
    ],
    ids=["correct", "another function in fp32", "one tensor", "evaluates in fp32", "trains in fp32"],
)
def test_a_reduced_precision_computes_the_function_in_fp32_and_rounds_in_its_own(
    logit: float, gradient: float, tensor: float, structure: Parity, verdict: ParityVerdict
) -> None:
    changes = {"tensor_gradient_error": tensor, "tensor": "layer.weight", "fp32": structure}
    assert judge(parity(logit, gradient).model_copy(update=changes), "bf16") == verdict


def test_one_frozen_tensor_fails_parity_however_small_its_share_of_the_gradient() -> None:
    frozen = parity(1e-7, 5e-4).model_copy(update={"tensor_gradient_error": 1.0, "tensor": "pooler.bias"})
    assert judge(frozen, "fp32") == "differs"
    assert "of pooler.bias 1.0e+00 (limit 1e-02)" in limits(frozen, "fp32")


def test_the_batches_of_a_trial_are_part_of_its_function() -> None:
    trials = [
        make_trial(train=Train(per_device_train_batch_size=8)),
        make_trial(train=Train(per_device_train_batch_size=32)),
        make_trial(train=Train(per_device_eval_batch_size=8)),
        make_trial(train=Train(gradient_accumulation_steps=2)),
    ]
    assert len({function_of(trial).id for trial in trials}) == 4


def test_the_line_of_a_reduced_precision_names_everything_that_decides_its_verdict() -> None:
    changes = {"fp32": parity(1e-3, 1e-7), "wrong_rows": 2}
    text = limits(parity(1e-7, 4.5e-2).model_copy(update=changes), "bf16")
    assert "; 2 rows have other tokens or labels than their texts give; " in text
    assert "; evaluation equals fp32: it did not run in bf16; computed in fp32: differs: " in text
    assert "training equals fp32" not in text


def test_a_proof_of_training_shortens_the_options_of_a_schedule_to_its_few_steps() -> None:
    given = Train(
        learning_rate=1e-4,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs=SchedulerKwargs(num_decay_steps=500, min_lr_ratio=0.1),
    )
    proven = training_of(make_trial(train=given), "bert").train
    assert proven.lr_scheduler_kwargs is not None
    assert proven.lr_scheduler_kwargs == SchedulerKwargs(num_decay_steps=2, min_lr_ratio=0.1)
    given = Train(
        learning_rate=1e-4,
        lr_scheduler_type="polynomial",
        lr_scheduler_kwargs=SchedulerKwargs(lr_end=1e-5, power=2.0),
    )
    proven = training_of(make_trial(train=given), "bert").train
    assert proven.lr_scheduler_kwargs is not None
    assert proven.lr_scheduler_kwargs.lr_end == pytest.approx(proven.learning_rate / 10)
    assert proven.lr_scheduler_kwargs.power == 2.0


def test_a_table_of_proofs_has_the_verdict_in_fp32_of_a_reduced_precision() -> None:
    reduced = make_result(make_trial(precision="bf16"))
    structure = parity(1.7e-2, 4.5e-2).model_copy(update={"fp32": parity(1e-7, 1e-7)})
    found = (proof(reduced, structure), proof(make_result(), parity(1e-7, 1e-7)))
    table = proofs_document(found, ()).tables[0]
    (column,) = [column for column in table.columns if column.title == "in fp32"]
    assert column.cells == ("exact", NOTHING)
    only = proofs_document(found[1:], ()).tables[0]
    assert "in fp32" not in [column.title for column in only.columns]


def _kept(precision: Precision, shift: float, **checkpoint: str) -> TrialResult:
    found = make_result(make_trial(precision=precision), checkpoint=make_checkpoint(**checkpoint))
    assert found.predictions is not None
    logits = Logits([(one + shift, other) for one, other in found.predictions.logits])
    return found.model_copy(update={"predictions": found.predictions.model_copy(update={"logits": logits})})


@pytest.mark.parametrize(
    ("precisions", "shift", "verdict"),
    [
        (("fp32", "fp32"), 0.0, "exact"),
        (("fp32", "fp32"), 5e-5, "within"),
        (("fp32", "fp32"), 1e-3, "differs"),
        (("bf16", "fp32"), 1e-3, "within"),
        (("fp32", "bf16"), 1e-3, "within"),
        (("bf16", "bf16"), 1.0, "differs"),
    ],
)
def test_two_proofs_agree_within_the_wider_limit_of_both(
    precisions: tuple[Precision, Precision], shift: float, verdict: ParityVerdict
) -> None:
    one, other = _kept(precisions[0], 0.0), _kept(precisions[1], shift)
    assert between(one, other) == between(other, one) == verdict
    # Another kernel of the same weights is what is compared; other weights are not.
    assert between(one, _kept(precisions[1], shift, attention="eager")) == verdict
    assert between(one, _kept(precisions[1], shift, weights_sha256="ef" * 32)) == "unproven"
