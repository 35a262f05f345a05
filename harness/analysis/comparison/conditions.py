"""Conditions: what must match between two trials before their numbers may be compared, and the mismatches."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from harness.errors import InvalidInputError
from harness.model.environment import Cpu, Device, Environment
from harness.model.results import Report, TrialResult
from harness.words import did_you_mean, quoted

Affects = Literal["every metric", "quality", "speed"]

ALONE: Final = "one at a time"
# Their major versions determine the results and the speed of a model.
_LIBRARIES: Final = ("accelerate", "datasets", "evaluate", "tokenizers", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that must match; `read` returns it as text, equal for equal conditions.

    It may differ when variants are compared along one of the axes in `apart`. If `needed` is given, both
    sides must have that text.
    """

    meaning: str
    affects: Affects
    read: Callable[[TrialResult, Report], str]
    apart: frozenset[str] = frozenset()
    needed: str | None = None


def _data(result: TrialResult, _: Report) -> str:
    data = result.data
    return "unknown" if data is None else f"{data.name}, content {data.content_sha256[:12]}"


def _limit(result: TrialResult, _: Report) -> str:
    limit = result.trial.task.limit
    return "all rows" if limit is None else f"the first rows: {limit}"


def _stand_in(result: TrialResult, _: Report) -> str:
    checkpoint, data = result.checkpoint, result.data
    replaced = f"stand-in {checkpoint.name}" if checkpoint is not None and checkpoint.stand_in else ""
    synthetic = "synthetic data" if data is not None and data.synthetic else ""
    return ", ".join(filter(None, (replaced, synthetic))) or "the real ones"


def _metric_version(result: TrialResult, _: Report) -> str:
    return result.metric_version or "unknown"


def _examples(result: TrialResult, _: Report) -> str:
    if result.predictions is None:
        return "predictions not kept"
    ids, splits = result.predictions.example_ids, result.predictions.splits
    of_each = f" ({', '.join(f'{split} {examples}' for split, examples in splits.items())})" if splits else ""
    return f"{len(ids)} examples{of_each}, ids {_of_ids(ids)}"


@lru_cache(maxsize=32)
def _of_ids(ids: tuple[int, ...]) -> str:
    """Return the digest of example ids, which the trials of a report share."""
    return _digest(ids)


def _weights(result: TrialResult, _: Report) -> str:
    checkpoint = result.checkpoint
    return "unknown" if checkpoint is None else f"{checkpoint.name}, weights {checkpoint.weights_sha256[:12]}"


def _config(result: TrialResult, _: Report) -> str:
    checkpoint = result.checkpoint
    return _file("config.json", None if checkpoint is None else checkpoint.config_sha256)


def _tokenizer(result: TrialResult, _: Report) -> str:
    checkpoint = result.checkpoint
    return _file("tokenizer", None if checkpoint is None else checkpoint.tokenizer_sha256)


def _file(name: str, digest: str | None) -> str:
    # Reports from before the digest was recorded lack it: they match each other, but no report that has it.
    return "unknown" if digest is None else f"{name} {digest[:12]}"


def _truncation(result: TrialResult, _: Report) -> str:
    return "unknown" if result.data is None else f"{result.data.max_length} tokens"


def _columns(result: TrialResult, _: Report) -> str:
    return "unknown" if result.checkpoint is None else ", ".join(sorted(result.checkpoint.columns)) or "none"


def _labels(result: TrialResult, _: Report) -> str:
    data = result.data
    return "unknown" if data is None else ", ".join(f"{at} {name}" for at, name in enumerate(data.labels))


def _global_batch(result: TrialResult, _: Report) -> str:
    return f"{result.trial.global_batch_size} examples a step"


def _dtype(result: TrialResult, _: Report) -> str:
    return result.checkpoint.dtype if result.checkpoint is not None else "unknown"


def _majors(result: TrialResult, report: Report) -> str:
    packages = environment_of(result, report).packages
    found = {name: re.match(r"\d+", packages[name]) for name in _LIBRARIES if name in packages}
    return ", ".join(f"{name} {major[0]}" for name, major in found.items() if major) or "unknown"


def _torch(result: TrialResult, report: Report) -> str:
    # The part after the plus is the build, which belongs to the device.
    return environment_of(result, report).packages.get("torch", "unknown").partition("+")[0]


def _machine(result: TrialResult, report: Report) -> str:
    """Return the fingerprint without the version of torch: in words, then as a digest."""
    environment = environment_of(result, report)
    cpu, device = environment.cpu, environment.device
    parts = [cpu.model, f"{cpu.physical_cores} cores", f"{environment.threads} threads"]
    if device is not None and device.kind != "cpu":
        memory = [f"{device.memory_bytes / 2**30:.0f} GiB"] if device.memory_bytes else []
        driver = [f"driver {device.driver}"] if device.driver else []
        parts = [device.name, *memory, *driver, *parts]
    build = environment.packages.get("torch", "").partition("+")[2]
    return ", ".join([*parts, f"fingerprint {_fingerprint(cpu, device, build, environment.threads)}"])


@lru_cache(maxsize=32)
def _fingerprint(cpu: Cpu, device: Device | None, build: str, threads: int | None) -> str:
    """Return the digest of a machine, which the trials of a report share."""
    same = device and device.model_copy(update={"clock_mhz": None, "index": None})
    return _digest((cpu, same, build, threads))


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def _warm_up(result: TrialResult, report: Report) -> str:
    if result.apart is not None:
        return f"a window of {result.apart.steps} steps, apart from the training"
    return f"{report.suite.measure.warmup_steps} warm-up steps left out"


def _at_once(result: TrialResult, _: Report) -> str:
    return ALONE if result.concurrent == 1 else at_once(result.concurrent)


def at_once(concurrent: int) -> str:
    """Return the table text for trials that may have run concurrently."""
    return f"{concurrent} at once: times do not count"


# These may differ when checkpoints are compared.
_OF_A_CHECKPOINT: Final = frozenset({"checkpoint", "revision"})
CONDITIONS: Final[dict[str, Condition]] = {
    "data": Condition("the data set's content", "every metric", _data),
    "limit": Condition("the first rows of a split, or all", "every metric", _limit),
    "stand_in": Condition("real assets or stand-ins", "every metric", _stand_in),
    "libraries": Condition("the libraries' major versions", "every metric", _majors),
    "metric_version": Condition("how metrics are computed", "quality", _metric_version),
    "examples": Condition("the evaluation examples", "quality", _examples),
    "labels": Condition("the classes and their order", "quality", _labels),
    "weights": Condition("the checkpoint's weights", "quality", _weights, _OF_A_CHECKPOINT),
    "config": Condition("the checkpoint's config.json", "every metric", _config, _OF_A_CHECKPOINT),
    "tokenizer": Condition("the checkpoint's tokenizer", "every metric", _tokenizer, _OF_A_CHECKPOINT),
    "columns": Condition(
        "the inputs of the model", "every metric", _columns, _OF_A_CHECKPOINT | {"token_type_ids"}
    ),
    "truncation": Condition(
        "the truncation length",
        "every metric",
        _truncation,
        _OF_A_CHECKPOINT | {"task.max_length"},
    ),
    "global_batch": Condition(
        "the examples of an optimizer step, over all devices",
        "quality",
        _global_batch,
        frozenset({"train.per_device_train_batch_size", "train.gradient_accumulation_steps"}),
    ),
    "precision": Condition("the dtype of the weights", "every metric", _dtype, frozenset({"precision"})),
    "device": Condition("processor, device and threads", "speed", _machine),
    "torch": Condition("the version of torch", "speed", _torch),
    "at_once": Condition("trials at once on a device", "speed", _at_once, needed=ALONE),
    "warm_up": Condition("the steps that are not timed", "speed", _warm_up),
}
# Detected while scoring, not read from a trial.
STORED_VALUE: Final = "stored_value"


def environment_of(result: TrialResult, report: Report) -> Environment:
    """Return the environment of the trial, or of the run if the trial has none."""
    return result.environment or report.environment


def device_name(result: TrialResult) -> str:
    """Return the product name of the GPU or the processor; the name in the suite if unknown."""
    environment = result.environment
    if environment is None or environment.device is None:
        return result.trial.device
    return environment.cpu.model if environment.device.kind == "cpu" else environment.device.name


def check_allowed(names: Collection[str]) -> None:
    """Raise for names that are not mismatches.

    Raises:
        InvalidInputError: A name is unknown.
    """
    known = [*CONDITIONS, STORED_VALUE]
    for name in names:
        if name not in known:
            raise InvalidInputError(f"there is no mismatch {quoted(name)}{did_you_mean(name, known)}")


def mismatches(
    before: tuple[TrialResult, Report], after: tuple[TrialResult, Report], apart: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Return the mismatches of two trials by name, as both texts; `apart` are axes that may differ."""
    found = {}
    for name, condition in CONDITIONS.items():
        if condition.apart.isdisjoint(apart):
            texts = condition.read(*before), condition.read(*after)
            if texts[0] != texts[1] or condition.needed not in (None, texts[0]):
                found[name] = texts
    return found


def concerns(affects: Affects, *, on_machine: bool) -> bool:
    """Return whether a mismatch makes metrics incomparable; `on_machine`: they depend on the machine.

    `quality` covers every metric that does not depend on the machine.
    """
    return affects == "every metric" or (affects == "speed") == on_machine
