"""What of a model is hooked, and whether it still computes what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn
from transformers import PreTrainedModel

from harness.model.job import TrialStoppedError

Refuse = Callable[[str], TrialStoppedError]
"""Makes the error with the reason why a model cannot be served."""

# Names under which transformers' encoders keep the stack of layers.
_ENCODERS: Final = ("encoder", "transformer")


def refusal(model: PreTrainedModel, what: str, hint: str) -> Refuse:
    """What refuses a model that cannot be served with `what`, for a reason that is still to be found."""

    def refuse(why: str) -> TrialStoppedError:
        return TrialStoppedError("failed", f"{what} cannot serve {model.config.model_type}: {why}", hint=hint)

    return refuse


def find_encoder(model: PreTrainedModel, refuse: Refuse) -> nn.Module:
    """The stack of layers of a model that uses transformers' attention interface."""
    base = model.base_model
    encoder = next(
        (found for name in _ENCODERS if isinstance(found := getattr(base, name, None), nn.Module)), None
    )
    if encoder is None:
        raise refuse(f"{type(base).__name__} has no {' or '.join(_ENCODERS)} to hook")
    if not getattr(model, "_supports_attention_backend", False):
        raise refuse(f"{type(model).__name__} does not use transformers' attention interface")
    return encoder


@contextmanager
def same_function(model: PreTrainedModel, refuse: Refuse) -> Iterator[None]:
    """Refuse the model if what happens inside changes its logits beyond rounding."""
    expected = _logits(model, refuse)
    yield
    difference = (_logits(model, refuse) - expected).abs().max().item()
    # Far above rounding in fp32, far below what attention across rows or a lost row would do.
    if not difference <= 1e-4 * expected.abs().max().item():
        raise refuse(f"its logits differ by {difference:.3g}")


@torch.no_grad()
def _logits(model: PreTrainedModel, refuse: Refuse) -> torch.Tensor:
    """Logits of two short rows of different length, dropout off; the model's mode is put back."""
    training = model.training
    model.train(mode=False)
    # An embedding of the rows in use knows no other ids.
    known = getattr(model.get_input_embeddings(), "used", torch.arange(model.config.vocab_size))
    ids = known.to(model.device)[torch.arange(2 * 6, device=model.device) % len(known)].view(2, 6)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2], device=model.device)
    try:
        logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
        raise refuse(str(error).splitlines()[0]) from error
    finally:
        model.train(training)
    return logits
