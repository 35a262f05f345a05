"""The axes of a matrix: what each may hold in YAML, and the one form that is compared and run."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, TypeAdapter

from harness.model.frozen import Frozen
from harness.model.trial import (
    Attention,
    Engine,
    LastLayer,
    Padding,
    PaddingStrategy,
    Precision,
    Tokenization,
    TokenizationMethod,
    Tokenizer,
    TokenTypeIds,
    Train,
    Trial,
)

CheckpointText = Annotated[str, Field(min_length=1, max_length=512)]
DeviceText = Annotated[
    str,
    Field(
        pattern=r"^(cpu|cuda(:[0-9]{1,3})?|mps|auto|all)$",
        description="cpu, cuda, cuda:1, mps, auto (the best one here) or all (one variant a device)",
    ),
]


class Checkpoint(Frozen):
    """A checkpoint by its name on the Hub, as a local folder, or as one of ours; `revision` is the Hub's."""

    name: CheckpointText
    revision: CheckpointText | None = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


def _length_is_for_static(padding: Padding) -> Padding:
    if padding.length is not None and padding.strategy != "static":
        raise ValueError(f"length belongs to static padding alone, not to {padding.strategy}")
    return padding


def _options_are_for_map(tokenization: Tokenization) -> Tokenization:
    if tokenization.num_proc is not None and tokenization.method == "whole":
        raise ValueError("num_proc belongs to map and map_batched, not to whole")
    if tokenization.batch_size is not None and tokenization.method != "map_batched":
        raise ValueError(f"batch_size belongs to map_batched alone, not to {tokenization.method}")
    return tokenization


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: its meaning, the type of a short value, and of a mapping where one may stand instead.

    `default` is the axis when the matrix leaves it out; None where it must be given or a trial has none.
    """

    meaning: str
    short: Any
    mapping: Any = None
    default: tuple[Any, ...] | None = None


AXES: Final[dict[str, Axis]] = {
    "checkpoint": Axis("a name on the Hub, a folder, or one of ours", CheckpointText, Checkpoint),
    "padding": Axis(
        "how the rows of a batch are brought to one length",
        PaddingStrategy,
        Annotated[Padding, AfterValidator(_length_is_for_static)],
        default=("dynamic",),
    ),
    "device": Axis(
        "what a trial computes on",
        DeviceText,
        default=("auto",),
    ),
    "seed": Axis(
        "of weights, order and dropout", Trial.model_fields["seed"].rebuild_annotation(), default=(0,)
    ),
    "precision": Axis("what the forward pass computes in", Precision, default=("fp32",)),
    "engine": Axis("which training loop runs", Engine, default=("trainer",)),
    "attention": Axis(
        "the implementation of attention: auto takes sdpa where the model supports it, else eager; jagged is "
        "for unpadded batches alone",
        Attention,
        default=("auto",),
    ),
    "token_type_ids": Axis(
        "auto gives a model those its signature takes, drop none", TokenTypeIds, default=("auto",)
    ),
    "last_layer": Axis(
        "the positions its last layer computes: all, or cls, the one a classifier reads",
        LastLayer,
        default=("all",),
    ),
    "cuda_graphs": Axis(
        "whether the loop engine captures its passes on CUDA and replays them", bool, default=(False,)
    ),
    "tokenization": Axis(
        "how the data set is tokenised, by trials that measure that and train nothing",
        TokenizationMethod,
        Annotated[Tokenization, AfterValidator(_options_are_for_map)],
    ),
    "tokenizer": Axis("the one in Rust (fast) or in Python (slow)", Tokenizer, default=("fast",)),
    **{
        f"train.{key}": Axis(f"{key} of transformers.TrainingArguments", field.rebuild_annotation())
        for key, field in Train.model_fields.items()
    },
}
REQUIRED: Final = ("checkpoint",)


@cache
def short_type(axis: str) -> TypeAdapter[Any]:
    """Validates a value that is written as one word or number."""
    return TypeAdapter(AXES[axis].short)


@cache
def mapping_type(axis: str) -> TypeAdapter[Any] | None:
    """Validates a value that is written as a mapping; None for an axis that knows none."""
    return None if AXES[axis].mapping is None else TypeAdapter(AXES[axis].mapping)


def canonical(axis: str, written: object) -> Hashable:
    """The one form of a written value: `static` and `{strategy: static}` are the same padding.

    Raises:
        pydantic.ValidationError: the value does not belong on this axis.
    """
    mapping = mapping_type(axis)
    if isinstance(written, dict) and mapping is not None:
        value = mapping.validate_python(written, strict=True)
    else:
        value = short_type(axis).validate_python(written, strict=True)
    match axis, value:
        case "checkpoint", str():
            value = Checkpoint(name=value)
        case "padding", str():
            value = Padding.model_validate({"strategy": value})
        case "tokenization", str():
            value = Tokenization.model_validate({"method": value})
        case "device", "cuda":
            value = "cuda:0"
    if not isinstance(value, Hashable):
        raise TypeError(f"a value of the axis {axis} cannot be compared: {value!r}")
    return value
