"""Attention over jagged rows is that of each row alone, and drops what it should."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.analysis.parity import verdict_of
from harness.model.job import TrialStoppedError
from harness.model.values import Attention
from harness.training.run_trial import run_trial
from harness.training.variants import jagged
from harness.training.variants.jagged import Rows, dropout_problem, jagged_attention
from tests.training.conftest import MakeJob, quietly
from tests.training.test_loop_engine import losses
from tests.training.test_run_trial import without_dropout

pytestmark = pytest.mark.heavy
LENGTHS = torch.tensor([5, 3, 7, 1])
ROWS = Rows(functional.pad(LENGTHS.cumsum(0), (1, 0)), 9)


def drawn(tokens: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, 2, 8, generator=generator).requires_grad_()


def row_by_row(flat: Sequence[torch.Tensor], asking: torch.Tensor) -> torch.Tensor:
    parts = [
        torch.tensor_split(each, lengths.cumsum(0)[:-1])
        for each, lengths in zip(flat, (asking, LENGTHS, LENGTHS), strict=True)
    ]
    rows = ([part.transpose(0, 1) for part in row] for row in zip(*parts, strict=True))
    return torch.cat(
        [functional.scaled_dot_product_attention(q, k, v, scale=0.3).transpose(0, 1) for q, k, v in rows]
    )


@pytest.mark.parametrize("first_rows", [False, True])
def test_a_row_attends_to_itself_alone_and_gradients_follow(first_rows: bool) -> None:
    asking = Rows.of_one_each(4, torch.device("cpu")) if first_rows else ROWS
    found, expected = (
        [drawn(4 if first_rows and not seed else 16, seed) for seed in range(3)] for _ in range(2)
    )
    query, key, value = found
    out = jagged_attention(query, key, value, rows=(asking, ROWS), dropout=0.0, scaling=0.3)
    alone = row_by_row(expected, asking.offsets.diff())
    torch.testing.assert_close(out, alone)
    weights = drawn(len(out), 9).detach()
    torch.autograd.backward([out, alone], [weights, weights])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_dropout_drops_weights_keeps_the_mean_and_has_a_gradient() -> None:
    torch.manual_seed(0)
    rows = Rows(torch.arange(0, 601, 3), 3)
    query, key = drawn(600, 0), drawn(600, 1)
    ones = torch.ones(600, 2, 8, requires_grad=True)
    out = jagged_attention(query, key, ones, rows=(rows, rows), dropout=0.25, scaling=None)
    # Of weights that sum to 1, dropped with probability 0.25, the sum has a deviation of at most 0.58.
    assert out[..., 0].std() > 0.1
    assert abs(out[..., 0].mean().item() - 1) < 4 * 0.58 / (600 * 2) ** 0.5
    torch.autograd.backward([out.sum()])
    assert ones.grad is not None
    assert ones.grad.std() > 0


def test_a_training_with_it_has_the_losses_of_padded_attention(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dropout(monkeypatch)
    attentions: tuple[Attention, Attention] = ("sdpa", "jagged")
    padded, jagged = (
        losses(
            make_job(padding="unpadded", attention=attention, engine="loop", train={"max_steps": 10}),
            monkeypatch,
        )
        for attention in attentions
    )
    assert len(jagged) == 10
    np.testing.assert_allclose(jagged, padded, rtol=0, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.parametrize("last_layer", ["all", "cls"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_cuda_it_is_proved_and_trains_with_dropout_where_its_kernel_drops_rightly(
    precision: str, last_layer: str, make_job: MakeJob
) -> None:
    job = make_job(
        padding="unpadded", attention="jagged", engine="loop", precision=precision, last_layer=last_layer
    )
    job = job.model_copy(update={"trial": job.trial.model_copy(update={"device": "cuda:0"})})
    proof = run_trial(job.model_copy(update={"purpose": "prove"}), quietly)
    assert verdict_of(proof) in ("exact", "within")
    try:
        status = run_trial(job, quietly).status
    except TrialStoppedError as error:
        status = error.status
    assert status == "completed" or (precision, status) == ("fp32", "unavailable")


def with_masks(*, shared: bool, backward: bool) -> Callable[..., torch.Tensor]:
    """Attention over jagged rows with a mask for all heads, or another one in the backward pass."""

    def attend(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        rows: tuple[Rows, Rows],
        dropout: float,
        scaling: float | None,
    ) -> torch.Tensor:
        results = []
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        for start, end in pairwise(rows[0].offsets.tolist()):
            q, k, v = (each[start:end].transpose(0, 1).float() for each in (query, key, value))
            weights = (q @ k.transpose(1, 2) * scaling).softmax(-1)
            masks = [torch.rand(1 if shared else 2, *weights.shape[1:]) > dropout for _ in range(2)]
            there, back = ((weights * mask / (1 - dropout)) @ v for mask in masks)
            results.append((back + (there - back).detach() if backward else there).transpose(0, 1))
        return torch.cat(results).to(query.dtype)

    return attend


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shared", "backward", "problem"),
    [
        (False, False, None),
        (True, False, "drops the same weights in every head or row"),
        (False, True, "drops other weights in the backward pass than in the forward pass"),
    ],
)
def test_defects_of_dropout_are_named(
    shared: bool, backward: bool, problem: str | None, dtype: torch.dtype
) -> None:
    assert (
        dropout_problem(with_masks(shared=shared, backward=backward), torch.device("cpu"), dtype) == problem
    )


def test_a_kernel_that_drops_wrongly_is_unavailable(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dropout_is_wrong(*_: object) -> str:
        return "drops nothing"

    monkeypatch.setattr(jagged, "dropout_problem", dropout_is_wrong)
    jagged._check_dropout.cache_clear()
    with pytest.raises(TrialStoppedError, match=r"float32 on cpu, torch .* drops nothing") as caught:
        run_trial(make_job(padding="unpadded", attention="jagged", engine="loop"), quietly)
    jagged._check_dropout.cache_clear()
    assert caught.value.status == "unavailable"
