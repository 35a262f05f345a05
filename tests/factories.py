"""Models with sensible contents for tests: the same arguments give the same values, down to the logits."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from harness.model.arrays import Logits
from harness.model.assets import Checkpoint, Data
from harness.model.calibration import Noise
from harness.model.environment import Cpu, Device, Environment
from harness.model.measurements import Measurement, measured, unmeasured
from harness.model.observations import Probe, ProbeReading
from harness.model.quality import Epoch, Predictions
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed, number_of
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.model.values import Padding, PaddingStrategy

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def make_trial(padding: PaddingStrategy | Padding = "dynamic", seed: Seed = 0, **changes: Any) -> Trial:
    """A trial of tiny-uncased on the CPU."""
    padding = padding if isinstance(padding, Padding) else Padding(strategy=padding)
    fields: dict[str, Any] = {"checkpoint": "tiny-uncased", "device": "cpu"}
    return Trial(**(fields | changes), padding=padding, seed=seed)


def make_suite(**changes: Any) -> Suite:
    """A suite of four paddings and three seeds."""
    fields: dict[str, Any] = {
        "name": "padding",
        "matrix": {
            "checkpoint": ("tiny-uncased",),
            "padding": ("static", "dynamic", "bucketed", "unpadded"),
            "device": ("cpu",),
            "seed": (0, 1, 2),
        },
    }
    return Suite(**(fields | changes))


def make_environment(**changes: Any) -> Environment:
    """A machine with two cores and no GPU."""
    fields: dict[str, Any] = {
        "python": "3.11.7",
        "system": "Linux 6.1",
        "packages": {"harness": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0"},
        "variables": {"OMP_NUM_THREADS": "2"},
        "cpu": Cpu(
            model="Test CPU", architecture="x86_64", physical_cores=2, logical_cores=2, flags=("avx2",)
        ),
        "memory_bytes": 16_000_000_000,
    }
    return Environment(**(fields | changes))


def make_predictions(seed: int = 0, examples: int = 40, accuracy: float = 0.85) -> Predictions:
    """Logits of two classes, two thirds of the labels positive, about `accuracy` of the rows right."""
    draw = random.Random(f"{seed} {examples} {accuracy}")
    labels = tuple(int(index % 3 != 0) for index in range(examples))
    right = [draw.random() < accuracy for _ in labels]
    margins = [round(draw.uniform(0.1, 3.0), 4) for _ in labels]
    signed = [
        margin if (label == 1) == correct else -margin
        for label, correct, margin in zip(labels, right, margins, strict=True)
    ]
    return Predictions(
        example_ids=tuple(range(examples)),
        labels=labels,
        logits=Logits([(-margin / 2, margin / 2) for margin in signed]),
    )


def make_single_class(examples: int = 40) -> Predictions:
    """Predictions of class 1 alone."""
    found = make_predictions(examples=examples)
    return found.model_copy(update={"logits": ((-0.5, 0.5),) * examples})


def make_measurements(
    predictions: Predictions,
    *,
    samples_per_second: float = 25.0,
    steps: int = 14,
    seed: int = 0,
    padding_efficiency: float = 0.74,
) -> tuple[Measurement, ...]:
    """Quality computed from the predictions, speed around `samples_per_second` at batch 8.

    14 steps of 8 are those of 3 epochs over `make_data`'s 64 examples after 10 steps of warm-up.
    """
    draw = random.Random(f"steps {seed} {samples_per_second}")
    step_seconds = tuple(8 / samples_per_second * draw.uniform(0.95, 1.05) for _ in range(steps))
    rate = 8 * steps / sum(step_seconds)
    return (
        *(measured(metric, value) for metric, value in _scores(predictions).items()),
        measured("train_loss", 0.5),
        measured("train_samples_per_second", rate),
        measured("train_real_tokens_per_second", rate * 53.0),
        measured("padding_efficiency", padding_efficiency),
        measured("train_step_seconds", *step_seconds),
        measured("train_seconds", sum(step_seconds)),
        measured("evaluate_seconds", 1.5),
        measured("peak_memory_host_bytes", 512_000_000.0),
        unmeasured("peak_memory_allocated_bytes", "the cpu has no allocator of its own"),
        unmeasured("model_flops_utilization", "no peak is known for Test CPU"),
    )


def _scores(predictions: Predictions) -> dict[str, float]:
    guesses = [int(row[1] > row[0]) for row in predictions.logits]
    pairs = list(zip(guesses, predictions.labels, strict=True))
    tp, tn = pairs.count((1, 1)), pairs.count((0, 0))
    fp, fn = pairs.count((1, 0)), pairs.count((0, 1))
    spread = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    losses = [
        math.log(sum(math.exp(logit - max(row)) for logit in row)) + max(row) - row[int(label)]
        for row, label in zip(predictions.logits, predictions.labels, strict=True)
    ]
    return {
        "eval_accuracy": (tp + tn) / len(pairs),
        "eval_f1": 2 * tp / (2 * tp + fp + fn) if tp else 0.0,
        "eval_mcc": (tp * tn - fp * fn) / spread if spread else 0.0,
        "eval_loss": sum(losses) / len(losses),
        **_calibration(predictions),
    }


def _calibration(predictions: Predictions) -> dict[str, float]:
    confidences, gaps, squares = [], [0.0] * 15, []
    for row, label in zip(predictions.logits, predictions.labels, strict=True):
        positive = (1 + math.tanh((row[1] - row[0]) / 2)) / 2
        confidences.append(max(positive, 1 - positive))
        gaps[math.ceil(15 * confidences[-1]) - 1] += confidences[-1] - ((positive > 0.5) == (label == 1))
        squares.append((positive - label) ** 2)
    count = len(squares)
    return {"eval_ece": sum(map(abs, gaps)) / count, "eval_brier": sum(squares) / count}


def make_probe(
    before: float = 1.0, after: float = 1.0, *, copy: float | None = None, load: float | None = 0.1
) -> Probe:
    """A probe whose readings are these multiples of 100 GFLOP/s and, of the copy unless given, of 10 GB/s."""

    def reading(factor: float) -> ProbeReading:
        return ProbeReading(
            matmul_flops_per_second=factor * 1e11,
            copy_bytes_per_second=(factor if copy is None else copy) * 1e10,
            load_average=load,
        )

    return Probe(work="fp32 product, copy", before=reading(before), after=reading(after))


def make_noise(*states: Sequence[float]) -> Noise:
    """A calibration of the machine of `make_result`, by the samples per second of the runs of each state."""
    # Not at the top: every worker of a fake run imports this file, and scipy would be half of its start.
    from harness.analysis.over_time.noise import accumulated, noise_of  # noqa: PLC0415

    noise = None
    for place, speeds in enumerate(states):
        created = STARTED + timedelta(hours=place)
        runs = [
            make_report([make_result(samples_per_second=speed)], run=f"state-{place}", created=created)
            for speed in speeds
        ]
        noise = accumulated(noise, noise_of(runs))
    assert noise is not None
    return noise


def make_checkpoint(**changes: Any) -> Checkpoint:
    """An embedded tiny BERT that was asked for by its own name."""
    fields: dict[str, Any] = {
        "requested": "tiny-uncased",
        "name": "tiny-uncased",
        "source": "embedded",
        "revision": None,
        "stand_in": False,
        "weights_sha256": "ab" * 32,
        "attention": "sdpa",
        "model_type": "bert",
        "parameters": 123_456,
        "dtype": "float32",
        "columns": ("input_ids", "token_type_ids", "attention_mask"),
        "newly_initialized": ("classifier.weight", "classifier.bias"),
        "unused": (),
    }
    return Checkpoint(**(fields | changes))


def make_data(**changes: Any) -> Data:
    """64 training pairs as long as MRPC's; classes in evaluation as `make_predictions` has them."""
    examples = changes.get("eval_examples", 40)
    positive = sum(index % 3 != 0 for index in range(examples))
    fields: dict[str, Any] = {
        "requested": "glue/mrpc",
        "name": "glue/mrpc",
        "source": "folder",
        "revision": None,
        "synthetic": False,
        "content_sha256": "cd" * 32,
        "labels": ("not_equivalent", "equivalent"),
        "train_examples": 64,
        "eval_examples": 40,
        "eval_majority_share": max(positive, examples - positive) / examples,
        "max_length": 512,
        "longest": 103,
        "mean_length": 53.24,
        "truncated": 0,
    }
    return Data(**(fields | changes))


# Of rows of 53 tokens, the longest of 103.
EFFICIENCY: Final[dict[PaddingStrategy, float]] = {
    "static": 53 / 103,
    "dynamic": 0.74,
    "bucketed": 0.98,
    "unpadded": 1.0,
}


def make_result(
    trial: Trial | None = None,
    *,
    accuracy: float = 0.85,
    examples: int = 40,
    samples_per_second: float = 25.0,
    **changes: Any,
) -> TrialResult:
    """A completed result, its scores those of its predictions; with another `status`, a reason alone."""
    trial = make_trial() if trial is None else trial
    ended: dict[str, Any] = {"trial": trial, "started": STARTED, "duration_s": 12.5}
    if changes.get("status", "completed") != "completed":
        ended |= {"phase": "train", "reason": f"the trial was {changes['status']}", "log_tail": "last line\n"}
        return TrialResult(**(ended | changes))
    predictions = make_predictions(number_of(trial.seed, "order"), examples, accuracy)
    if changes.get("degenerate"):
        predictions = make_single_class(examples)
    predictions = changes.get("predictions") or predictions
    counts = Counter(predictions.labels)
    ended |= {
        "status": "completed",
        "phase": "write",
        "epochs": (
            Epoch(
                epoch=1,
                train_loss=0.5,
                scores=_scores(predictions),
            ),
        ),
        "measurements": make_measurements(
            predictions,
            samples_per_second=samples_per_second,
            seed=number_of(trial.seed, "order"),
            padding_efficiency=EFFICIENCY.get(trial.padding.strategy, 0.9),
        ),
        "metric_version": "glue/mrpc 1",
        "predictions": predictions,
        "checkpoint": make_checkpoint(requested=trial.checkpoint, name=trial.checkpoint),
        "data": make_data(
            eval_examples=counts.total(), eval_majority_share=max(counts.values()) / counts.total()
        ),
        "environment": make_environment(
            device=Device(kind="cpu", name="Test CPU"), threads=2, load_average=0.1
        ),
    }
    phases = (
        one
        for one in (ended | changes)["measurements"]
        if one.metric in ("train_seconds", "evaluate_seconds")
    )
    ended["duration_s"] = max(12.5, 1 + sum(value for one in phases for value in one.values))
    return TrialResult(**(ended | changes))


def make_report(results: Sequence[TrialResult] | None = None, **changes: Any) -> Report:
    """A report of these results, or of three seeds of two paddings."""
    if results is None:
        results = [make_result(make_trial(name, seed)) for seed in range(3) for name in ("static", "dynamic")]
    fields: dict[str, Any] = {
        "harness_version": "0.1.0",
        "run": "20260102T030405Z-abcdef",
        "created": STARTED,
        "suite": make_suite(),
        "environment": make_environment(),
    }
    return Report(**(fields | changes), results=tuple(results))
