"""The one table of metrics: name, unit, direction, what is measured, and which values are possible."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

Goal = Literal["max", "min", "none"]

# A score such as Matthews' coefficient may exceed its bound by the last digits.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number means: `unit` as written after it, `goal` the direction that is better.

    Values lie between `least` and `most`, both included; a rate (a unit per second) is above zero. `several`
    marks a metric with one value for each step or pass; every other one has a single value.
    """

    unit: str
    goal: Goal
    meaning: str
    least: float = 0.0
    most: float = math.inf
    several: bool = False

    def admits(self, value: float) -> bool:
        """Return whether the value is possible, up to rounding."""
        if self.unit.endswith("/s") and value <= 0:
            return False
        return self.least - _ROUNDING <= value <= self.most + _ROUNDING

    @property
    def range(self) -> str:
        """The possible values in words: `from 0 to 1`, `above 0`, `0 or more`."""
        if self.most < math.inf:
            return f"from {self.least:g} to {self.most:g}"
        return "above 0" if self.unit.endswith("/s") else f"{self.least:g} or more"


METRICS: Final[dict[str, Metric]] = {
    "eval_accuracy": Metric("ratio", "max", "share of evaluation examples classified right", most=1),
    "eval_f1": Metric("ratio", "max", "F1 of the positive class; macro average beyond two classes", most=1),
    "eval_mcc": Metric("ratio", "max", "Matthews correlation coefficient", least=-1, most=1),
    "eval_loss": Metric("nats", "min", "mean cross-entropy over the evaluation examples"),
    "train_loss": Metric("nats", "min", "mean training loss of the last epoch"),
    "train_samples_per_second": Metric(
        "samples/s", "max", "training examples over training time, after warm-up"
    ),
    "train_real_tokens_per_second": Metric(
        "tokens/s", "max", "sum of the attention mask over training time, after warm-up"
    ),
    "padding_efficiency": Metric("ratio", "max", "real tokens over computed tokens in training", most=1),
    "train_real_tokens": Metric("tokens", "none", "sum of the attention mask in training, after warm-up"),
    "train_computed_tokens": Metric(
        "tokens",
        "none",
        "tokens that the linear layers computed in training, padding included, after warm-up",
    ),
    "train_step_seconds": Metric(
        "s", "min", "every optimizer step after warm-up, data loading included", several=True
    ),
    "load_data_seconds": Metric("s", "min", "reading and checking the data set"),
    "tokenize_seconds": Metric(
        "s",
        "min",
        "tokenising, or mapping the cached arrays; each timed pass of a trial that only tokenises",
        several=True,
    ),
    "tokenize_examples_per_second": Metric(
        "samples/s", "max", "examples of both splits over each timed pass", several=True
    ),
    "tokenize_tokens_per_second": Metric(
        "tokens/s", "max", "real tokens of both splits over each timed pass", several=True
    ),
    "tokenize_memory_bytes": Metric(
        "B", "min", "most memory that tokenising adds, its processes together, shared pages counted once"
    ),
    "load_model_seconds": Metric("s", "min", "reading the checkpoint and placing it on the device"),
    "compile_seconds": Metric("s", "min", "compiling or capturing, where an engine does"),
    "train_seconds": Metric("s", "min", "all optimizer steps, evaluation left out"),
    "evaluate_seconds": Metric("s", "min", "all evaluations"),
    "write_seconds": Metric("s", "min", "gathering what the result holds"),
    "peak_memory_allocated_bytes": Metric("B", "min", "largest device memory in use by tensors"),
    "peak_memory_reserved_bytes": Metric("B", "min", "largest device memory held by the allocator"),
    "peak_memory_host_bytes": Metric("B", "min", "largest resident set of the trial's process"),
    "model_flops": Metric(
        "FLOP", "none", "analytic FLOPs of the real tokens, forward and backward, after warm-up"
    ),
    # A share of a peak may exceed 1: the peak was measured on a busy machine, or the clock was raised.
    "model_flops_utilization": Metric(
        "ratio", "max", "model_flops over training time over published_peak_flops_per_second"
    ),
    "published_peak_flops_per_second": Metric(
        "FLOP/s", "none", "dense peak at the precision in the data sheet of the device"
    ),
    "model_flops_per_second": Metric("FLOP/s", "max", "model_flops over training time"),
    "matmul_peak_share": Metric("ratio", "max", "model_flops_per_second over matmul_peak_flops_per_second"),
    "matmul_peak_flops_per_second": Metric(
        "FLOP/s", "none", "fastest matrix products here at the model's shapes, the batch and the precision"
    ),
    "square_matmul_peak_flops_per_second": Metric(
        "FLOP/s", "none", "fastest product of two large square matrices here, at the precision"
    ),
    "copy_peak_bytes_per_second": Metric(
        "B/s", "none", "fastest copy of the device's memory here, bytes read and written"
    ),
    "roofline_seconds": Metric("s", "none", "measuring these peaks, or reading those of an earlier trial"),
    "energy_joules": Metric("J", "min", "energy the device used while training, after warm-up"),
}
