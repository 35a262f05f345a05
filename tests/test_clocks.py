"""Durations come from the monotonic clock and moments carry their time zone, wherever time is asked for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import harness

# The wall clock, which jumps, and moments without a zone, which mean something else in summer.
FORBIDDEN = {"time.time", "time.time_ns", "time.localtime", "datetime.utcnow", "datetime.today", "date.today"}


# It compares the present with a file's time of change, which the system takes from the wall clock.
ALLOWED = {"assets/digest.py": 1}


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            yield f"{owner.id if isinstance(owner, ast.Name) else '?'}.{node.func.attr}", node


def _offences(source: str) -> list[int]:
    return [
        call.lineno
        for name, call in _calls(ast.parse(source))
        if name in FORBIDDEN or (name == "datetime.now" and not (call.args or call.keywords))
    ]


def test_no_part_of_the_program_measures_by_the_wall_clock() -> None:
    package = Path(harness.__file__).parent
    found = {
        path.relative_to(package).as_posix(): len(lines)
        for path in package.rglob("*.py")
        if (lines := _offences(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED


def test_the_search_finds_what_it_looks_for() -> None:
    source = "a = time.time()\nb = datetime.now()\nc = datetime.now(UTC)\nd = time.monotonic()\n"
    assert _offences(source) == [1, 2]
