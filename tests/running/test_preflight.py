"""What a run resolves before its first trial comes with the digests of its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.assets.digest import checkpoint_digests, files_sha256
from harness.assets.embedded import EMBEDDED_CHECKPOINTS
from harness.errors import UnavailableError
from harness.model.job import Job
from harness.model.tasks import Task
from harness.running.preflight import RealAssets
from tests.assets.hub_layout import CHECKPOINT, cache_repo
from tests.running.fakes import fake_suite, run_fake


def quietly(_note: str) -> None:
    """Nobody listens."""


def write(folder: Path) -> Path:
    folder.mkdir()
    for name, content in CHECKPOINT.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_checkpoint_of_every_source_has_the_digests_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    cache_repo(tmp_path / "hub", "models--a--b", CHECKPOINT)
    names = (str(write(tmp_path / "mine")), "a/b", *EMBEDDED_CHECKPOINTS)
    found = [RealAssets("auto").checkpoint(name, None, quietly) for name in names]
    assert {one.source for one in found} == {"local", "hub cache", "embedded"}
    for one in found:
        assert one.digests == checkpoint_digests(Path(one.path))
    assert found[0].digests == found[1].digests


@pytest.mark.parametrize("folder", [True, False])
def test_a_data_set_of_every_source_has_the_digest_of_its_files(folder: bool, tmp_path: Path) -> None:
    for split in ("train", "validation"):
        rows = [{"sentence1": f"{split} {label}", "sentence2": "b", "label": label} for label in (0, 1)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = Task(dataset="pairs", config=None, data_dir=str(tmp_path)) if folder else Task()
    found = RealAssets("auto" if folder else "embedded").data(task, quietly)
    assert found.source == ("folder" if folder else "embedded")
    assert found.files_sha256 == files_sha256(found.files)


def test_a_checkpoint_with_a_file_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine")
    (folder / "sub.safetensors").mkdir()
    with pytest.raises(UnavailableError, match=r"mine: sub\.safetensors is a folder, not a regular file"):
        RealAssets("auto").checkpoint(str(folder), None, quietly)


def test_the_weights_that_a_suite_allows_reach_every_job(tmp_path: Path) -> None:
    run = run_fake(fake_suite(allow_weights=("bert.pooler.*",)), tmp_path)
    jobs = [Job.model_validate_json(file.read_bytes()) for file in run.directory.glob("trials/*/job.json")]
    assert [job.allow_weights for job in jobs] == [("bert.pooler.*",)] * 2
    assert jobs[0].checkpoint.digests is not None
    assert jobs[0].data.files_sha256 is not None
