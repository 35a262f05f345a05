from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from harness.assets.digest import weights_sha256
from harness.assets.places import cache_root, hub_cache


def test_our_cache_is_where_the_variable_says_and_is_made(tmp_path: Path, notes: list[str]) -> None:
    assert cache_root(notes.append) == tmp_path / "ours"
    assert (tmp_path / "ours").is_dir()
    assert notes == []


def test_a_cache_that_cannot_be_written_falls_back_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "file" / "below"))
    found = cache_root(notes.append)
    assert found.is_dir()
    assert found != tmp_path / "file" / "below"
    assert cache_root() == found
    assert "HARNESS_CACHE_DIR" in notes[0]


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_hubs_cache_is_found_by_its_librarys_variables(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HOME")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hub_cache() == Path(folder)


def test_one_weights_file_has_its_own_sum_and_several_have_one_together(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    assert weights_sha256(tmp_path) == hashlib.sha256(b"one").hexdigest()
    (tmp_path / "model-2.safetensors").write_bytes(b"two")
    both = weights_sha256(tmp_path)
    (tmp_path / "model-2.safetensors").write_bytes(b"too")
    assert len({both, weights_sha256(tmp_path), hashlib.sha256(b"one").hexdigest()}) == 3


def test_the_index_of_shards_is_part_of_their_sum(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    (tmp_path / "model-00001-of-00001.safetensors").write_bytes(b"one")
    index.write_text('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}')
    before = weights_sha256(tmp_path)
    index.write_text("{}")
    assert weights_sha256(tmp_path) != before


def test_a_user_without_a_home_gets_a_cache_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HARNESS_CACHE_DIR")
    monkeypatch.delenv("HF_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "~")
    assert cache_root().is_absolute()
    assert hub_cache().is_absolute()
    assert not Path("~").exists()


def test_a_files_sum_is_taken_again_when_it_changed_in_place_and_its_time_was_set_back(
    tmp_path: Path,
) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"one")
    before = file.stat()
    assert weights_sha256(tmp_path) == hashlib.sha256(b"one").hexdigest()
    file.write_bytes(b"two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert weights_sha256(tmp_path) == hashlib.sha256(b"two").hexdigest()
