"""Terms: on what terms reports are compared, and their limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.analysis.conditions import Family, check_allowed
from harness.analysis.scoring import SCORINGS
from harness.errors import InvalidInputError
from harness.metrics import METRICS

DEFAULT_METRICS: Final = ("eval_accuracy", "eval_f1", "train_real_tokens_per_second")
_DEVICE_UNITS: Final = frozenset({"samples/s", "tokens/s", "s", "B", "J"})


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms everything in a table is compared; as in `compare`.

    `apart` are axes that differ by intent; `interleaved` says that both sides ran in turn in one run.
    """

    metrics: tuple[str, ...]
    margin: float
    allowed: frozenset[str] = frozenset()
    noise: Mapping[str, float] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()
    interleaved: bool = False


def family(metric: str) -> Family:
    """`quality` is scored from predictions, `speed` depends on the device, `other` on neither."""
    if metric in SCORINGS:
        return "quality"
    return "speed" if METRICS[metric].unit in _DEVICE_UNITS or "utilization" in metric else "other"


def checked_metrics(metrics: Sequence[str] | None) -> tuple[str, ...]:
    """The metrics to compare, each once; those of `DEFAULT_METRICS` for None.

    Raises:
        InvalidInputError: A metric is unknown or has no direction, or there is none.
    """
    chosen = tuple(dict.fromkeys(DEFAULT_METRICS if metrics is None else metrics))
    for metric in chosen:
        if metric not in METRICS:
            raise InvalidInputError(
                f"there is no metric {metric!r}", hint=f"The metrics are: {', '.join(METRICS)}."
            )
        if METRICS[metric].goal == "none":
            raise InvalidInputError(
                f"{metric} has no better direction, so there is no verdict on it", hint="Choose another one."
            )
    if not chosen:
        raise InvalidInputError("no metric to compare", hint=f"The metrics are: {', '.join(METRICS)}.")
    return chosen


def check_terms(margin: float, allowed: Sequence[str], noise: Mapping[str, float]) -> None:
    """Refuse what is out of range or unknown.

    Raises:
        InvalidInputError: As it says.
    """
    check_allowed(allowed)
    if not 0 < margin <= 1:
        raise InvalidInputError(
            f"the margin {margin:g} is not in (0, 1]", hint="It is a share of one: 0.02 is two points."
        )
    for metric, band in noise.items():
        if metric not in METRICS or not 0 <= band < math.inf:
            raise InvalidInputError(
                f"the noise band {band:g} of {metric} is no number from 0 up, or that is no metric",
                hint="Measure it again: `harness calibrate SUITE`.",
            )
