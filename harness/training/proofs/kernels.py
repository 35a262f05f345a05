"""Check which attention a model computes: kernels with the same results differ in speed alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from harness.model.proof import TrainingCheck
from harness.model.trial import Trial
from harness.training.checkpoints import LoadedModel
from harness.training.proofs.findings import none_of
from harness.training.proofs.reference_batches import inputs_of
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants.compiling import is_compiled

_FUSED: Final = functional.scaled_dot_product_attention
_PLAIN: Final = functional.softmax


class _Calls(TorchFunctionMode):
    """Counts the functions of torch that are called inside."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[Callable[..., Any]] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count the call, and make it."""
        self.counts[func] += 1
        return func(*args, **(kwargs or {}))


def check_kernels(
    loaded: LoadedModel, trial: Trial, tokens: Tokenized, device: torch.device
) -> Iterator[TrainingCheck]:
    """Count the calls of torch's attention, and of the softmax of the library's eager one, in a pass.

    The `loop` engine replaces `sdpa` on the CPU by its own function. Other attentions are tried by name.

    Args:
        loaded: a model as the engine trains it.
        trial: whose engine and attention are looked at.
        tokens: rows for the pass.
        device: of the model.
    """
    known = loaded.attention == "eager" or (loaded.attention == "sdpa" and trial.engine == "trainer")
    # Encoders that are eager alone can attend without a softmax (FNet), or in parts (Longformer).
    known = known and bool(loaded.model._supports_sdpa)  # noqa: SLF001 - transformers has no public one
    if not known or trial.attention_backend is not None or is_compiled(trial):
        return
    inputs = inputs_of(
        tokens.train, [0, 1], pad_token_id=tokens.pad_token_id, types="token_type_ids" in loaded.columns
    )
    model = loaded.model
    layers = model.config.num_hidden_layers
    with torch.no_grad(), _Calls() as calls:
        model(**{name: each.to(device) for name, each in inputs.items()})
    given = calls.counts[_FUSED], calls.counts[_PLAIN]
    due = (0, layers) if loaded.attention == "eager" else (layers, 0)
    yield none_of(
        "kernels",
        ()
        if given == due
        else [
            f"attention: {loaded.attention} calls torch's fused attention {given[0]} and softmax {given[1]} "
            f"times in {layers} layers"
        ],
        f"each of {layers} layers computes {loaded.attention} attention",
    )
