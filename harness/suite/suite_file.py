"""Read a suite file to a `Suite`, or raise one error that lists every problem with its position.

`-s KEY=VALUE` changes one value through the same parser. Only the suite file is accessed: no network, device,
environment variable or other file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from harness.errors import InvalidInputError
from harness.model.axis import axes_of
from harness.model.suite import Suite
from harness.model.tasks import TASKS, completed, unknown_task
from harness.model.trial import Trial
from harness.suite.axis_checks import unused_axes
from harness.suite.matrix import count_trials, default_of, too_many
from harness.suite.names import known_paths, nearest_path, unsupported_argument
from harness.suite.nodes import Entry, Mapping, Node, Scalar, described, plain
from harness.suite.problems import Place, Problem, UnreadableError, invalid
from harness.suite.selection import Selection, read_selection, without_effect
from harness.suite.text import decode, find_suite, read_bytes, shown
from harness.suite.tree import parse
from harness.suite.unused_settings import unused_settings
from harness.suite.validation import problems_of
from harness.words import quoted

EXAMPLE: Final = """A small suite is:
  name: example
  task: glue/mrpc
  matrix: {checkpoint: [bert-base-uncased], padding: [static, dynamic], device: [auto], seed: [0]}"""


def read_suite(path: Path, overrides: Sequence[str] = (), trial: type[Trial] = Trial) -> Suite:
    """Read a suite file.

    Args:
        path: A YAML file.
        overrides: `key=value` texts such as `train.learning_rate=3e-5`, applied in order.
        trial: The model whose fields declare the axes.

    Raises:
        InvalidInputError: with one line for each problem, as `file:line:column: problem`.
    """
    return parse_suite(read_bytes(path), shown(path), overrides, trial)


def load_suite(path: Path | str, overrides: Sequence[str] = ()) -> Suite:
    """Read a suite: a file, or the name of a shipped suite or of a file NAME.yaml in the current folder.

    Args:
        path: a YAML file, or a name.
        overrides: `key=value` texts such as `train.learning_rate=3e-5`, applied in order.

    Raises:
        InvalidInputError: with one line for each problem, as `file:line:column: problem`.
    """
    return read_suite(find_suite(str(path)), overrides)


def parse_suite(
    text: bytes | str, name: str, overrides: Sequence[str] = (), trial: type[Trial] = Trial
) -> Suite:
    """Parse the text of a suite; `name` is the file in messages. See `read_suite`."""
    problems: list[Problem] = []
    try:
        root = parse(decode(text, name), name, problems)
    except UnreadableError as error:
        raise invalid([*problems, error.problem]) from None
    if root is None:
        raise InvalidInputError(f"{name}: the suite is empty", hint=EXAMPLE)
    if not isinstance(root, Mapping):
        what = f"expected a mapping with keys such as name, task and matrix; found {described(root)}"
        raise invalid([*problems, Problem(root.place, what)])
    root = override(root, overrides, problems, trial)
    suite = _validated(root, problems, trial, overrides)
    if suite is None or problems:
        raise invalid(problems)
    return suite


def _validated(
    root: Mapping, problems: list[Problem], trial: type[Trial], overrides: Sequence[str]
) -> Suite | None:
    complained = {problem.place for problem in problems}
    found: list[Problem] = []
    root = _task_in_full(root, found)
    selection = read_selection(root, trial, found)
    found += unused_axes(root, axes_of(trial))
    # The values of the selection are validated already, and invalid ones reported.
    selected = selection.values if selection is not None else {"include": (), "exclude": ()}
    values = _values(root) | {key: each for key, each in selected.items() if key in root.entries}
    suite = None
    try:
        suite = Suite.model_validate(values, strict=True)
    except ValidationError as error:
        found += problems_of(error, root, _schema(), "the suite")
    if not found and suite is not None and selection is not None:
        found += _plan_problems(root, suite, selection, trial, overrides)
    # Report an unreadable value once, not also as invalid.
    problems.extend(problem for problem in found if problem.place not in complained)
    return suite


@cache
def _schema() -> dict[str, Any]:
    return Suite.model_json_schema()


def _values(root: Mapping) -> dict[str, Any]:
    values: dict[str, Any] = plain(root)
    if isinstance(task := values.get("task"), dict):
        values["task"] = completed(task)
    return values


def _task_in_full(root: Mapping, problems: list[Problem]) -> Mapping:
    task = root.entries.get("task")
    if task is None or not isinstance(task.node, Scalar) or not isinstance(task.node.value, str):
        return root
    entries = dict(root.entries)
    if task.node.value in TASKS:
        entries["task"] = Entry(task.place, task_in_full(task.node))
    else:
        problems.append(Problem(task.node.place, unknown_task(task.node.value)))
        del entries["task"]
    return Mapping(root.place, entries)


def _plan_problems(
    root: Mapping, suite: Suite, selection: Selection, trial: type[Trial], overrides: Sequence[str]
) -> list[Problem]:
    axes = axes_of(trial)
    # After an override of the axes, an include, an exclude or the task of the file may have no effect.
    axes_overridden = any(text.startswith("matrix") for text in overrides)
    found = [] if axes_overridden else without_effect(selection, lambda name: default_of(axes[name], suite))
    replaced = axes_overridden and not any(text.startswith("task") for text in overrides)
    if "task" in selection.axes and "task" in root.entries and not replaced:
        what = "task has no effect: the matrix has the axis task; set the keys of each task there"
        found.append(Problem(root.entries["task"].place, what))
    found += unused_settings(root, selection, suite)
    if (count := count_trials(suite, 1)) > suite.max_trials:
        found.append(Problem(selection.place, too_many(count, suite.max_trials)))
    return found


def override(
    root: Mapping, overrides: Iterable[str], problems: list[Problem], trial: type[Trial] = Trial
) -> Mapping:
    """Return the tree with every override in its place; one that cannot be applied goes to `problems`."""
    seen: set[str] = set()
    for text in overrides:
        place = Place(f"-s {text}" if text.isprintable() and len(text) <= 200 else f"-s {quoted(text, 200)}")
        path, equals, value = text.partition("=")
        path = path.strip()
        if not equals:
            what = (
                f"the value is missing: write {path}=VALUE"
                if path in known_paths(trial)
                else f"expected KEY=VALUE{nearest_path(path, trial)}"
            )
            problems.append(Problem(place, what))
        elif argument := unsupported_argument(*_parts(path)):
            problems.append(Problem(place, argument))
        elif path not in known_paths(trial):
            problems.append(Problem(place, f"there is no key {quoted(path)}{nearest_path(path, trial)}"))
        elif path in seen:
            problems.append(Problem(place, f"{path} is given twice; give it once"))
        elif not value.strip():
            # Mostly a variable of the shell that is not set, where no value would choose other data.
            what = f"the value is empty: write {path}=VALUE, or {path}=null for none"
            problems.append(Problem(place, what))
        else:
            seen.add(path)
            root = _set(root, path, _parsed(value, place, problems), problems)
    return root


def _parts(path: str) -> tuple[str, str]:
    """Return the key and the section of a path, which may name an axis: `matrix.train.optim`."""
    section, _, key = path.removeprefix("matrix.").rpartition(".")
    return key, section


def _parsed(value: str, place: Place, problems: list[Problem]) -> Node:
    try:
        node = parse(decode(value, place.source), place.source, problems, one_line=True)
    except UnreadableError as error:
        problems.append(error.problem)
        return Scalar(place, None)
    return Scalar(place, None) if node is None else node


def _set(root: Mapping, path: str, node: Node, problems: list[Problem]) -> Mapping:
    # The name of an axis may contain a dot (train.learning_rate), so that a path has two parts at most.
    section, dot, key = path.partition(".")
    if not dot:
        return _with(root, section, node)
    inside = root.entries[section].node if section in root.entries else Mapping(node.place, {})
    if isinstance(inside, Scalar) and section == "task" and inside.value in TASKS:
        inside = task_in_full(inside)
    if not isinstance(inside, Mapping):
        what = (
            f"{section} is {described(inside)} in the suite, so it has no key {key}; set {section} as a whole"
        )
        problems.append(Problem(node.place, what))
        return root
    return _with(root, section, _with(inside, key, node))


def _with(mapping: Mapping, key: str, node: Node) -> Mapping:
    return replace(mapping, entries={**mapping.entries, key: Entry(node.place, node)})


def task_in_full(short: Scalar) -> Mapping:
    """Return the mapping of a task's short form."""
    full = TASKS[str(short.value)]
    return Mapping(
        short.place, {key: Entry(short.place, Scalar(short.place, value)) for key, value in full.items()}
    )
