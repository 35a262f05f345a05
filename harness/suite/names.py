"""The keys a suite may hold, and what people who come from elsewhere call them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from harness.model.metrics import METRICS
from harness.model.suite import Measure, Suite
from harness.model.trial import Task, Train
from harness.suite.axes import AXES
from harness.words import nearest

_ELSEWHERE: Final[dict[str, tuple[str, ...]]] = {
    "num_train_epochs": ("epoch", "epochs", "num_epochs", "n_epochs"),
    "learning_rate": ("lr", "learn_rate"),
    "per_device_train_batch_size": (
        "batch",
        "batch_size",
        "bs",
        "train_batch_size",
        "per_gpu_train_batch_size",
    ),
    "per_device_eval_batch_size": ("eval_batch_size", "per_gpu_eval_batch_size"),
    "gradient_accumulation_steps": ("grad_accum", "accumulation_steps", "gradient_accumulation"),
    "max_grad_norm": ("clip", "grad_clip", "gradient_clipping", "max_norm"),
    "lr_scheduler_type": ("scheduler", "lr_scheduler", "schedule"),
    "optim": ("optimizer", "optimiser"),
    "weight_decay": ("wd", "decay"),
    "warmup_steps": ("warmup", "warm_up", "warmup_ratio"),
    "max_steps": ("steps", "num_train_steps", "total_steps"),
    "checkpoint": ("model", "models", "model_name", "model_name_or_path", "checkpoints"),
    "padding": ("collator", "padding_strategy", "paddings", "strategy"),
    "device": ("gpu", "accelerator", "devices"),
    "seed": ("seeds", "random_seed"),
    "tokenization": ("tokenisation", "tokenize", "tokenizing"),
    "precision": ("dtype", "torch_dtype", "fp16", "bf16", "amp", "mixed_precision"),
    "attention": ("attn", "attn_implementation"),
    "last_layer": ("cls_only", "pooled_only"),
    "cuda_graphs": ("cudagraphs", "graphs", "use_cuda_graphs"),
    "dataset": ("dataset_name", "path"),
    "config": ("dataset_config", "dataset_config_name", "subset"),
    "max_length": ("max_len", "max_seq_len", "max_seq_length", "truncation_length"),
    "task": ("data", "dataset", "tasks"),
    "matrix": ("axes", "grid", "parameters", "params", "search_space", "sweep"),
    "train": ("hyperparameters", "trainer", "training", "training_args", "training_arguments"),
    "measure": ("measurement", "timing"),
    "gates": ("checks", "thresholds", "rules"),
    "trial_timeout_seconds": ("timeout", "trial_timeout"),
}


@cache
def known_paths() -> tuple[str, ...]:
    """Every path that an override may name, `train.learning_rate` for instance."""
    sections: dict[str, Iterable[str]] = {
        "task": Task.model_fields,
        "train": Train.model_fields,
        "measure": Measure.model_fields,
        "matrix": AXES,
        "reference": METRICS,
    }
    inside = (f"{section}.{key}" for section, keys in sections.items() for key in keys)
    return (*Suite.model_fields, *inside)


def suggestion(key: str, here: Sequence[str]) -> str:
    """` (did you mean X?)` for a key that is none of those known here, or the list of them."""
    elsewhere = (path for path in known_paths() if _means(key, path.partition(".")[2]))
    found = _same(key, here) or nearest(key, here) or next(elsewhere, None)
    if found is not None:
        return f" (did you mean {found}?)"
    return f" (one of: {', '.join(here)})" if here else ""


def nearest_path(path: str) -> str:
    """` (did you mean X?)` for the path of an override, or the list of what there is at that place."""
    section, _, leaf = path.partition(".")
    inside = [known.partition(".")[2] for known in known_paths() if known.startswith(f"{section}.")]
    if inside and leaf:
        near = _same(leaf, inside) or nearest(leaf, inside)
        found = f"{section}.{near}" if near else None
        known: Sequence[str] = [f"{section}.{key}" for key in inside]
    else:
        leaves = {known.rpartition(".")[2]: known for known in reversed(known_paths())}
        found = (
            _same(path, known_paths())
            or nearest(path, known_paths())
            or _same(leaf, known_paths())
            or leaves.get(nearest(leaf or path, list(leaves)) or "")
        )
        known = [*Suite.model_fields, "or a path below"]
    return f" (did you mean {found}?)" if found else f" (one of: {', '.join(known)})"


def _same(key: str, names: Sequence[str]) -> str | None:
    """The name that says the same as the key, or whose last part does."""
    found = [name for name in names if _means(key, name)]
    return found[0] if found else next((name for name in names if _means(key, name.rpartition(".")[2])), None)


def _means(key: str, name: str) -> bool:
    folded = key.casefold().replace("-", "_")
    return bool(name) and (folded == name or folded in _ELSEWHERE.get(name, ()))
