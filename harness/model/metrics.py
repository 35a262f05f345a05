"""The table of metrics. Each metric is one row: its unit, direction, meaning, range, label and family."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Final, Literal

Goal = Literal["max", "min", "none"]
Family = Literal["quality", "training", "time", "memory", "machine"]
Work = Literal["training", "tokenizing"]

# A score such as Matthews' coefficient may exceed its bound by the last digits.
_ROUNDING: Final = 1e-9
LARGEST: Final = 1e100
"""The largest value of any metric: squares of single precision are below it, and charts have room."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table.

    Args:
        unit: written after a value: `s`, `B`, `tokens/s`; `ratio` for a number without a unit.
        goal: the direction that is better.
        meaning: the definition, for documentation.
        label: the name in tables, notes and messages.
        family: what the value depends on. `quality` is scored from predictions, `training` follows from the
            data and the recipe, `time` (seconds and rates of examples), `memory` and `machine` (FLOP rates,
            peaks, energy) also depend on the machine.
        shown: `percent` for a share of one whose differences are points; else the unit decides.
        headline: shown first, and compared where no metric is named, in trials that train or that tokenize.
        noted: a note below the report gives the reason where it could not be measured.
        least: the smallest possible value. A rate (a unit per second) is always above zero.
        most: the largest possible value.
        several: the metric has one value for each step or pass instead of a single one.
        later: a score that reports written before it was added lack.
        of: the kind of task that a score is of.
        correlates: a score without value for a constant output.
    """

    unit: str
    goal: Goal
    meaning: str
    label: str
    family: Family
    shown: Literal["unit", "percent"] = "unit"
    headline: Work | None = None
    noted: bool = False
    least: float = 0.0
    most: float = math.inf
    several: bool = False
    later: bool = False
    of: Literal["classification", "regression"] = "classification"
    correlates: bool = False

    @property
    def depends_on_machine(self) -> bool:
        """Whether another machine, or other load on it, changes the value."""
        return self.family in ("time", "memory", "machine")

    @property
    def bounded(self) -> bool:
        """Whether a best value exists, so that a margin can be a share of the range."""
        return self.most < math.inf

    def admits(self, value: float) -> bool:
        """Return whether the value is possible, up to rounding.

        >>> METRICS["eval_f1"].admits(0.9), METRICS["eval_f1"].admits(90.0)
        (True, False)
        """
        least, most = self.bounds
        return least <= value <= most

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest possible value, up to rounding."""
        least = math.ulp(0.0) if self.unit.endswith("/s") else self.least - _ROUNDING
        return least, min(self.most + _ROUNDING, LARGEST)

    @property
    def range(self) -> str:
        """The possible values in words: `from 0 to 1`, `above 0`, `0 or more`."""
        if self.bounded:
            return f"from {self.least:g} to {self.most:g}"
        return "above 0" if self.unit.endswith("/s") else f"{self.least:g} or more"


# The beginnings of rows: what the metrics of one kind have in common.
_score = partial(Metric, "ratio", family="quality")
_headline = partial(_score, "max", shown="percent", headline="training", most=1)
_correlation = partial(_score, "max", least=-1, most=1, of="regression", correlates=True)
_training = partial(Metric, family="training")
_seconds = partial(Metric, "s", "min", family="time")
_samples_rate = partial(Metric, "samples/s", "max", family="time")
_tokens_rate = partial(Metric, "tokens/s", "max", family="time")
_memory = partial(Metric, "B", "min", family="memory")
_machine = partial(Metric, family="machine")
_peak = partial(_machine, "FLOP/s", "none")

METRICS: Final[dict[str, Metric]] = {
    "eval_accuracy": _headline("share of evaluation examples classified right", "accuracy"),
    "eval_f1": _headline("F1 of the positive class; macro average beyond two classes", "F1"),
    "eval_mcc": _score("max", "Matthews correlation coefficient", "MCC", least=-1, most=1),
    "eval_loss": Metric(
        "nats", "min", "mean cross-entropy over the evaluation examples", "validation loss", family="quality"
    ),
    "eval_ece": _score(
        "min",
        "expected calibration error: mean gap between confidence and accuracy over 15 bins of equal width",
        "ECE",
        most=1,
        later=True,
    ),
    "eval_brier": _score(
        "min",
        "Brier score: half the squared distance between probabilities and the true class",
        "Brier score",
        most=1,
        later=True,
    ),
    "eval_pearson": _correlation("Pearson correlation of outputs and targets, for regression", "Pearson"),
    "eval_spearman": _correlation(
        "Spearman rank correlation of outputs and targets, equal values at their mean rank, for regression",
        "Spearman",
    ),
    "eval_mse": _score(
        "min", "mean squared error over the evaluation examples, for regression", "MSE", of="regression"
    ),
    "train_loss": _training(
        "nats",
        "min",
        "mean training loss of the last epoch; of a regression the mean squared error",
        "training loss",
    ),
    "train_step_loss": _training(
        "nats",
        "none",
        "training loss of each step; above 2,000 steps, of each few consecutive ones",
        "training loss by step",
        several=True,
    ),
    "train_samples_per_second": _samples_rate(
        "training examples over training time, after warm-up", "samples/s"
    ),
    "train_real_tokens_per_second": _tokens_rate(
        "sum of the attention mask over training time, after warm-up",
        "real tokens/s",
        headline="training",
        noted=True,
    ),
    "train_real_tokens_per_second_per_device": _tokens_rate(
        "train_real_tokens_per_second over world_size, for trials on several devices",
        "real tokens/s a device",
    ),
    "padding_efficiency": _training(
        "ratio",
        "max",
        "real tokens over computed tokens in training",
        "padding efficiency",
        shown="percent",
        most=1,
    ),
    "train_real_tokens": _training(
        "tokens", "none", "sum of the attention mask in training, after warm-up", "real tokens"
    ),
    "train_computed_tokens": _training(
        "tokens",
        "none",
        "tokens that the linear layers computed in training, padding included, after warm-up",
        "computed tokens",
    ),
    "train_step_seconds": _seconds(
        "every optimizer step after warm-up, data loading included", "step time", several=True
    ),
    "trainable_parameters": _training(
        "parameters",
        "none",
        "parameters that train: all, or those of an adapter and of the classification head",
        "trainable parameters",
    ),
    "total_parameters": _training(
        "parameters", "none", "parameters of the model, with those of an adapter", "parameters"
    ),
    "load_data_seconds": _seconds("reading and checking the data set", "load data time"),
    "tokenize_seconds": _seconds(
        "tokenizing, or mapping the cached arrays; each timed pass of a trial that only tokenizes",
        "tokenize time",
        several=True,
    ),
    "tokenize_examples_per_second": _samples_rate(
        "examples of both splits over each timed pass", "examples/s", headline="tokenizing", several=True
    ),
    "tokenize_tokens_per_second": _tokens_rate(
        "real tokens of both splits over each timed pass", "real tokens/s", several=True
    ),
    "tokenize_memory_bytes": _memory(
        "peak memory that tokenizing adds, all its processes, shared pages counted once",
        "added memory",
        headline="tokenizing",
        noted=True,
    ),
    "load_model_seconds": _seconds("reading the checkpoint and placing it on the device", "load model time"),
    "compile_seconds": _seconds(
        "compilation, also during timed steps and evaluation, or CUDA-graph capture", "compile time"
    ),
    "compiled_shapes": _training(
        "graphs",
        "none",
        "graphs that torch.compile compiled for training, one for each batch shape or range of shapes it met",
        "compiled shapes",
    ),
    "recompiles": _training(
        "graphs",
        "min",
        "graphs among these that were compiled during timed steps, warm-up steps included",
        "recompiles",
    ),
    "graph_breaks": _training(
        "breaks", "min", "places where torch.compile left a part of the model to eager torch", "graph breaks"
    ),
    "train_seconds": _seconds("all optimizer steps, evaluation left out", "train time"),
    "evaluate_seconds": _seconds("all evaluations", "evaluate time"),
    "write_seconds": _seconds("collecting the result", "write time"),
    "peak_memory_allocated_bytes": _memory("largest device memory in use by tensors", "device memory"),
    "peak_memory_reserved_bytes": _memory(
        "largest device memory reserved by the allocator", "reserved device memory"
    ),
    "peak_memory_host_bytes": _memory(
        "largest resident set of the trial's process; of several ranks the sum, shared pages in each",
        "host memory",
    ),
    "model_flops": _training(
        "FLOP",
        "none",
        "analytic FLOPs of the real tokens, forward and backward, after warm-up",
        "model FLOPs",
    ),
    # A share of a peak may exceed 1: the peak was measured on a busy machine, or the clock was raised.
    "model_flops_utilization": _machine(
        "ratio",
        "max",
        "model_flops over training time over published_peak_flops_per_second",
        "MFU",
        shown="percent",
        noted=True,
    ),
    "published_peak_flops_per_second": _peak(
        "dense peak at the precision in the data sheet of the device", "published peak FLOP/s"
    ),
    "model_flops_per_second": _machine("FLOP/s", "max", "model_flops over training time", "model FLOP/s"),
    "matmul_peak_share": _machine(
        "ratio",
        "max",
        "model_flops_per_second over matmul_peak_flops_per_second",
        "share of matmul peak",
        shown="percent",
    ),
    "matmul_peak_flops_per_second": _peak(
        "fastest matrix products here at the model's shapes, the batch and the precision",
        "matmul peak FLOP/s",
    ),
    "square_matmul_peak_flops_per_second": _peak(
        "fastest product of two large square matrices here, at the precision", "square matmul peak FLOP/s"
    ),
    "copy_peak_bytes_per_second": _machine(
        "B/s", "none", "fastest copy of the device's memory here, bytes read and written", "copy peak B/s"
    ),
    "roofline_seconds": _machine(
        "s", "none", "measuring these peaks, or reading those of an earlier trial", "roofline time"
    ),
    "energy_joules": _machine(
        "J", "min", "energy the device used while training, after warm-up", "energy", noted=True
    ),
}


OWN: Final = "own."
"""Begins the name of a user's metric in gates and comparisons, before its label."""
# Its direction is that of the suite, or of the stored scores.
_OWN_METRIC: Final = Metric(
    "score", "none", "a metric from a file of the user", label="", family="quality", least=-math.inf
)


_SCORE_OF_SPLIT: Final = re.compile(r"eval_(?P<split>.+)_(?P<score>[a-z0-9]+)")


def is_own(name: str) -> bool:
    """Return whether this names a user's metric."""
    return name.startswith(OWN) and name != OWN


def is_metric(name: str) -> bool:
    """Return whether this names a metric of the table, one of a further split, or a user's metric."""
    return score_and_split(name)[0] in METRICS or is_own(name)


@lru_cache(maxsize=4_096)
def metric_named(name: str) -> Metric:
    """Return the row of a metric; for a user's metric, such as `own.errors`, one without goal and range.

    >>> metric_named("own.errors").label, metric_named("eval_validation_mismatched_f1").label
    ('errors', 'F1 (validation_mismatched)')
    """
    if name.startswith(OWN):
        return replace(_OWN_METRIC, label=name.removeprefix(OWN))
    score, split = score_and_split(name)
    row = METRICS[score]
    if split is None:
        return row
    return replace(row, label=f"{row.label} ({split})", meaning=f"{row.meaning}, on the split {split}")


def on_split(score: str, split: str) -> str:
    """Return the name of a score on a further evaluation split, as `Trainer` names several data sets.

    >>> on_split("eval_accuracy", "validation_mismatched")
    'eval_validation_mismatched_accuracy'
    """
    return f"eval_{split}_{score.removeprefix('eval_')}"


@lru_cache(maxsize=4_096)
def score_and_split(name: str) -> tuple[str, str | None]:
    """Return the row of the table that a name refers to, and the further split that it is a score of.

    >>> score_and_split("eval_validation_mismatched_accuracy"), score_and_split("eval_f1")
    (('eval_accuracy', 'validation_mismatched'), ('eval_f1', None))
    """
    if name in METRICS or (found := _SCORE_OF_SPLIT.fullmatch(name)) is None:
        return name, None
    score = f"eval_{found['score']}"
    return (score, found["split"]) if score in METRICS else (name, None)


def metrics_of(family: Family) -> tuple[str, ...]:
    """Return the names of a family's metrics, in the order of the table.

    >>> metrics_of("quality")[:3]
    ('eval_accuracy', 'eval_f1', 'eval_mcc')
    """
    return tuple(name for name, metric in METRICS.items() if metric.family == family)


def headlines(work: Work) -> tuple[str, ...]:
    """Return the metrics shown first and compared by default where trials train, or only tokenize.

    >>> headlines("training")
    ('eval_accuracy', 'eval_f1', 'train_real_tokens_per_second')
    """
    return tuple(name for name, metric in METRICS.items() if metric.headline == work)
