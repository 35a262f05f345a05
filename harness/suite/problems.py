"""What is wrong with a suite and where: places, near misses, and one error that names them all."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import InvalidInputError

MAX_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a file's line and column, both from 1, or an override, which has none."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that cannot be accepted: its place and a sentence."""

    place: Place
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class UnreadableError(Exception):
    """The text ends here for a reader: nothing after this problem can be understood."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def invalid(problems: Iterable[Problem]) -> InvalidInputError:
    """One error with a line for each problem, in the order of the file, overrides last."""
    lines = list(dict.fromkeys(map(str, sorted(problems, key=_position))))
    shown = lines[:MAX_SHOWN]
    if len(lines) > MAX_SHOWN:
        shown.append(f"and {len(lines) - MAX_SHOWN:,} more problems, not shown")
    return InvalidInputError(
        "\n".join(shown),
        hint="The suites in the folder suites/ show every key; `harness schema suite` lists them.",
    )


def _position(problem: Problem) -> tuple[bool, int, int]:
    return problem.place.line == 0, problem.place.line, problem.place.column


def quoted(text: str, limit: int = 60) -> str:
    """Text from a user, in quotes, shortened, with everything escaped that a terminal might obey."""
    return repr(text if len(text) <= limit else f"{text[:limit]}...")


def nearest(wanted: str, known: Sequence[str]) -> str | None:
    """The known name that is most like the wanted one, or None if none is close."""
    # Long text is no slip of the finger, and difflib takes quadratic time over it.
    if len(wanted) > 100:
        return None
    found = difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    if found:
        return found[0]
    folded = wanted.casefold()
    holding = [name for name in known if len(folded) > 1 and folded in name.casefold()]
    return holding[0] if len(holding) == 1 else None


def did_you_mean(wanted: str, known: Sequence[str]) -> str:
    """` (did you mean X?)`, or the whole list where nothing is close; empty if nothing is known."""
    if not known:
        return ""
    found = nearest(wanted, known)
    return f" (did you mean {found}?)" if found is not None else f" (one of: {', '.join(known)})"
