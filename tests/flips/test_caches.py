"""Damage to what trials share, and to pinned files: computed again with a note, or refused by name."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from harness.assets.embedded import EMBEDDED_FILES, SUMS, checkpoint_folder, embedded_damage
from harness.training.loading import Corpus, Split
from tests.factories import STARTED
from tests.flips.damage import Outcome, damage_each

pytestmark = pytest.mark.heavy

Flips = Callable[[float], range]
Count = Callable[[str, Outcome], None]

PAIRS = Split([("the cat sat on the mat", "a dog ran"), ("it was not", "it was"), ("a", "b")], [1, 0, 1])
CORPUS = Corpus(PAIRS, PAIRS, ("no", "yes"), "0" * 64)


def test_a_damaged_entry_of_the_token_cache_is_tokenised_again(
    tmp_path: Path, flips: Flips, tally: Count
) -> None:
    from harness.training.tokenizing.tokens import Tokenized, tokenize  # noqa: PLC0415 - collected without torch

    def tokens() -> Tokenized:
        return tokenize(CORPUS, checkpoint_folder("embedded/bert-uncased"), 64, tmp_path)

    def arrays(found: Tokenized) -> list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
        names = ("input_ids", "token_type_ids", "offsets", "labels", "example_ids")
        return [getattr(split, name) for split in (found.train, found.evaluation) for name in names]

    first = tokens()
    (entry,) = (tmp_path / "tokens").iterdir()
    intact = entry.read_bytes()

    def restore() -> list[Path]:
        entry.write_bytes(intact)
        return [entry]

    def look(file: Path, _draw: random.Random) -> Outcome:
        again, third = tokens(), tokens()
        for found in (again, third):
            assert all(map(np.array_equal, arrays(found), arrays(first)))
        assert (found.pad_token_id, found.truncated) == (first.pad_token_id, first.truncated)
        assert not again.cached
        assert [f"entry {file.stem[:12]} was not used" in note for note in again.notes] == [True]
        assert (third.cached, third.notes) == (True, ())
        assert file.read_bytes() == intact
        return "noticed"

    damage_each("token cache", flips(0.06), restore, look, tally)


def test_a_damaged_peak_is_measured_again(tmp_path: Path, flips: Flips, tally: Count) -> None:
    from harness.training.measuring.peaks import kept_peak  # noqa: PLC0415 - as above

    def peak(measured: float) -> float:
        # Within the minutes for which a peak counts, and later than it was seen.
        now = STARTED + timedelta(seconds=measured)
        return kept_peak(tmp_path, "0123456789abcdef", "matmul fp32", lambda: measured, now=lambda: now)

    peak(10.0)
    (file,) = tmp_path.iterdir()
    intact = file.read_bytes()

    def restore() -> list[Path]:
        file.write_bytes(intact)
        return [file]

    def look(_file: Path, _draw: random.Random) -> Outcome:
        found = peak(20.0)
        assert found in (10.0, 20.0)
        assert peak(30.0) == found
        return "no effect" if found == 10.0 else "noticed"

    damage_each("peaks", flips(0.03), restore, look, tally)


def test_a_damaged_file_of_the_package_is_refused(tmp_path: Path, flips: Flips, tally: Count) -> None:
    copy = tmp_path / "embedded"
    shutil.copytree(EMBEDDED_FILES, copy)
    files = sorted(file for file in copy.rglob("*") if file.is_file())
    damaged: list[Path] = []

    def restore() -> list[Path]:
        for file in damaged:
            shutil.copyfile(EMBEDDED_FILES / file.relative_to(copy), file)
        damaged.clear()
        assert embedded_damage(folder=copy) is None
        return files

    def look(file: Path, _draw: random.Random) -> Outcome:
        damaged.append(file)
        found = embedded_damage(folder=copy)
        if file.name != SUMS:
            assert file.relative_to(copy).as_posix() in (found or "")
        # The list has the same lines where its last newline is cut off, or another character ends a line.
        return "refused" if found else "no effect"

    damage_each("package", flips(0.06), restore, look, tally)
