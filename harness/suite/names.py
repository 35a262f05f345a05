"""The keys and paths of a suite, and suggestions for keys that are mistyped or come from other tools."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from harness.model.arguments import UNSUPPORTED_KEYS, Train
from harness.model.axis import axes_of, synonyms_of
from harness.model.metrics import METRICS
from harness.model.suite import Measure, Suite
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.words import nearest, quoted


@cache
def known_paths(trial: type[Trial] = Trial) -> tuple[str, ...]:
    """Return every path that an override may name, `train.learning_rate` for instance."""
    sections: dict[str, Iterable[str]] = {
        "task": Task.model_fields,
        "train": Train.model_fields,
        "measure": Measure.model_fields,
        "matrix": axes_of(trial),
        "reference": METRICS,
    }
    inside = (f"{section}.{key}" for section, keys in sections.items() for key in keys)
    return (*Suite.model_fields, *inside)


def unsupported_argument(key: str, section: str) -> str | None:
    """Return why a key of `TrainingArguments` in the section `train` is not accepted, or the nearest one.

    None for a key that no release has, such as a typing mistake, and for one of another section.
    """
    reason = UNSUPPORTED_KEYS.get(key) if section == "train" else None
    if reason is None:
        return None
    return f"{quoted(key)} of transformers.TrainingArguments is not supported: {reason}"


def suggestion(key: str, here: Sequence[str], trial: type[Trial] = Trial) -> str:
    """Return ` (did you mean X?)` for a key that is none of those known here, or the list of them."""
    elsewhere = (path for path in known_paths(trial) if _means(key, path.partition(".")[2], trial))
    found = _same(key, here, trial) or nearest(key, here) or next(elsewhere, None)
    if found is not None:
        return f" (did you mean {found}?)"
    return f" (one of: {', '.join(here)})" if here else ""


def nearest_path(path: str, trial: type[Trial] = Trial) -> str:
    """Return ` (did you mean X?)` for the path of an override, or the list of keys at that place."""
    paths = known_paths(trial)
    section, _, leaf = path.partition(".")
    inside = [known.partition(".")[2] for known in paths if known.startswith(f"{section}.")]
    if inside and leaf:
        near = _same(leaf, inside, trial) or nearest(leaf, inside)
        found = f"{section}.{near}" if near else None
        known: Sequence[str] = [f"{section}.{key}" for key in inside]
    else:
        leaves = {known.rpartition(".")[2]: known for known in reversed(paths)}
        found = (
            _same(path, paths, trial)
            or nearest(path, paths)
            or _same(leaf, paths, trial)
            or leaves.get(nearest(leaf or path, list(leaves)) or "")
        )
        known = [*Suite.model_fields, "or a path below"]
    return f" (did you mean {found}?)" if found else f" (one of: {', '.join(known)})"


def _same(key: str, names: Sequence[str], trial: type[Trial]) -> str | None:
    """The name that means the same as the key, or whose last part does."""
    found = [name for name in names if _means(key, name, trial)]
    return (
        found[0]
        if found
        else next((name for name in names if _means(key, name.rpartition(".")[2], trial)), None)
    )


def _means(key: str, name: str, trial: type[Trial]) -> bool:
    folded = key.casefold().replace("-", "_")
    return bool(name) and (folded == name or folded in _synonyms(trial).get(name, ()))


@cache
def _synonyms(trial: type[Trial]) -> Mapping[str, tuple[str, ...]]:
    """The names that other tools give to keys of a suite, by our key."""
    found: dict[str, tuple[str, ...]] = {}
    for model in (Suite, Task, Train, Measure, trial):
        found = synonyms_of(model) | found
    return found
