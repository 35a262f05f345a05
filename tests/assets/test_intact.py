"""Whether the embedded files are as they were packed."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.assets.intact import SUMS, damaged_files, write_sums


def test_the_sums_in_the_package_are_those_of_its_files() -> None:
    assert damaged_files() == (), "after a change of the embedded files: python -m harness.assets.intact"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two files with their sums."""
    for name in ("a.txt", "inside/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    write_sums(tmp_path)
    return tmp_path


def test_what_was_changed_or_lost_is_named(folder: Path) -> None:
    assert damaged_files(folder) == ()
    (folder / "a.txt").write_text("b")
    (folder / "inside" / "b.txt").unlink()
    assert damaged_files(folder) == ("a.txt", "inside/b.txt")


def test_writing_the_sums_twice_gives_the_same(folder: Path) -> None:
    first = (folder / SUMS).read_bytes()
    write_sums(folder)
    assert (folder / SUMS).read_bytes() == first


@pytest.mark.parametrize("content", [None, b"", b"\xff\n"])
def test_sums_that_cannot_be_read_are_damage(folder: Path, content: bytes | None) -> None:
    (folder / SUMS).unlink()
    if content is not None:
        (folder / SUMS).write_bytes(content)
    assert damaged_files(folder) == (SUMS,)
