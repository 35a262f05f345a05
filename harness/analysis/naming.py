"""Naming variants: a label says only what differs between the variants that stand beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from harness.model.results import TrialResult
from harness.model.trial import Trial

# What these axes hold explains itself; every other value is written as `name=value`.
_BARE: Final = frozenset(
    {"checkpoint", "padding", "device", "precision", "engine", "attention", "tokenization", "tokenizer"}
)
# Of those axes, values that need the name too.
_UNCLEAR: Final = frozenset({"auto"})


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


def attention_of(result: TrialResult) -> str:
    """The implementation of attention that ran; the one asked for where none was recorded."""
    recorded = result.checkpoint.attention if result.checkpoint is not None else None
    return recorded or result.trial.attention


def only_tokenise(trials: Iterable[Trial]) -> bool:
    """Whether there are trials, and none of them trains."""
    trains = {trial.tokenization is None for trial in trials}
    return trains == {False}


def shared_axes(trials: Iterable[Trial]) -> dict[str, str]:
    """The axes on which all these trials agree, with their value."""
    variants = shown_axes({trial.variant_id: axes(trial) for trial in trials}.values())
    varying = varying_axes(variants)
    return {name: value for name, value in variants[0].items() if name not in varying} if variants else {}


def labels(trials: Iterable[Trial]) -> dict[str, str]:
    """A label by variant id, in the order met: the axes that vary; checkpoint and padding if none do."""
    variants: dict[str, Mapping[str, str]] = {}
    for trial in trials:
        if trial.variant_id not in variants:
            variants[trial.variant_id] = axes(trial)
    shown = shown_axes(variants.values())
    varying = varying_axes(shown) or ("checkpoint", "padding")
    return {variant: label(values, varying) for variant, values in zip(variants, shown, strict=True)}


def shown_axes(variants: Iterable[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The axes of variants as a table shows them: checkpoints by `short_names`."""
    found = list(variants)
    names = short_names(values["checkpoint"] for values in found if "checkpoint" in values)
    return [
        {**values, "checkpoint": names[values["checkpoint"]]} if "checkpoint" in values else values
        for values in found
    ]


def short_names(checkpoints: Iterable[str]) -> dict[str, str]:
    """Return a short name for each checkpoint: for a path its last part, or as many as make it unique.

    >>> list(short_names(["~/runs/a/best", "/data/b/best", "/data/tiny", "bert-base-uncased"]).values())
    ['a/best', 'b/best', 'tiny', 'bert-base-uncased']
    """
    names = list(dict.fromkeys(checkpoints))
    return {name: _short(name, [other for other in names if other != name]) for name in names}


def _short(name: str, others: Sequence[str]) -> str:
    if not name.startswith((".", "/", "~")):
        return name
    parts = _parts(name)
    for count in range(1, len(parts) + 1):
        ending = parts[-count:]
        if all(_parts(other)[-count:] != ending for other in others):
            return "/".join(ending)
    return name


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(name).parts if part != "/")


def varying_axes(variants: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """Return the names of the axes that take more than one value among these variants.

    >>> varying_axes([{"padding": "static", "device": "cpu"}, {"padding": "dynamic", "device": "cpu"}])
    ('padding',)
    """
    seen: dict[str, set[str]] = {}
    for values in variants:
        for name, value in values.items():
            seen.setdefault(name, set()).add(value)
    return tuple(name for name, values in seen.items() if len(values) > 1)


def label(values: Mapping[str, str], varying: Iterable[str]) -> str:
    """Return the values of these axes in one line, with their names where a value alone is unclear.

    >>> label({"padding": "unpadded", "attention": "auto", "train.seed": "1"}, ["padding", "attention"])
    'unpadded attention=auto'
    """
    return " ".join(
        values[name]
        if name in _BARE and values[name] not in _UNCLEAR
        else f"{name.rpartition('.')[2]}={values[name]}"
        for name in varying
    )


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
