"""`attention: auto` in whole trials: what it becomes is what computes, and what the result records."""

from __future__ import annotations

import pytest
from accelerate.state import AcceleratorState

from harness.analysis.parity import verdict_of
from harness.model.job import Job, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.values import Attention, Engine, PaddingStrategy
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy


def used(result: TrialResult) -> str | None:
    assert result.checkpoint is not None
    return result.checkpoint.attention


def train_loss(job: Job) -> float:
    found = run_trial(job, quietly).value("train_loss")
    assert found is not None
    return found


@pytest.mark.parametrize("engine", ["trainer", "loop"])
@pytest.mark.parametrize(("model", "expected"), [("bert", "sdpa"), ("mpnet", "eager")])
def test_a_trial_and_its_proof_record_what_auto_became(
    make_job: MakeJob, engine: Engine, model: str, expected: str
) -> None:
    job = make_job(model, engine=engine, train={"max_steps": 2}, warmup_steps=0)
    assert job.trial.attention == "auto"
    result = run_trial(job, quietly)
    assert (result.status, used(result)) == ("completed", expected)
    assert result.trial == job.trial
    AcceleratorState._reset_state(reset_partial_state=True)
    proof = run_trial(job.model_copy(update={"purpose": "prove"}), quietly)
    assert (verdict_of(proof), used(proof)) == ("exact", expected)


@pytest.mark.parametrize("attention", ["auto", "sdpa", "jagged"])
def test_unpadded_batches_record_it_too(make_job: MakeJob, attention: Attention) -> None:
    job = make_job(padding="unpadded", attention=attention, engine="loop", train={"max_steps": 1})
    proof = run_trial(job.model_copy(update={"purpose": "prove"}), quietly)
    assert used(proof) == ("jagged" if attention == "jagged" else "sdpa")


@pytest.mark.parametrize("strategy", ["dynamic", "unpadded"])
def test_auto_computes_what_the_value_it_becomes_does(make_job: MakeJob, strategy: PaddingStrategy) -> None:
    """The loop engine replaces SDPA attention on the CPU: its dropout masks tell whether it did."""
    auto, sdpa, eager = (
        train_loss(make_job(padding=strategy, attention=attention, engine="loop", train={"max_steps": 5}))
        for attention in ("auto", "sdpa", "eager")
    )
    assert auto == sdpa
    assert auto != eager


@pytest.mark.parametrize("attention", ["auto", "eager", "jagged"])
def test_a_model_without_the_attention_interface_cannot_be_unpadded(
    make_job: MakeJob, attention: Attention
) -> None:
    with pytest.raises(TrialStoppedError) as caught:
        run_trial(make_job("mpnet", padding="unpadded", attention=attention), quietly)
    assert caught.value.message == (
        "unpadded cannot serve mpnet: MPNetForSequenceClassification does not use transformers' attention "
        "interface"
    )
    assert caught.value.hint == "use padding: dynamic for it"
