"""Names of variants: a label contains only the values that differ between the variants of one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import PurePosixPath

from harness.model.arguments import Train
from harness.model.axis import Axis, axes_of, text, used_axes, value_of
from harness.model.axis import label as label_of
from harness.model.results import TrialResult
from harness.model.tasks import Task
from harness.model.trial import Trial

# Fields of a task that its name contains, or that do not identify its data.
_IN_NAME_OF_TASK = frozenset({"dataset", "config", "data_dir"})


def axes(trial: Trial) -> dict[str, str]:
    """Return all axes of a variant as text, by their names in a matrix, in reading order."""
    found: dict[str, str] = {}
    for name, axis in _fields(type(trial)):
        value = getattr(trial, name)
        if name == "task":
            found |= _of_task(value)
        elif isinstance(value, Train):
            found |= _of_train(name, value)
        elif name == "revision":
            found[name] = value or "default"
        else:
            found[name] = text(value if axis is None else value_of(trial, axis))
    return found


@cache
def _fields(model: type[Trial]) -> tuple[tuple[str, Axis | None], ...]:
    """Return the fields to list, and the axis of a field whose value has parts in further fields."""
    declared = axes_of(model)
    further = {field for axis in declared.values() for field in axis.fields[1:]} - {"revision"}
    several = {name: axis for name, axis in declared.items() if axis.fields and name != "checkpoint"}
    return tuple(
        (name, several.get(name)) for name in model.model_fields if name not in further and name != "seed"
    )


# The variants of a report share tasks, and its tables name each variant several times.
@lru_cache(maxsize=256)
def _of_task(task: Task) -> dict[str, str]:
    further = {f"task.{key}": str(each) for key, each in task if key not in _IN_NAME_OF_TASK}
    return {"task": task.name, **further, "task.eval_split": text(task.eval_split)}


@lru_cache(maxsize=16_384)
def _of_train(name: str, train: Train) -> dict[str, str]:
    return {f"{name}.{key}": text(each) for key, each in train}


def describe(trial: Trial, **known: str) -> str:
    """Return a trial in one line, without training settings and seed.

    Args:
        trial: Any trial.
        known: Resolved values of axes, as text: `attention="eager"`.
    """
    values = {**axes(trial), **known}
    values["checkpoint"] = short_names((trial.checkpoint,))[trial.checkpoint]
    of_trial = [name for name in notable(trial) if "." not in name and name in values]
    if trial.task.name != Task().name:
        of_trial.insert(1, "task")
    return label(values, of_trial, trial)


def notable(trial: Trial) -> list[str]:
    """Return the axes of a trial that are always shown, or whose value is not the default.

    The task is in the title of a report.
    """
    declared = used_axes(axes_of(type(trial)), tokenizing=trial.tokenization is not None)
    return [
        name
        for name, axis in declared.items()
        if axis.shown != "varying" or (name != "task" and value_of(trial, axis) != axis.default)
    ]


def attention_of(result: TrialResult) -> str:
    """Return the implementation of attention that ran, or the configured one if none was recorded."""
    recorded = result.checkpoint.attention if result.checkpoint is not None else None
    return recorded or result.trial.attention


def task_names(tasks: Iterable[Task]) -> str:
    """Return the names of tasks in words.

    >>> task_names([Task(config="cola"), Task(config="rte"), Task()])
    'glue/cola, glue/rte and glue/mrpc'
    """
    *others, last = dict.fromkeys(task.name for task in tasks)
    return f"{', '.join(others)} and {last}" if others else last


def only_tokenise(trials: Iterable[Trial]) -> bool:
    """Return whether there are trials and none of them trains."""
    trains = {trial.tokenization is None for trial in trials}
    return trains == {False}


def shared_axes(trials: Iterable[Trial]) -> dict[str, str]:
    """Return the axes on which all trials agree, with their value."""
    variants = shown_axes(map(axes, {trial.variant_id: trial for trial in trials}.values()))
    varying = varying_axes(variants)
    return {name: value for name, value in variants[0].items() if name not in varying} if variants else {}


def labels(trials: Iterable[Trial]) -> dict[str, str]:
    """Return a label by variant id, in the order of trials: the axes that vary, or checkpoint and padding."""
    variants: dict[str, Trial] = {}
    for trial in trials:
        variants.setdefault(trial.variant_id, trial)
    shown = shown_axes(map(axes, variants.values()))
    varying = telling_axes(shown) or ("checkpoint", "padding")
    return {
        variant: label(values, varying, trial)
        for (variant, trial), values in zip(variants.items(), shown, strict=True)
    }


def shown_axes(variants: Iterable[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Return the axes of variants as a table shows them: checkpoints by `short_names`."""
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


def telling_axes(variants: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """Return the axes that vary, without the settings of a task that its name implies.

    >>> telling_axes([{"task": "glue/cola", "task.text": "a"}, {"task": "glue/rte", "task.text": "b"}])
    ('task',)
    """
    found = list(variants)
    names = varying_axes(found)
    return tuple(name for name in names if not (name.startswith("task.") and _implied(name, found)))


def _implied(name: str, variants: Sequence[Mapping[str, str]]) -> bool:
    """Return whether the variants of each task have one value of this setting."""
    tasks = {values.get("task") for values in variants}
    pairs = {(values.get("task"), values.get(name)) for values in variants}
    return len(tasks) > 1 and len(pairs) == len(tasks)


def label(values: Mapping[str, str], names: Iterable[str], trial: Trial | None = None) -> str:
    """Return the values of these axes in one line, with the name of the axis if the value is not clear.

    Args:
        values: The text of each axis.
        names: The axes to write.
        trial: A trial whose model declares the axes, if not `Trial`.
    """
    declared = axes_of(Trial if trial is None else type(trial))
    return " ".join(label_of(declared, name, values[name]) for name in names)
