from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import ModernBertConfig, ModernBertForSequenceClassification, PreTrainedModel

from harness.model.job import TrialStoppedError
from harness.model.tasks import Task
from harness.model.values import Attention, Padding
from harness.training.checkpoints import load_model
from harness.training.loading import load_corpus
from harness.training.padding import Collator
from harness.training.tokenizing.tokens import tokenize
from harness.training.variants.unpadding import Layout, unpad
from tests.data.sets import resolved

pytestmark = pytest.mark.heavy


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_flattening_and_padding_are_inverse_where_there_are_tokens(lengths: list[int]) -> None:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    layout = Layout.of(mask)
    padded = torch.randn(*mask.shape, 3)
    flat = layout.flatten(padded)
    assert flat.shape == (-(-sum(lengths) // 16) * 16, 3)
    assert torch.equal(layout.pad(flat), padded * mask[:, :, None])
    assert torch.equal(flat[layout.firsts], padded[:, 0])
    assert torch.equal(layout.pad(layout.with_filling(layout.without_filling(flat))), layout.pad(flat))


def difference(
    model: PreTrainedModel, attention: Attention, batch: dict[str, torch.Tensor]
) -> tuple[float, float]:
    """Largest logit difference and relative gradient error of unpadded against padded, dropout off."""
    model.train(mode=False)
    unpadded = copy.deepcopy(model)
    unpad(unpadded, attention)
    logits, gradients = [], []
    for variant in (model, unpadded):
        output = variant(**batch)
        output.loss.backward()
        logits.append(output.logits.detach())
        used = [parameter.grad for parameter in variant.parameters() if parameter.grad is not None]
        gradients.append(torch.cat([gradient.flatten() for gradient in used]))
    error = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    return (logits[1] - logits[0]).abs().max().item(), error.item()


@pytest.mark.mrpc
@pytest.mark.parametrize("kind", ["minilm", "bert", "distilbert"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_64_real_pairs_get_the_same_logits_and_gradients(
    kind: str,
    attention: Attention,
    mrpc_dir: Path,
    checkpoints: dict[str, Path],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    folder = request.getfixturevalue("minilm") if kind == "minilm" else checkpoints[kind]
    data = resolved({"train": mrpc_dir / "train.tsv", "validation": mrpc_dir / "dev.tsv"}, "glue")
    tokens = tokenize(load_corpus(Task(), data), folder, 64 if kind != "minilm" else 512, tmp_path)
    torch.manual_seed(0)
    loaded = load_model(folder, labels=("no", "yes"), attention=attention, token_type_ids="auto")
    padding = Padding(strategy="dynamic")
    batch = Collator(tokens.evaluation, padding, loaded.columns, tokens.longest, tokens.pad_token_id)(
        range(64)
    )
    assert batch["attention_mask"].float().mean() < 0.95
    largest_logit, gradient_error = difference(loaded.model, attention, batch)
    assert largest_logit <= 1e-6
    assert gradient_error <= 1e-5


def layers(model: PreTrainedModel) -> list[Any]:
    base: Any = model.base_model
    return list(base.encoder.layer)


def test_the_linear_layers_see_real_tokens_and_less_than_16_more(
    checkpoints: dict[str, Path],
) -> None:
    loaded = load_model(checkpoints["bert"], labels=("no", "yes"), attention="sdpa", token_type_ids="auto")
    unpad(loaded.model, "sdpa")
    seen: list[torch.Size] = []
    for layer in layers(loaded.model):
        layer.intermediate.dense.register_forward_hook(lambda _module, args, _out: seen.append(args[0].shape))
    mask = torch.tensor([[1] * 9, [1] * 4 + [0] * 5, [1] * 5 + [0] * 4])
    loaded.model(input_ids=torch.full((3, 9), 7), attention_mask=mask)
    assert seen == [torch.Size([1, 32, 32])] * 2


def test_dropout_still_drops(checkpoints: dict[str, Path]) -> None:
    loaded = load_model(checkpoints["bert"], labels=("no", "yes"), attention="sdpa", token_type_ids="auto")
    unpad(loaded.model, "sdpa")
    assert loaded.model.training
    batch = {"input_ids": torch.full((2, 9), 7), "attention_mask": torch.ones(2, 9, dtype=torch.int64)}
    assert not torch.equal(loaded.model(**batch).logits, loaded.model(**batch).logits)


def test_a_model_that_keeps_its_layers_elsewhere_is_refused() -> None:
    config = ModernBertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    )
    model = ModernBertForSequenceClassification(config)
    with pytest.raises(TrialStoppedError, match="cannot serve modernbert: ModernBertModel has no encoder"):
        unpad(model, "sdpa")


def test_a_model_whose_attention_takes_another_path_is_refused(checkpoints: dict[str, Path]) -> None:
    loaded = load_model(checkpoints["bert"], labels=("no", "yes"), attention="sdpa", token_type_ids="auto")
    attention = layers(loaded.model)[0].attention.self

    def leaking(hidden_states: torch.Tensor, *_args: Any, **_kwargs: Any) -> tuple[torch.Tensor, None]:
        return hidden_states.mean(dim=1, keepdim=True).expand_as(hidden_states), None

    attention.forward = leaking
    with pytest.raises(TrialStoppedError, match="its logits differ by"):
        unpad(loaded.model, "sdpa")
