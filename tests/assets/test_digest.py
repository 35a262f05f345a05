"""Digests of checkpoints: every file that affects a result changes one of them, at any time."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.assets.checkpoint_folder import TOKENIZER_FILES
from harness.assets.digest import checkpoint_digests, file_sha256, files_sha256, weights_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.safetensors", "config.json", *TOKENIZER_FILES):
        (tmp_path / name).write_text(f"{name} of a checkpoint")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("model.safetensors", "weights"),
        ("config.json", "config"),
        *((name, "tokenizer") for name in TOKENIZER_FILES),
    ],
)
def test_each_file_of_a_checkpoint_changes_its_own_digest(folder: Path, name: str, changed: str) -> None:
    before = checkpoint_digests(folder).model_dump()
    (folder / name).write_text("another")
    after = checkpoint_digests(folder).model_dump()
    assert {part for part in before if before[part] != after[part]} == {changed}
    if changed == "tokenizer":
        (folder / name).unlink()
        assert checkpoint_digests(folder).tokenizer not in (before["tokenizer"], after["tokenizer"])


def test_an_index_beside_whole_weights_is_not_part_of_them(folder: Path) -> None:
    alone = weights_sha256(folder)
    (folder / "model.safetensors.index.json").write_text("{}")
    assert (
        weights_sha256(folder)
        == alone
        == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    )


def test_a_file_that_is_written_again_at_once_has_the_digest_of_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = Path.stat

    def coarse(path: Path, *, follow_symlinks: bool = True) -> SimpleNamespace:
        """The state of a file on a file system whose clock ticks every 40 ms."""
        found = exact(path, follow_symlinks=follow_symlinks)
        tick = found.st_ctime_ns - found.st_ctime_ns % 40_000_000
        known = {name: getattr(found, name) for name in ("st_dev", "st_ino", "st_size", "st_mode")}
        return SimpleNamespace(**known, st_mtime_ns=tick, st_ctime_ns=tick)

    monkeypatch.setattr(Path, "stat", coarse)
    file = tmp_path / "model.safetensors"
    ticks = set()
    for turn in range(300):
        content = b"%d" % (turn % 2)
        file.write_bytes(content)
        assert file_sha256(file) == hashlib.sha256(content).hexdigest(), turn
        ticks.add(file.stat().st_ctime_ns)
    assert len(ticks) < 300, "every write had its own timestamp"


def test_the_digest_of_data_depends_on_names_and_order_of_parts(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    sets = [
        {"train": [str(one), str(two)]},
        {"train": [str(two), str(one)]},
        {"train": [str(one)], "validation": [str(two)]},
        {"train": [str(two)], "validation": [str(one)]},
        {"train": [str(one)], "test": [str(two)]},
    ]
    assert len(set(map(files_sha256, sets))) == len(sets)
    assert files_sha256(sets[2]) == files_sha256(dict(reversed(sets[2].items())))
