"""The table of variants: for each value of an axis that changes the function of a model, the code behind it.

To add a value, write one file in this folder and one entry here. Defaults of `Trial` need none: they are the
plain model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from transformers import PreTrainedModel

from harness.model.axis import axes_of, value_of, word
from harness.model.trial import Trial
from harness.model.values import Attention
from harness.training.batching import padded_length, plan_epoch
from harness.training.checkpoints import load_model, model_columns
from harness.training.devices import autocast, use_products
from harness.training.engines.cuda_graphs import graph_passes
from harness.training.engines.known_engines import ENGINES
from harness.training.sampling import sampled_epoch
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants.adapters import add_adapter
from harness.training.variants.attention import use_attention_of
from harness.training.variants.compiling import compile_model
from harness.training.variants.jagged import jagged_attention
from harness.training.variants.last_layer import compute_first_rows
from harness.training.variants.unpadding import unpad

Prepare = Callable[[Trial, PreTrainedModel, Tokenized], None]


@dataclass(frozen=True, slots=True)
class Variant:
    """The code behind one value of an axis.

    Attributes:
        acts_in: The function that implements the value.
        prepare: Changes the loaded model in place, on its device, before training and evaluation; None for a
            value that takes effect elsewhere.
        loads_as: The attention to load the model with, where transformers does not know the value.
    """

    acts_in: Callable[..., Any]
    prepare: Prepare | None = None
    loads_as: Attention | None = None


def _only_backend(trial: Trial, model: PreTrainedModel, _tokens: Tokenized) -> None:
    if trial.attention_backend is not None:
        use_attention_of(trial, model)


def _named_attention(trial: Trial, model: PreTrainedModel, _tokens: Tokenized) -> None:
    use_attention_of(trial, model)


# Prepared in this order: unpadding replaces the attention interface that the others build on.
VARIANTS: Final[dict[str, Variant]] = {
    "padding=static": Variant(padded_length),
    "padding=bucketed": Variant(plan_epoch),
    "padding=group_by_length": Variant(sampled_epoch),
    "padding=batch_rebalance": Variant(sampled_epoch),
    "padding=unpadded": Variant(unpad, prepare=lambda trial, model, _: unpad(model, trial.attention)),
    "precision=tf32": Variant(use_products),
    "precision=bf16": Variant(autocast),
    "precision=fp16": Variant(autocast),
    **{
        f"engine={name}": Variant(engine.train, prepare=engine.prepare)
        for name, engine in ENGINES.items()
        if name != Trial.model_fields["engine"].default
    },
    "attention=eager": Variant(load_model),
    "attention=sdpa": Variant(load_model, prepare=_only_backend),
    "attention=jagged": Variant(jagged_attention, loads_as="auto"),
    **{
        f"attention={name}": Variant(use_attention_of, prepare=_named_attention, loads_as="auto")
        for name in ("flash_attention_2", "flash_attention_3", "flex_attention", "kernel")
    },
    "token_type_ids=drop": Variant(model_columns),
    "adapter=lora": Variant(add_adapter),
    "last_layer=cls": Variant(compute_first_rows, prepare=lambda _, model, __: compute_first_rows(model)),
    "cuda_graphs=true": Variant(graph_passes),
    # Last: what is compiled is the changed model.
    **{
        f"compile={mode}": Variant(compile_model, prepare=lambda trial, model, _: compile_model(trial, model))
        for mode in ("default", "reduce-overhead", "max-autotune-no-cudagraphs")
    },
}


def variants_of(trial: Trial) -> list[Variant]:
    """Return the variants of a trial, in the order of the table."""
    chosen = {f"{name}={word(value_of(trial, axis))}" for name, axis in axes_of(type(trial)).items()}
    return [variant for key, variant in VARIANTS.items() if key in chosen]
