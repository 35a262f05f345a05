"""Write docs/reference/axes.md and the list in README.md from `Trial`: `python -m tools.reference.axes`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.model.axis import Axis, axes_of, names_of_values, text, written
from harness.model.trial import Trial

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "axes.md"
README: Final = Path(__file__).parents[2] / "README.md"
BEGIN: Final = "<!-- axes: written by `python -m tools.reference.axes` -->"
END: Final = "<!-- end of axes -->"

_COVERED: Final = {
    "function": "the function of the model: the proof of function compares every value with the plain model",
    "training": "the path of the optimizer: the proof of training covers it",
    "tokenizing": "trials that only tokenize; they compare their ids with those that training uses",
    "nothing": "speed alone",
}
_HEAD: Final = """# Axes

The keys of a suite's `matrix`, and of the entries of `include` and `exclude`. This page is written by
`python -m tools.reference.axes` from the fields of `Trial` and `Train`; do not edit it.
"""


def axes_page(trial: type[Trial] = Trial) -> str:
    """Return the page: a section for each axis, and one table of the settings of `train`."""
    axes = axes_of(trial)
    sections = ["\n".join(_section(axis)) for name, axis in axes.items() if "." not in name]
    settings = [_setting(axis) for name, axis in axes.items() if "." in name]
    table = "\n".join(("| Axis | Default | Changes | Also known as |", "|---|---|---|---|", *settings))
    train = "\n".join(
        (
            "## train",
            "",
            "Settings of `transformers.TrainingArguments`, as axes or for all trials under `train`.",
            "",
            table,
        )
    )
    return "\n\n".join((_HEAD.rstrip(), *sections, train)) + "\n"


def readme_block(trial: type[Trial] = Trial) -> str:
    """Return the list of axes for the README: a row for each axis, and one for all settings of `train`."""
    axes = axes_of(trial)
    rows = [
        f"| [`{name}`](docs/reference/axes.md#{name}) | {_values(axis)} | {_default(axis)} |"
        for name, axis in axes.items()
        if "." not in name
    ]
    settings = ", ".join(f"`{name.removeprefix('train.')}`" for name in axes if name.startswith("train."))
    page = "docs/reference/axes.md#train"
    train = f"| [`train.*`]({page}) | {settings} | [each has one]({page}) |"
    return "\n".join(("| Axis | Values | Default |", "|---|---|---|", *rows, train))


def with_block(text: str, block: str) -> str:
    """Return a text with the block between its two marks.

    Raises:
        ValueError: the text has not exactly one of each mark, in this order.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in tail:
        raise ValueError(f"mark one block by {BEGIN} and {END}, each on a line")
    return f"{head}{begin}\n{block}\n{end}{tail}"


def _values(axis: Axis) -> str:
    return _code(names_of_values(axis)) or axis.meaning.replace("|", "\\|")


def _section(axis: Axis) -> Iterator[str]:
    yield f"## {axis.name}"
    yield ""
    yield f"{axis.meaning[:1].upper()}{axis.meaning[1:]}."
    yield ""
    if names := names_of_values(axis):
        yield from ("| Value | Meaning |", "|---|---|")
        yield from (f"| `{name}` | {axis.values[name]} |" for name in names)
        yield ""
    yield f"- Default: {_default(axis)}"
    yield f"- Changes {_COVERED[axis.changes]}."
    yield from (
        f"- {'Every value but ' if rule.others else ''}`{rule.value}` needs "
        f"{_alternatives(rule.axis, rule.among)}: {rule.why}."
        for rule in axis.rules
    )
    if axis.aka:
        yield f"- Also known as: {_code(axis.aka)}."


def _setting(axis: Axis) -> str:
    return f"| `{axis.name}` | {_default(axis)} | {axis.changes} | {_code(axis.aka)} |"


def _default(axis: Axis) -> str:
    return "none, every matrix names it" if axis.required else f"`{text(written(axis.default))}`"


def _alternatives(axis: str, words: tuple[str, ...]) -> str:
    return f"`{axis}: {' | '.join(words)}`"


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(axes_page(), encoding="utf-8")
    README.write_text(with_block(README.read_text(encoding="utf-8"), readme_block()), encoding="utf-8")
