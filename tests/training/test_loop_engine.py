"""The loop engine trains as `Trainer` does, and each thing it replaces computes the same."""

from __future__ import annotations

import gc
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
)

from harness.model.job import Job, TrialStoppedError
from harness.model.values import Engine, PaddingStrategy
from harness.training import evaluation
from harness.training.engines.cpu_attention import WeightedSum, use_attention
from harness.training.engines.dropout import Dropout, RandomBits, replace_dropout
from harness.training.engines.engine import LossRecord
from harness.training.engines.loop import flatten
from harness.training.engines.used_rows import UsedRows
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly
from tests.training.test_run_trial import without_dropout

pytestmark = pytest.mark.heavy


def losses(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The training loss of every batch, in order."""
    seen: list[float] = []
    record = LossRecord.see

    def see(this: LossRecord, step: int, value: torch.Tensor, *, gradient: bool = False) -> None:
        record(this, step, value, gradient=gradient)
        if not gradient:
            seen.append(value.item())

    with monkeypatch.context() as patched:
        patched.setattr(LossRecord, "see", see)
        run_trial(job, quietly)
    return seen


@pytest.mark.parametrize("strategy", ["static", "dynamic", "bucketed", "unpadded"])
@pytest.mark.parametrize("model", ["bert", "distilbert"])
def test_the_first_50_losses_are_those_of_trainer(
    model: str, strategy: PaddingStrategy, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dropout(monkeypatch)
    engines: tuple[Engine, Engine] = ("trainer", "loop")
    trainer, loop = (
        losses(make_job(model, padding=strategy, engine=engine, train={"max_steps": 50}), monkeypatch)
        for engine in engines
    )
    assert len(trainer) == 50
    np.testing.assert_allclose(loop, trainer, rtol=0, atol=1e-5)
    assert max(trainer) - min(trainer) > 0.01


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["windows", "causal"])
def test_layers_that_do_not_attend_to_every_token_do_so_in_the_loop(kind: str, dtype: torch.dtype) -> None:
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
    sizes |= {"vocab_size": 50, "intermediate_size": 64, "pad_token_id": 0}
    torch.manual_seed(0)
    model: PreTrainedModel
    if kind == "windows":
        ends: dict[str, Any] = {"cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
        model = ModernBertForSequenceClassification(ModernBertConfig(**sizes, **ends, local_attention=4))
    else:
        config = GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, pad_token_id=0)
        model = GPT2ForSequenceClassification(config)
    rows = torch.randint(3, 50, (2, 24))
    mask = torch.ones_like(rows)
    # Padded far beyond a window.
    rows[1, 8:] = mask[1, 8:] = 0
    model.eval()  # type: ignore[no-untyped-call] # transformers leaves it so
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        model.set_attn_implementation("eager")
        plain = model(input_ids=rows, attention_mask=mask).logits
        use_attention(model, RandomBits(0), unpadded=False)
        found = model(input_ids=rows, attention_mask=mask).logits
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-6 if dtype == torch.float32 else 2e-2)


@pytest.mark.parametrize("accumulated", [1, 3])
def test_both_engines_record_the_same_loss_of_each_step(
    accumulated: int, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dropout(monkeypatch)
    train = {"gradient_accumulation_steps": accumulated, "num_train_epochs": 2}
    engines: tuple[Engine, Engine] = ("trainer", "loop")
    recorded, means = [], []
    for engine in engines:
        result = run_trial(make_job(engine=engine, train=train), quietly)
        found = result.measurement("train_step_loss")
        assert found is not None
        assert result.observed is not None
        assert len(found.values) == result.observed.optimizer_steps
        recorded.append(found.values)
        means.append(np.mean(found.values[len(found.values) // 2 :]) - (result.value("train_loss") or 0))
    np.testing.assert_allclose(recorded[0], recorded[1], rtol=0, atol=1e-5)
    if accumulated == 1:
        np.testing.assert_allclose(means, 0, atol=1e-7)


def test_a_recorded_loss_is_read_only_when_checked() -> None:
    record, loss = LossRecord(), torch.tensor(0.5)
    record.see(1, loss)
    loss.fill_(float("nan"))
    record.see(2, torch.tensor(0.25))
    assert record.end_epoch() == 0.375
    record.see(3, torch.tensor(0.75))
    record.see(3, torch.tensor(float("inf")), gradient=True)
    with pytest.raises(TrialStoppedError, match="the gradient norm of step 3 is not finite"):
        record.check()
    assert record.by_step() == [0.5, 0.25, 0.75]


@pytest.mark.parametrize(
    "train",
    [
        {"weight_decay": 0.1, "learning_rate": 1e-3},
        {"lr_scheduler_type": "cosine", "warmup_steps": 0.3},
        {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 5, "max_grad_norm": 0.1},
        {"gradient_accumulation_steps": 3, "optim": "adamw_torch"},
    ],
    ids=["decay", "cosine", "warm-up", "accumulation"],
)
def test_every_setting_means_what_it_means_to_trainer(
    train: dict[str, Any], make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dropout(monkeypatch)
    trainer, loop = (
        losses(make_job(engine=engine, train={"num_train_epochs": 3, **train}), monkeypatch)
        for engine in ("trainer", "loop")
    )
    np.testing.assert_allclose(loop, trainer, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dropped", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
@pytest.mark.parametrize("strategy", ["dynamic", "unpadded"])
def test_hidden_states_and_attention_are_dropped_as_the_config_says(
    strategy: PaddingStrategy, dropped: str, make_job: MakeJob, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """With the same seed and batches, whatever changes the first loss is dropout."""
    shutil.copytree(checkpoints["bert"], tmp_path / "bert")
    config = json.loads((tmp_path / "bert" / "config.json").read_text())
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    first = []
    for rates in (off, {**off, dropped: 0.3}):
        (tmp_path / "bert" / "config.json").write_text(json.dumps(config | rates))
        job = make_job(engine="loop", padding=strategy, train={"max_steps": 1})
        moved = job.checkpoint.model_copy(update={"path": str(tmp_path / "bert")})
        result = run_trial(job.model_copy(update={"checkpoint": moved}), quietly)
        first.append(result.epochs[0].train_loss)
    assert abs(first[1] - first[0]) > 1e-4


def test_evaluation_drops_nothing(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    twice: list[bool] = []
    whole = evaluation.predict

    def again(model: Any, *args: Any) -> Any:
        logits = whole(model, *args)
        twice.append(np.array_equal(logits, whole(model, *args)))
        return logits

    monkeypatch.setattr("harness.training.fitting.predict", again)
    run_trial(make_job(engine="loop"), quietly)
    assert twice == [True, True]


def test_garbage_is_collected_again_after_a_training(make_job: MakeJob) -> None:
    run_trial(make_job(engine="loop", train={"max_steps": 1}), quietly)
    assert gc.isenabled()


@given(p=st.floats(0.01, 0.9), shape=st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_a_mask_drops_its_share_and_keeps_the_mean(p: float, shape: list[int]) -> None:
    mask = RandomBits(0)(torch.empty(*shape), p)
    assert mask.shape == torch.Size(shape)
    scale = mask.max().item()
    assert set(mask.flatten().tolist()) <= {0.0, scale}
    if scale:
        assert scale == pytest.approx(1 / (1 - p), rel=1e-3)


@given(
    p=st.floats(0.01, 0.9),
    shape=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_mask_keeps_the_numbers_of_sixteen_bits_from_its_rate_up(
    p: float, shape: list[int], dtype: torch.dtype
) -> None:
    mask = RandomBits(0)(torch.empty(*shape, dtype=dtype), p)
    numbers = np.random.SFC64(0).random_raw(-(-mask.numel() // 4)).view(np.int16)[: mask.numel()]
    dropped = round(p * 2**16)
    kept = torch.from_numpy(numbers.astype(np.int64) + 2**15 >= dropped).view(shape)
    assert torch.equal(mask, kept.to(dtype) * torch.tensor(2**16 / (2**16 - dropped), dtype=dtype))


def test_a_large_mask_has_its_mean_and_no_two_are_alike() -> None:
    draw = RandomBits(0)
    like = torch.empty(1_000_000)
    first, second = draw(like, 0.1), draw(like, 0.1)
    # Four standard errors of a share of 0.1 among a million, and of the correlation of two such masks.
    assert abs((first == 0).double().mean().item() - 0.1) < 4 * 0.0003
    assert abs(first.mean().item() - 1) < 4 * 0.0004
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1].item()) < 4e-3
    assert abs(torch.corrcoef(torch.stack([first[:-1], first[1:]]))[0, 1].item()) < 4e-3


def test_replaced_dropout_is_dropout_to_everyone_else() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3)).train(mode=False)
    replace_dropout(model, RandomBits(0))
    replaced = model[1]
    assert isinstance(replaced, Dropout)
    assert isinstance(replaced, nn.Dropout)
    assert (replaced.p, replaced.training) == (0.3, False)
    ones = torch.ones(5)
    assert replaced(ones) is ones


@pytest.mark.parametrize("p", [0.0, 0.25])
def test_attention_and_its_gradients_are_those_that_autograd_finds(p: float) -> None:
    torch.manual_seed(0)
    leaves = [torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    copies = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    bias = torch.zeros(2, 1, 1, 5, dtype=torch.float64)
    bias[1, ..., 3:] = torch.finfo(torch.float64).min
    drawn = RandomBits(1)(torch.empty(6, 5, 5, dtype=torch.float64), p) if p else torch.ones(6, 5, 5)
    query, key, value = copies
    weights = (query @ key.transpose(2, 3) + bias).softmax(-1) * drawn.view(2, 3, 5, 5)
    expected = weights @ value
    found: torch.Tensor = WeightedSum.apply(*leaves, bias, (lambda _like: drawn) if p else None)  # type: ignore[no-untyped-call] # torch leaves it so
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(expected)
    torch.autograd.backward([found, expected], [gradient, gradient])
    for leaf, copy in zip(leaves, copies, strict=True):
        torch.testing.assert_close(leaf.grad, copy.grad)


def test_used_rows_give_the_rows_and_the_gradient_of_the_whole_table() -> None:
    torch.manual_seed(0)
    table = nn.Embedding(10, 3, padding_idx=0)
    rows = UsedRows(table, torch.tensor([0, 2, 5, 9]))
    ids = torch.tensor([[2, 9, 0], [5, 2, 0]])
    torch.autograd.backward(
        [functional.mse_loss(module(ids), torch.ones(2, 3, 3)) for module in (table, rows)]
    )
    assert torch.equal(rows(ids), table(ids))
    assert table.weight.grad is not None
    assert torch.equal(rows.whole_gradient(), table.weight.grad)
    with pytest.raises(IndexError):
        rows(torch.tensor([3]))


def test_what_is_flattened_shares_values_and_gradients() -> None:
    layer = nn.Linear(3, 2)
    before = [each.detach().clone() for each in layer.parameters()]
    flat = flatten(list(layer.parameters()))
    assert flat.shape == (8,)
    for each, value in zip(layer.parameters(), before, strict=True):
        assert torch.equal(each, value)
    torch.autograd.backward([layer(torch.ones(3)).sum()])
    assert flat.grad is not None
    assert flat.grad.tolist() == [1.0] * 8
    torch.optim.SGD([flat], lr=1.0).step()
    for each, value in zip(layer.parameters(), before, strict=True):
        torch.testing.assert_close(each.detach(), value - 1)
