from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    CanineConfig,
    CanineForSequenceClassification,
    FNetConfig,
    FNetForSequenceClassification,
    PreTrainedModel,
)

from harness.model.trial import Trial
from harness.training.checkpoints import LoadedModel
from harness.training.proofs import kernels
from harness.training.proofs.kernels import check_kernels
from tests.factories import make_trial

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def checks_of(model: PreTrainedModel, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each check passes that is made of a model with eager attention, on rows of five tokens."""
    inputs = {name: torch.ones(2, 5, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    monkeypatch.setattr(kernels, "inputs_of", lambda *_arguments, **_options: inputs)
    loaded = LoadedModel(model, "eager", 0, ("input_ids", "attention_mask"), None, (), ())
    tokens: Any = type("Rows", (), {"train": None, "pad_token_id": 0})
    found = check_kernels(loaded, trial, cast("Any", tokens), torch.device("cpu"))
    return [check.passed for check in found]


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_only_encoders_that_offer_torchs_attention_are_looked_at(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(engine=engine, attention="eager")
    for model in (
        FNetForSequenceClassification(FNetConfig(**SIZES)),
        CanineForSequenceClassification(CanineConfig(**SIZES)),
    ):
        assert checks_of(model, trial, monkeypatch) == []
    for attention, passes in (("eager", True), ("sdpa", False)):
        bert = BertForSequenceClassification(BertConfig(**SIZES))
        bert.set_attn_implementation(attention)
        assert checks_of(bert, trial, monkeypatch) == [passes]
