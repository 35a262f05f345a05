"""Terms: on what terms reports are compared, and their limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.analysis.conditions import Family, check_allowed
from harness.analysis.naming import only_tokenise
from harness.analysis.scoring import SCORINGS
from harness.errors import InvalidInputError
from harness.metrics import METRICS
from harness.results.models import Report

DEFAULT_METRICS: Final = ("eval_accuracy", "eval_f1", "train_real_tokens_per_second")
TOKENIZING_METRICS: Final = ("tokenize_examples_per_second", "tokenize_memory_bytes")
_DEVICE_UNITS: Final = frozenset({"samples/s", "tokens/s", "s", "B", "J", "FLOP/s", "B/s"})
_OF_A_PEAK: Final = frozenset({"model_flops_utilization", "matmul_peak_share"})


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
    return "speed" if METRICS[metric].unit in _DEVICE_UNITS or metric in _OF_A_PEAK else "other"


def default_metrics(reports: Sequence[Report]) -> tuple[str, ...]:
    """What is compared where nobody says what: other metrics where every trial only tokenises."""
    trials = (result.trial for report in reports for result in report.results)
    return TOKENIZING_METRICS if only_tokenise(trials) else DEFAULT_METRICS


def checked_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics to compare, each once.

    Raises:
        InvalidInputError: A metric is unknown or has no direction, or there is none.
    """
    chosen = tuple(dict.fromkeys(metrics))
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
