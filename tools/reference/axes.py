"""The page of axes, derived from the fields of `Trial` and `Train`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.model.axis import Axis, axes_of, names_of_values, text, written
from harness.model.trial import Trial
from tools.reference.markdown import code, page, table

_COVERED: Final = {
    "function": "the function of the model: the proof of function compares every value with the plain model",
    "training": "the path of the optimizer: the proof of training covers it",
    "tokenizing": "trials that only tokenize; they compare their ids with those that training uses",
    "nothing": "speed alone",
}
_INTRODUCTION: Final = (
    "An axis is a key of a suite's `matrix`, and of the entries of `include` and `exclude`."
)
_SETTINGS: Final = "Settings of `transformers.TrainingArguments`, as axes or for all trials under `train`."


def axes_page(trial: type[Trial] = Trial) -> str:
    """Return the page: an overview, a section for each axis, and one table of the settings of `train`."""
    axes = axes_of(trial)
    single = [axis for name, axis in axes.items() if "." not in name]
    settings = [axis for name, axis in axes.items() if "." in name]
    overview = [
        *([f"[`{axis.name}`](#{axis.name})", _values(axis), _default(axis)] for axis in single),
        ["[`train.*`](#train)", "a setting of the training", "[each has one](#train)"],
    ]
    rows = [[f"`{axis.name}`", _default(axis), axis.changes, code(axis.aka)] for axis in settings]
    return page(
        "Axes",
        "the fields of `Trial` and `Train`",
        _INTRODUCTION,
        table(["Axis", "Values", "Default"], overview),
        *("\n".join(_section(axis)) for axis in single),
        f"## train\n\n{_SETTINGS}",
        table(["Axis", "Default", "Changes", "Also known as"], rows),
    )


def _values(axis: Axis) -> str:
    return code(names_of_values(axis)) or axis.meaning


def _section(axis: Axis) -> Iterator[str]:
    yield f"## {axis.name}\n\n{axis.meaning[:1].upper()}{axis.meaning[1:]}.\n"
    if names := names_of_values(axis):
        yield table(["Value", "Meaning"], [[f"`{name}`", axis.values[name]] for name in names]) + "\n"
    yield f"- Default: {_default(axis)}"
    yield f"- Changes {_COVERED[axis.changes]}."
    yield from (
        f"- {'Every value but ' if rule.others else ''}`{rule.value}` needs "
        f"`{rule.axis}: {' | '.join(rule.among)}`: {rule.why}."
        for rule in axis.rules
    )
    if axis.aka:
        yield f"- Also known as: {code(axis.aka)}."


def _default(axis: Axis) -> str:
    return "none, every matrix names it" if axis.required else f"`{text(written(axis.default))}`"
