from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from harness.assets.find_checkpoint import find_checkpoint
from harness.assets.find_data import find_data
from harness.assets.hub import default_hub
from harness.errors import StorageError, UnavailableError
from harness.model.tasks import Task
from tests.assets.hub_layout import CHECKPOINT, COMMIT, FakeHub

MRPC = {f"mrpc/{split}-00000-of-00001.parquet": b"PAR1" for split in ("train", "validation", "test")}


def quiet(_: str) -> None:
    pass


def test_only_the_files_needed_are_downloaded_and_the_commit_is_recorded(
    fake_hub: FakeHub, hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"pytorch_model.bin": b"pickle", "modeling.py": b"code", "onnx/model.onnx": b"", "README.md": b""}
    fake_hub.repos["models/owner/tiny"] = {**CHECKPOINT, **extra}
    found = find_checkpoint("owner/tiny", None, "hub", note=quiet)
    assert (found.source, found.revision) == ("hub", COMMIT)
    assert sorted(file.name for file in Path(found.path).iterdir()) == sorted(CHECKPOINT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_checkpoint("owner/tiny", None, "hub", note=quiet).source == "hub cache"
    assert (hub_cache / "models--owner--tiny" / "refs" / "main").read_text() == COMMIT


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (404, "RepoNotFound", "no such repository"),
        (404, "RevisionNotFound", "no revision main"),
        (401, "GatedRepo", "gated"),
        (403, "", "refused access"),
        (400, "", "answered HTTP 400"),
    ],
)
def test_missing_gated_and_refused_are_told_apart_and_get_no_stand_in(
    fake_hub: FakeHub, status: int, code: str, says: str
) -> None:
    fake_hub.repos["models/bert-base-uncased"] = (status, code)
    with pytest.raises(UnavailableError, match=says) as error:
        find_checkpoint("bert-base-uncased", None, "auto", note=quiet)
    assert error.value.exit_code == 69
    assert "cannot be reached" not in str(error.value)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_down_counts_as_out_of_reach(fake_hub: FakeHub, status: int) -> None:
    fake_hub.repos["models/bert-base-uncased"] = (status, "")
    with pytest.raises(UnavailableError, match=f"answered HTTP {status}"):
        find_checkpoint("bert-base-uncased", None, "hub", note=quiet)
    assert find_checkpoint("bert-base-uncased", None, "auto", note=quiet).stand_in


def test_a_repository_without_safetensors_is_refused_before_anything_is_downloaded(
    fake_hub: FakeHub,
) -> None:
    files = {name: content for name, content in CHECKPOINT.items() if name != "model.safetensors"}
    fake_hub.repos["models/owner/old"] = {**files, "pytorch_model.bin": b"pickle"}
    with pytest.raises(UnavailableError, match="no safetensors"):
        find_checkpoint("owner/old", None, "auto", note=quiet)
    assert not any("resolve" in path for path in fake_hub.asked)


def test_without_the_hubs_library_the_extra_that_has_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UnavailableError, match="huggingface-hub") as error:
        find_checkpoint("owner/one", None, "auto", note=quiet)
    assert "extra `train`" in (error.value.hint or "")


def test_an_unreachable_hub_is_asked_once() -> None:
    for _ in range(2):
        with pytest.raises(UnavailableError, match="cannot be reached"):
            find_checkpoint("owner/one", None, "hub", note=quiet)
    assert default_hub().unreachable is not None


def test_mrpc_is_downloaded_with_its_commit(fake_hub: FakeHub) -> None:
    fake_hub.repos["datasets/nyu-mll/glue"] = {**MRPC, "cola/train-00000-of-00001.parquet": b"PAR1"}
    found = find_data(Task(), "hub", note=quiet)
    assert (found.source, found.layout, found.revision) == ("hub", "parquet", COMMIT)
    assert set(found.files) == {"train", "validation", "test"}
    assert not any("cola" in path for path in fake_hub.asked)


def test_a_data_set_without_the_splits_asked_for_lists_what_it_has(fake_hub: FakeHub) -> None:
    fake_hub.repos["datasets/owner/set"] = {"data/train-00000-of-00001.parquet": b"", "data.csv": b""}
    with pytest.raises(UnavailableError, match=r"splits train and validation; found data\.csv"):
        find_data(Task(dataset="owner/set", config=None), "auto", note=quiet)


def test_a_split_in_several_parts_is_downloaded_whole(fake_hub: FakeHub) -> None:
    parts = [f"data/train-{part:05}-of-00002.parquet" for part in range(2)]
    fake_hub.repos["datasets/owner/set"] = dict.fromkeys([*parts, "data/validation.parquet"], b"PAR1")
    found = find_data(Task(dataset="owner/set", config=None), "auto", note=quiet)
    assert [part.rpartition("/data/")[2] for part in found.files["train"]] == [
        part.removeprefix("data/") for part in parts
    ]


def test_a_part_that_the_hub_lacks_is_named_and_nothing_is_downloaded(fake_hub: FakeHub) -> None:
    names = [
        "data/train-00000-of-00003.parquet",
        "data/train-00001-of-00003.parquet",
        "data/validation.parquet",
    ]
    fake_hub.repos["datasets/owner/set"] = dict.fromkeys(names, b"PAR1")
    with pytest.raises(UnavailableError, match="split 'train': 00002-of-00003 missing"):
        find_data(Task(dataset="owner/set", config=None), "auto", note=quiet)
    assert not any("resolve" in path for path in fake_hub.asked)


def test_a_cache_that_cannot_be_written_is_replaced_and_said(
    fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file"))
    fake_hub.repos["models/owner/tiny"] = CHECKPOINT
    found = find_checkpoint("owner/tiny", None, "hub", note=notes.append)
    assert found.path.startswith(str(tmp_path / "ours" / "hub"))
    assert any("HF_HOME" in note for note in notes)
    assert find_checkpoint("owner/tiny", None, "hub", note=notes.append).source == "hub cache"


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")]
)
def test_a_download_that_the_disk_refuses_gets_no_stand_in(
    fake_hub: FakeHub, hub_cache: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    fake_hub.repos["models/bert-base-uncased"] = CHECKPOINT

    def refuse(*_arguments: object, **_options: object) -> str:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(StorageError, match=f"bert-base-uncased: cannot be kept in .*: {words}"):
        find_checkpoint("bert-base-uncased", None, "auto", note=quiet)
    monkeypatch.undo()
    assert default_hub().unreachable is None
