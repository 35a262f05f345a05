"""Damage to one file: mostly one flipped bit, sometimes a byte, a truncation or a zeroed block."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

# `no effect`: everything is as without the damage. `noticed`: a message, and the same scores. `refused`: a
# message, and no score. `another input`: scores with digests by which they cannot be taken for the old ones.
Outcome = Literal["no effect", "noticed", "refused", "another input"]

BLOCK_BYTES: Final = 4096
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Damage:
    """One change of a file's bytes; its text is what is needed to repeat it."""

    kind: str
    at: int
    value: int = 0

    def __str__(self) -> str:
        return f"{self.kind} at byte {self.at}" + (f" (xor {self.value:#04x})" if self.value else "")

    def applied_to(self, content: bytes) -> bytes:
        """The content with this damage."""
        if self.kind == "truncation":
            return content[: self.at]
        if self.kind == "zeroed block":
            end = min(self.at + BLOCK_BYTES, len(content))
            return content[: self.at] + bytes(end - self.at) + content[end:]
        return content[: self.at] + bytes([content[self.at] ^ self.value]) + content[self.at + 1 :]


def draw_damage(draw: random.Random, content: bytes) -> Damage:
    """Draw damage that changes the content, which is not empty: four times in five one flipped bit.

    Of a large file the first and the last block are hit as often as all others, since headers are there.
    """
    starts = (0, 0, max(0, len(content) - BLOCK_BYTES))
    ends = (len(content), min(len(content), BLOCK_BYTES), len(content))
    while True:
        part = draw.randrange(len(starts))
        at = draw.randrange(starts[part], ends[part])
        kind = draw.choices(("bit", "byte", "truncation", "zeroed block"), (16, 2, 1, 1))[0]
        if kind == "zeroed block":
            at -= at % BLOCK_BYTES
        value = {"bit": 1 << draw.randrange(8), "byte": draw.randrange(1, 256)}.get(kind, 0)
        damage = Damage(kind, at, value)
        if damage.applied_to(content) != content:
            return damage


def damage_each(
    name: str,
    numbers: Iterable[int],
    files: Callable[[], Sequence[Path]],
    look: Callable[[Path, random.Random], Outcome],
    count: Callable[[str, Outcome], None],
) -> None:
    """Damage one of the files for each number, and fail with every damage whose outcome is none allowed.

    Args:
        name: of the test; with the number it is the seed.
        numbers: one damage each.
        files: puts intact files in place, and returns those that may be damaged.
        look: does what a user does next with that file damaged; fails, or raises, where that is not right.
        count: counts the outcomes by the names of files.
    """
    violations = []
    for number in numbers:
        draw = random.Random(f"{name} {number}")
        file = draw.choice([file for file in files() if file.stat().st_size])
        damage = draw_damage(draw, file.read_bytes())
        file.write_bytes(damage.applied_to(file.read_bytes()))
        try:
            count(f"{name}: {_kind(file)}", look(file, draw))
        except Exception as error:
            violations.append(f"{name} {number}: {_kind(file)}, {damage}: {type(error).__name__}: {error}")
    assert not violations, f"{len(violations)} violations:\n" + "\n".join(violations[:_SHOWN])


def _kind(file: Path) -> str:
    """`trials/*/result.json` for a file of a run, its name alone for others."""
    kind = file.parent.parent.name
    return f"{kind}/*/{file.name}" if kind in ("trials", "proofs") else file.name
