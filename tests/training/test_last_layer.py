"""A last layer that computes first rows alone does so, and is refused where it would change the function."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from harness.model.job import TrialStoppedError
from harness.training.checkpoints import load_model
from harness.training.variants.last_layer import compute_first_rows
from harness.training.variants.unpadding import unpad
from tests.training.test_unpadding import layers

pytestmark = pytest.mark.heavy


@pytest.fixture
def model(checkpoints: dict[str, Path]) -> PreTrainedModel:
    loaded = load_model(checkpoints["bert"], labels=("no", "yes"), attention="sdpa", token_type_ids="auto")
    return loaded.model


@pytest.mark.parametrize("unpadded", [False, True])
def test_only_the_last_layer_computes_less(model: PreTrainedModel, unpadded: bool) -> None:
    if unpadded:
        unpad(model, "sdpa")
    compute_first_rows(model)
    seen: dict[str, list[torch.Size]] = {}
    for number, layer in enumerate(layers(model)):
        attention: Any = layer.attention.self
        for name, part in (("key", attention.key), ("query", attention.query), ("dense", layer.output.dense)):

            def see(_module: nn.Module, args: Any, _out: Any, name: str = f"{name}{number}") -> None:
                seen.setdefault(name, []).append(args[0].shape[:-1])

            part.register_forward_hook(see)
    model(input_ids=torch.full((2, 9), 7), attention_mask=torch.tensor([[1] * 9, [1] * 4 + [0] * 5]))
    every, first = (
        (torch.Size([1, 16]), torch.Size([1, 2])) if unpadded else (torch.Size([2, 9]), torch.Size([2, 1]))
    )
    assert {name: shapes[0] for name, shapes in seen.items()} == {
        "key0": every, "query0": every, "dense0": every, "key1": every, "query1": first, "dense1": first
    }  # fmt: skip


def test_rows_of_a_single_token_have_no_other_row(model: PreTrainedModel) -> None:
    ids, mask = torch.tensor([[7, 0], [8, 0]]), torch.tensor([[1, 0], [1, 0]])
    model.train(mode=False)
    expected = model(input_ids=ids, attention_mask=mask).logits
    unpad(model, "sdpa")
    compute_first_rows(model)
    torch.testing.assert_close(model(input_ids=ids, attention_mask=mask).logits, expected)


def test_a_model_that_reads_other_rows_is_refused(model: PreTrainedModel) -> None:
    pooler: Any = model.base_model.pooler
    dense = pooler.dense
    pooler.forward = lambda hidden: torch.tanh(dense(hidden.mean(dim=1)))
    with pytest.raises(TrialStoppedError, match="cls cannot serve bert: its logits differ") as caught:
        compute_first_rows(model)
    assert caught.value.status == "failed"
    assert caught.value.hint == "use last_layer: all for it"


def test_two_models_in_one_process_do_not_meet(model: PreTrainedModel) -> None:
    model.train(mode=False)
    other = copy.deepcopy(model)
    ids = torch.tensor([[7, 8, 9]])
    expected = model(input_ids=ids).logits
    for each in (model, other):
        compute_first_rows(each)
    torch.testing.assert_close(model(input_ids=ids).logits, expected)
    torch.testing.assert_close(other(input_ids=ids).logits, expected)
