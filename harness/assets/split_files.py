"""Group a data set's files by split: one file, or numbered parts such as `train-00000-of-00003.parquet`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Older versions of `push_to_hub` append 16 digits of a hash to the name of a part.
_NAME: Final = re.compile(
    r"(?:.*/)?(?P<split>[^/]+?)(?:-(?P<part>\d{5})-of-(?P<parts>\d{5})(?:-[0-9a-f]{16})?)?\.[a-z]+"
)


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """`complete` maps a split to its files in order, `incomplete` to the reason why it cannot be read."""

    complete: dict[str, tuple[str, ...]]
    incomplete: dict[str, str]

    def problems(self, splits: Iterable[str]) -> list[str]:
        """Return a sentence for each of these splits that is incomplete."""
        return [f"split {split!r}: {self.incomplete[split]}" for split in splits if split in self.incomplete]


def split_files(names: Iterable[str]) -> SplitFiles:
    """Group the file names of one folder by split; all must have the same extension."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for name in sorted(names):
        if (match := _NAME.fullmatch(name)) is not None:
            part, parts = (int(match[key] or default) for key, default in (("part", 0), ("parts", 1)))
            found.setdefault(match["split"], {})[name] = (part, parts)
    complete: dict[str, tuple[str, ...]] = {}
    incomplete: dict[str, str] = {}
    for split, files in sorted(found.items()):
        if (reason := _incomplete(files)) is None:
            complete[split] = tuple(sorted(files, key=files.__getitem__))
        else:
            incomplete[split] = reason
    return SplitFiles(complete, incomplete)


def _incomplete(files: dict[str, tuple[int, int]]) -> str | None:
    """Return why these files are not exactly the parts of one split, or None if they are."""
    total = max(parts for _, parts in files.values())
    numbers = {part for part, parts in files.values() if parts == total and part < total}
    if len(numbers) < len(files):
        return f"{', '.join(Path(name).name for name in files)} are not the parts of one copy; keep one copy"
    missing = [f"{part:05}-of-{total:05}" for part in range(total) if part not in numbers]
    if missing:
        return f"{', '.join(missing[:4])} missing, only {len(files)} of {total} parts are there"
    return None
