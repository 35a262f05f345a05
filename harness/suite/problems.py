"""Problems of a suite with their positions, and the error that lists them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from harness.errors import InvalidInputError

MAX_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file, with line and column from 1, or an override, which has neither."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Problem:
    """A sentence about something invalid, and its position."""

    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class UnreadableError(Exception):
    """A problem after which the rest of the text cannot be parsed."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def invalid(problems: Iterable[Problem]) -> InvalidInputError:
    """Return an error with a line for each problem, in the order of the file, overrides last."""
    lines = list(dict.fromkeys(map(str, sorted(problems, key=_position))))
    shown = lines[:MAX_SHOWN]
    if len(lines) > MAX_SHOWN:
        shown.append(f"and {len(lines) - MAX_SHOWN:,} more problems, not shown")
    return InvalidInputError(
        "\n".join(shown),
        hint="`harness init` writes a suite with every key; `harness schema suite` lists them.",
    )


def _position(problem: Problem) -> tuple[bool, int, int]:
    return problem.place.line == 0, problem.place.line, problem.place.column
