"""The proofs of one variant on the embedded assets, in this process, as `harness prove` makes them.

Some variants are trained instead: what shows with many rows alone, the checks of a run and of its report see.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from harness.analysis.checks.verification import contradictions
from harness.analysis.parity import function_of, judge, verdict_of
from harness.analysis.training_verdicts import failed_checks, training_of
from harness.model.arguments import SchedulerKwargs, Train
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.model.seeds import SeedRoles
from harness.model.suite import Measure
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.model.values import Adapter, Compile, Padding
from harness.running.preflight import RealAssets, prepare, this_machine
from harness.running.workers.rank_processes import run_together
from harness.training.run_trial import run_trial
from harness.training.variants import compiling
from tools.defects.catalogue import Variant
from tools.defects.data_sets import RUNS, Run, write_twin

# The defects are in the code around the compiler; Inductor would take minutes for each of them.
compiling.BACKEND = "eager"

_COMPILED: Final = {"compile": Compile(mode="default"), "padding": Padding(strategy="static")}
_LORA: Final = Adapter(kind="lora", r=4, alpha=16, dropout=0.1)
_REGRESSION: Final = Task(config="stsb", kind="regression")
# So large a rate that an adapter changes what is predicted.
_SHORT: Final[dict[str, Any]] = {"max_steps": 30, "learning_rate": 1e-3}
_FEW_STEPS: Final[dict[str, Any]] = {"max_steps": 8, "learning_rate": 1e-3}
_ROLES: Final = SeedRoles(init=0, order=1, dropout=2)

_PROOFS: Final = {"prove_training": "training", "prove": "function", "train": "run", "time": "run"}

AXES: Final[dict[Variant, dict[str, Any]]] = {
    "trainer": {"engine": "trainer"},
    "trainer workers": {"engine": "trainer", "train": {"dataloader_num_workers": 1}},
    "loop": {"engine": "loop"},
    "loop unpadded": {"engine": "loop", "padding": Padding(strategy="unpadded")},
    "loop bf16": {"engine": "loop", "precision": "bf16"},
    "trainer bf16": {"engine": "trainer", "precision": "bf16"},
    "loop bucketed": {"engine": "loop", "padding": Padding(strategy="bucketed")},
    "loop cls": {"engine": "loop", "last_layer": "cls"},
    "trainer compiled": {"engine": "trainer", **_COMPILED},
    "loop compiled": {"engine": "loop", **_COMPILED},
    "loop smoothing": {"engine": "loop", "train": {"label_smoothing_factor": 0.1}},
    "trainer smoothing": {"engine": "trainer", "train": {"label_smoothing_factor": 0.1}},
    "loop checkpointing": {"engine": "loop", "train": {"gradient_checkpointing": True}},
    "trainer checkpointing": {"engine": "trainer", "train": {"gradient_checkpointing": True}},
    "loop restarts": {
        "engine": "loop",
        "train": {
            "lr_scheduler_type": "cosine_with_restarts",
            "lr_scheduler_kwargs": SchedulerKwargs(num_cycles=2),
        },
    },
    "trainer sgd": {"engine": "trainer", "train": {"optim": "sgd"}},
    "trainer math": {"engine": "trainer", "attention": "sdpa", "attention_backend": "math"},
    "trainer grouped": {"engine": "trainer", "padding": Padding(strategy="group_by_length")},
    "trainer rebalanced": {"engine": "trainer", "padding": Padding(strategy="batch_rebalance")},
    "trainer adafactor": {"engine": "trainer", "train": {"optim": "adafactor"}},
    "loop lora": {"engine": "loop", "adapter": _LORA},
    "trainer lora": {"engine": "trainer", "adapter": _LORA},
    "loop roles": {"engine": "loop", "seed": _ROLES},
    "trainer roles": {"engine": "trainer", "seed": _ROLES},
    "loop 2 ranks": {"engine": "loop", "world_size": 2},
    "loop regression": {"engine": "loop", "task": _REGRESSION},
    "trainer regression": {"engine": "trainer", "task": _REGRESSION},
    "loop static": {"engine": "loop", "padding": Padding(strategy="static")},
    "loop eager": {"engine": "loop", "attention": "eager"},
    "trainer unpadded eager": {
        "engine": "trainer",
        "attention": "eager",
        "padding": Padding(strategy="unpadded"),
    },
    "loop unfused": {"engine": "loop", "train": {"optim": "adamw_torch"}},
    "loop window": {"engine": "loop", "train": {"num_train_epochs": 3}},
    "loop run": {"engine": "loop", "train": _SHORT},
    "loop bf16 run": {"engine": "loop", "precision": "bf16", "train": _SHORT},
    "loop lora run": {"engine": "loop", "adapter": _LORA, "train": _SHORT},
    "warmed run": {"engine": "loop", "train": _SHORT | {"warmup_steps": 9}},
    "decayed run": {"engine": "loop", "train": _SHORT | {"weight_decay": 0.01}},
}

TRAINED: Final[frozenset[Variant]] = frozenset(
    {"loop run", "loop bf16 run", "loop lora run", "loop window", "warmed run", "decayed run"}
)
"""Variants that are not proved, but trained on the embedded data, evaluated, saved and checked."""
TIMED: Final[frozenset[Variant]] = frozenset({"loop window"})
"""Those of them whose window alone is timed."""
_WARMUP_STEPS: Final = 5


def first_failure(variants: Sequence[Variant]) -> dict[str, Any]:
    """The first proof or training of these variants that fails, and what in it; empty where all pass."""
    for variant in variants:
        if variant in RUNS:
            if checks := _own_data_failures(RUNS[variant]):
                return {"variant": variant, "proof": "run", "checks": checks}
            continue
        trained = training_job(AXES[variant]) if variant in TRAINED else None
        if variant in TIMED and trained is not None:
            trained = trained.model_copy(update={"purpose": "time"})
        for job in jobs(AXES[variant]) if trained is None else (trained,):
            if checks := failures(job):
                return {"variant": variant, "proof": _PROOFS[job.purpose], "checks": checks}
    return {}


def _own_data_failures(runs: Sequence[Run]) -> list[str]:
    """The checks that the first failing one of these trainings does not pass; they share a cache."""
    with tempfile.TemporaryDirectory(prefix="harness-defects-data-") as name:
        for at, run in enumerate(runs):
            folder = Path(name) / str(at)
            folder.mkdir()
            task = run.write(folder).model_copy(update={"max_length": run.max_length})
            axes: dict[str, Any] = {"engine": "loop", "task": task, "train": _FEW_STEPS, **run.axes}
            if not run.lowers:
                axes["checkpoint"] = str(write_twin(Path(name) / "twin"))
            try:
                job = training_job(axes)
            except Exception as error:
                return [f"{type(error).__name__}: {str(error)[:80]}"]
            if checks := failures(job.model_copy(update={"cache_dir": name})):
                return checks
    return []


def jobs(axes: dict[str, Any], seed: int = 0) -> Iterator[Job]:
    """The proof of training and the proof of function of a trial with these axes, `train` its settings."""
    job = training_job(axes)
    trial = job.trial
    family = "distilbert" if "distilbert" in job.checkpoint.name else "bert"
    for purpose, proved in (("prove_training", training_of(trial, family)), ("prove", function_of(trial))):
        yield job.model_copy(
            update={
                "trial": proved if isinstance(trial.seed, SeedRoles) else _seeded(proved, seed),
                "purpose": purpose,
            }
        )


def training_job(axes: dict[str, Any]) -> Job:
    """The training itself of a trial with these axes, on the embedded data unless they name other."""
    torch.set_num_threads(1)
    fields: dict[str, Any] = {
        "checkpoint": "bert-base-uncased",
        "device": "cpu",
        "padding": Padding(strategy="dynamic"),
    }
    train = Train(**({"num_train_epochs": 1} | axes.get("train", {})))
    trial = Trial(**(fields | axes | {"train": train}))
    measure = Measure(threads=1, roofline=False, warmup_steps=_WARMUP_STEPS)
    # Nothing is embedded of a checkpoint that is a folder.
    assets = RealAssets("auto" if Path(trial.checkpoint).is_absolute() else "embedded")
    (job,) = prepare([trial], measure, assets, this_machine(), lambda _: None).jobs.values()
    cache = Path(tempfile.gettempdir()) / "harness-defects-cache"
    return job.model_copy(update={"cache_dir": str(cache)})


def _seeded(trial: Trial, seed: int) -> Trial:
    return trial.model_copy(update={"seed": seed})


def failures(job: Job) -> list[str]:
    """The checks that a proof, or a training, does not pass; an exception is one."""
    if job.purpose in ("train", "time"):
        return _trained(job)
    try:
        result = _run(job)
    except Exception as error:
        return [f"{type(error).__name__}: {str(error)[:80]}"]
    if result.training is not None:
        return [check.name for check in failed_checks(result)]
    return _parity_failures(result)


def _trained(job: Job) -> list[str]:
    """Train, evaluate and save, and verify the result as `harness check` does."""
    with tempfile.TemporaryDirectory(prefix="harness-defects-saved-") as folder:
        try:
            result = run_trial(
                job.model_copy(update={"save_to": str(Path(folder) / "model")}), lambda _progress: None
            )
        except Exception as error:
            return [f"{type(error).__name__}: {str(error)[:80]}"]
    return [str(each) for each in contradictions(result, _WARMUP_STEPS)]


def _run(job: Job) -> TrialResult:
    """Run a proof with all its ranks; this process ends where another rank fails."""
    if job.trial.world_size == 1:
        return run_trial(job, lambda _progress: None)
    return run_together(
        run_trial,
        job,
        lambda _progress: None,
        describe=lambda error: ("failed", str(error)),
        end=lambda _status, _reason: None,
    )


def _parity_failures(result: TrialResult) -> list[str]:
    if verdict_of(result) in ("exact", "within"):
        return []
    parity = result.parity
    if parity is not None and parity.fp32 is not None and judge(parity.fp32, "fp32") == "differs":
        return ["function in fp32"]
    return ["function"]
