"""`-s KEY=VALUE`: change one value of a suite through the parser of the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness.model.tasks import TASKS
from harness.model.trial import Trial
from harness.suite.names import known_paths, nearest_path, unsupported_argument
from harness.suite.nodes import Entry, Mapping, Node, Scalar, described
from harness.suite.problems import Place, Problem, UnreadableError
from harness.suite.text import decode
from harness.suite.tree import parse
from harness.words import quoted


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
