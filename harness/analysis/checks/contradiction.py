"""A stored number that other stored numbers contradict."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A stored number and the different value implied by other stored numbers, in words.

    `metrics` are all metrics involved: any of them may have been changed.
    """

    metrics: tuple[str, ...]
    stored: str
    implied: str

    def __str__(self) -> str:
        return f"{self.stored}, {self.implied}"
