"""Parse gates of the command line, such as `eval_f1>=0.86`, and YAML files with a list of gates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from harness.errors import InvalidInputError
from harness.model.frozen import Frozen
from harness.model.metrics import METRICS, is_metric
from harness.model.suite import PERCENTAGE, Gate
from harness.suite.nodes import Entry, Mapping, Sequence, described, plain
from harness.suite.problems import Problem, UnreadableError, invalid
from harness.suite.text import decode, read_bytes, shown
from harness.suite.tree import parse
from harness.suite.validation import problems_of
from harness.words import did_you_mean, quoted

EXAMPLES: Final = (
    "Gates are written like eval_f1>=0.86, eval_loss<=0.6, 'eval_accuracy drop<=0.02' (in the metric's unit) "
    "or 'train_real_tokens_per_second drop<=10%' (of the baseline)."
)
_GATE: Final = re.compile(
    r"(?P<metric>own\.[^<>=!]+?|[A-Za-z0-9_.-]+?)(?P<drop>\s+drop)?\s*(?P<relation>[<>=!]=?)\s*(?P<limit>[^\s<>=!]\S*)"
)
_LIMIT: Final = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?(?P<percent>%?)", re.ASCII)


class _GateFile(Frozen):
    gates: tuple[Gate, ...]


def parse_gate(text: str) -> Gate:
    """Parse a gate: `METRIC>=NUMBER`, `METRIC<=NUMBER`, `METRIC drop<=NUMBER` or `METRIC drop<=NUMBER%`.

    Raises:
        InvalidInputError: another form, an unknown metric or an invalid limit.
    """
    found = _GATE.fullmatch(text.strip())
    if found is None:
        raise _wrong(text, "expected METRIC>=NUMBER, METRIC<=NUMBER or 'METRIC drop<=NUMBER'")
    key = _key(text, drop=found["drop"] is not None, relation=found["relation"])
    metric = found["metric"]
    if not is_metric(metric):
        raise _wrong(text, f"there is no metric {quoted(metric)}{did_you_mean(metric, list(METRICS))}")
    number = _LIMIT.fullmatch(found["limit"])
    if number is None:
        raise _wrong(text, f"{quoted(found['limit'])} is not a number")
    if number["percent"] and key != "max_drop":
        raise _wrong(text, "a percentage is of the baseline and belongs to a drop; 86 % is written 0.86")
    limit = found["limit"].removeprefix("+") if number["percent"] else float(found["limit"])
    if isinstance(limit, str) and re.fullmatch(PERCENTAGE, limit) is None:
        raise _wrong(
            text, f"{quoted(limit)} is no percentage from 0% to 100% without an exponent, such as 0.5%"
        )
    try:
        return Gate.model_validate({"metric": metric, key: limit})
    except ValidationError as error:
        what = "; ".join(dict.fromkeys(one["msg"] for one in error.errors(include_url=False)))
        raise _wrong(text, what.replace("Value error, ", "")) from None


def read_gates(path: Path) -> tuple[Gate, ...]:
    """Read the gates of a YAML file: a list as in a suite's `gates:`, or a mapping with only that key.

    Raises:
        InvalidInputError: one line for each problem, as `file:line:column: problem`.
    """
    name = shown(path)
    problems: list[Problem] = []
    try:
        root = parse(decode(read_bytes(path), name), name, problems)
    except UnreadableError as error:
        raise invalid([*problems, error.problem]) from None
    if root is None or (isinstance(root, Sequence) and not root.items):
        raise InvalidInputError(f"{name}: there is no gate in it", hint=_FILE_EXAMPLE)
    if isinstance(root, Sequence):
        root = Mapping(root.place, {"gates": Entry(root.place, root)})
    if not isinstance(root, Mapping):
        what = f"expected a list of gates; found {described(root)}"
        raise invalid([*problems, Problem(root.place, what)])
    gates: tuple[Gate, ...] = ()
    try:
        gates = _GateFile.model_validate(plain(root), strict=True).gates
    except ValidationError as error:
        problems += problems_of(error, root, _GateFile.model_json_schema(), "the file")
    if problems:
        raise invalid(problems)
    if not gates:
        raise InvalidInputError(f"{name}: there is no gate in it", hint=_FILE_EXAMPLE)
    return gates


_FILE_EXAMPLE: Final = "A file of gates is a list: [{metric: eval_f1, min: 0.86}]"


def _key(text: str, *, drop: bool, relation: str) -> str:
    if relation not in (">=", "<="):
        raise _wrong(text, f"{relation} is not a relation of a gate; use >= or <=")
    if drop and relation != "<=":
        raise _wrong(text, "a gate bounds a drop from above: drop<=")
    return "max_drop" if drop else "min" if relation == ">=" else "max"


def _wrong(text: str, what: str) -> InvalidInputError:
    return InvalidInputError(f"gate {quoted(text, 120)}: {what}", hint=EXAMPLES)
