"""Naming variants: a label says only what differs between the variants that stand beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from harness.trial import Trial

# What these axes hold explains itself; every other value is written as `name=value`.
_BARE: Final = frozenset(
    {"checkpoint", "padding", "device", "precision", "engine", "attention", "tokenization", "tokenizer"}
)


def axes(trial: Trial) -> dict[str, str]:
    """Everything that makes a variant, by the names of a suite's matrix, as text and in reading order."""
    return {
        "checkpoint": trial.checkpoint,
        "revision": trial.revision or "default",
        "task": trial.task.name,
        **{
            f"task.{name}": str(value)
            for name, value in trial.task
            if name not in {"dataset", "config", "data_dir"}
        },
        "padding": str(trial.padding),
        "device": trial.device,
        "precision": trial.precision,
        "engine": trial.engine,
        "attention": trial.attention,
        "token_type_ids": trial.token_type_ids,
        "last_layer": trial.last_layer,
        "cuda_graphs": str(trial.cuda_graphs).lower(),
        "tokenization": str(trial.tokenization or "none"),
        "tokenizer": trial.tokenizer,
        **{f"train.{name}": _plain(value) for name, value in trial.train},
    }


def only_tokenise(trials: Iterable[Trial]) -> bool:
    """Whether there are trials, and none of them trains."""
    trains = {trial.tokenization is None for trial in trials}
    return trains == {False}


def shared_axes(trials: Iterable[Trial]) -> dict[str, str]:
    """The axes on which all these trials agree, with their value."""
    variants = list({trial.variant_id: axes(trial) for trial in trials}.values())
    varying = varying_axes(variants)
    return {name: value for name, value in variants[0].items() if name not in varying} if variants else {}


def labels(trials: Iterable[Trial]) -> dict[str, str]:
    """A label by variant id, in the order met: the axes that vary; checkpoint and padding if none do."""
    variants: dict[str, Mapping[str, str]] = {}
    for trial in trials:
        if trial.variant_id not in variants:
            variants[trial.variant_id] = axes(trial)
    varying = varying_axes(variants.values()) or ("checkpoint", "padding")
    return {variant: label(values, varying) for variant, values in variants.items()}


def varying_axes(variants: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """The names of the axes that take more than one value among these variants."""
    seen: dict[str, set[str]] = {}
    for values in variants:
        for name, value in values.items():
            seen.setdefault(name, set()).add(value)
    return tuple(name for name, values in seen.items() if len(values) > 1)


def label(values: Mapping[str, str], varying: Iterable[str]) -> str:
    """The values of these axes in one line, with their names where they do not explain themselves."""
    return " ".join(
        values[name] if name in _BARE else f"{name.rpartition('.')[2]}={values[name]}" for name in varying
    )


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
