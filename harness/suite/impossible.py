"""Combinations of two axes that cannot be trained, refused with the exclude that leaves them out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import InvalidInputError
from harness.model.suite import Suite
from harness.model.trial import Padding


@dataclass(frozen=True, slots=True)
class Impossible:
    """Where `axis` has `value`, the axis `other` may not hold what `broken` is true of."""

    axis: str
    value: Hashable
    other: str
    broken: Callable[[Hashable], bool]
    why: str
    instead: str


def _is_not_cuda(device: Hashable) -> bool:
    return not str(device).startswith("cuda")


def _is_unpadded(padding: Hashable) -> bool:
    return isinstance(padding, Padding) and padding.strategy == "unpadded"


IMPOSSIBLE: Final = (
    Impossible("precision", "fp16", "device", _is_not_cuda, "fp16 needs CUDA", "Take bf16"),
    Impossible(
        "cuda_graphs", True, "device", _is_not_cuda, "CUDA graphs need CUDA", "Take cuda_graphs: false"
    ),
    Impossible(
        "cuda_graphs",
        True,
        "engine",
        lambda engine: engine != "loop",
        "the loop engine alone captures graphs",
        "Take engine: loop",
    ),
    Impossible(
        "cuda_graphs",
        True,
        "padding",
        _is_unpadded,
        "a graph needs batches of one shape, and these have another every time",
        "Take padding: bucketed or static",
    ),
    Impossible(
        "attention",
        "jagged",
        "padding",
        lambda padding: not _is_unpadded(padding),
        "jagged attention is for unpadded batches",
        "Take attention: auto",
    ),
)


def refuse_impossible(suite: Suite, conditions: Sequence[Mapping[str, Hashable]]) -> None:
    """Refuse the first rule of the table that a condition breaks.

    Args:
        suite: whose trials these are.
        conditions: a canonical value for every axis but those of `train`.

    Raises:
        InvalidInputError: with what to write instead, or the exclude to add.
    """
    for rule in IMPOSSIBLE:
        broken = dict.fromkeys(
            each[rule.other]
            for each in conditions
            if each[rule.axis] == rule.value and rule.broken(each[rule.other])
        )
        if broken:
            value, others = _written(rule.value), [_written(other) for other in broken]
            excludes = ", ".join(f"{{{rule.other}: {other}, {rule.axis}: {value}}}" for other in others)
            raise InvalidInputError(
                f"suite {suite.name}: {rule.axis} {value} with {rule.other} {', '.join(others)}: {rule.why}",
                hint=f"{rule.instead}, or exclude it: exclude: [{excludes}]",
            )


def _written(value: Hashable) -> str:
    """The value as a suite would hold it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Padding):
        given = value.model_dump(exclude_none=True)
        if len(given) > 1:
            return f"{{{', '.join(f'{key}: {each}' for key, each in given.items())}}}"
        return value.strategy
    # In flow style a colon within a word must be quoted.
    return f"'{value}'" if ":" in str(value) else str(value)
