from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig
from transformers import DistilBertForSequenceClassification as DistilBert

from harness.training.checkpoints import load_model
from harness.training.measuring.flops import EncoderShape
from harness.training.variants.last_layer import compute_first_rows

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_formula_agrees_with_torch_counting_the_model(kind: str) -> None:
    size: dict[str, Any] = {"vocab_size": 50, "attn_implementation": "eager"}
    bert = BertConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, **size
    )
    distilbert = DistilBertConfig(dim=32, n_layers=3, n_heads=4, hidden_dim=96, **size)
    model = BertForSequenceClassification(bert) if kind == "bert" else DistilBert(distilbert)
    rows, length = 4, 17
    ids, labels = torch.ones(rows, length, dtype=torch.int64), torch.zeros(rows, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=labels).loss.backward()
    shape = EncoderShape.of(model.config)
    assert shape is not None
    assert shape.train_flops(np.full(rows, length)) == pytest.approx(counter.get_total_flops(), rel=0.005)


def test_a_last_layer_of_first_rows_counts_less(checkpoints: dict[str, Path]) -> None:
    model = load_model(
        checkpoints["bert"], labels=("no", "yes"), attention="eager", token_type_ids="auto"
    ).model
    compute_first_rows(model)
    ids = torch.full((4, 17), 7)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.backward([model(input_ids=ids, labels=torch.zeros(4, dtype=torch.int64)).loss])
    shape = EncoderShape.of(model.config, "cls")
    assert shape is not None
    assert shape.train_flops(np.full(4, 17)) == pytest.approx(counter.get_total_flops(), rel=0.005)


def test_a_config_without_the_usual_sizes_has_no_shape() -> None:
    assert EncoderShape.of(object()) is None
