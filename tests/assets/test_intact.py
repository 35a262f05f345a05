"""Files with pinned digests: what changed, what is missing and what does not belong there."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from harness.assets.embedded import SUMS, embedded_damage, write_sums


def test_the_sums_in_the_package_are_those_of_its_files() -> None:
    assert embedded_damage() is None, (
        "after a change of the embedded files: python -m harness.assets.embedded"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two files with their sums."""
    for name in ("a.txt", "inside/b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    write_sums(tmp_path)
    return tmp_path


def test_what_was_changed_or_lost_is_named_with_both_digests(folder: Path) -> None:
    assert embedded_damage(folder=folder) is None
    (folder / "a.txt").write_text("b")
    (folder / "inside" / "b.txt").unlink()
    now, before = sha256(b"b").hexdigest(), sha256(b"a.txt").hexdigest()
    changed = f"a.txt has SHA-256 {now}, expected {before}"
    assert embedded_damage(folder=folder) == f"{changed}; inside/b.txt is missing"
    assert embedded_damage("inside", folder) == "b.txt is missing"


def test_of_many_damaged_files_the_first_are_named(folder: Path) -> None:
    for name in ("c", "d", "e", "f", "g"):
        (folder / name).touch()
    found = embedded_damage(folder=folder)
    assert found is not None
    assert found.count("is an unexpected file") == 3
    assert found.endswith("; and 2 more")


@pytest.mark.parametrize("extra", ["adapter_config.json", "deeper/added_tokens.json", "link.json"])
def test_a_file_that_is_not_listed_is_damage(folder: Path, extra: str) -> None:
    (folder / "inside" / ".hidden").write_text("read by no library")
    assert embedded_damage(folder=folder) is None
    (folder / "inside" / extra).parent.mkdir(exist_ok=True)
    if extra == "link.json":
        (folder / "inside" / extra).symlink_to(folder)
    else:
        (folder / "inside" / extra).write_text("{}")
    assert embedded_damage(folder=folder) == f"inside/{extra} is an unexpected file: remove it"


def test_writing_the_sums_twice_gives_the_same(folder: Path) -> None:
    first = (folder / SUMS).read_bytes()
    write_sums(folder)
    assert (folder / SUMS).read_bytes() == first


@pytest.mark.parametrize("content", [None, b"", b"\xff\n"])
def test_sums_that_cannot_be_read_are_damage(folder: Path, content: bytes | None) -> None:
    (folder / SUMS).unlink()
    if content is not None:
        (folder / SUMS).write_bytes(content)
    assert (embedded_damage(folder=folder) or "").startswith(SUMS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_cannot_be_read_is_damage(folder: Path) -> None:
    (folder / "a.txt").chmod(0)
    assert embedded_damage(folder=folder) == "a.txt cannot be read (Permission denied)"
