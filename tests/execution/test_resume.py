"""Which field keeps a finished result from standing in a run that goes on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.assets.digest import files_sha256, weights_sha256
from harness.assets.models import CheckpointSource, ResolvedCheckpoint, ResolvedData
from harness.environment import Device, describe_environment
from harness.execution.resume import Here, choose, describe_here
from harness.job import Job
from harness.results.models import TrialResult
from harness.suite.models import Measure
from tests.factories import make_checkpoint, make_data, make_result, make_trial

H100 = Device(kind="cuda", index=0, name="NVIDIA H100 80GB HBM3", driver="570.86.15")
T4 = Device(kind="cuda", index=0, name="Tesla T4", driver="535.104.05")
ON_GPU = make_trial(device="cuda:0")


def finished(device: Device, **checkpoint: Any) -> TrialResult:
    """A result that was got here, on that device."""
    return make_result(
        ON_GPU,
        environment=describe_environment(device, threads=2),
        checkpoint=make_checkpoint(**({"requested": "mine", "name": "mine"} | checkpoint)),
    )


def here(gpu: Device | None = None) -> Here:
    return Here(describe_environment(), 2, {} if gpu is None else {"cuda:0": gpu})


def job(path: Path = Path("/x"), source: CheckpointSource = "embedded") -> Job:
    """What would run now."""
    return Job(
        trial=ON_GPU,
        measure=Measure(),
        checkpoint=ResolvedCheckpoint(requested="mine", name="mine", source=source, path=str(path)),
        data=ResolvedData(requested="glue/mrpc", name="glue/mrpc", source="folder", layout="glue", files={}),
        cache_dir="/x",
    )


def why_not(result: TrialResult, job: Job, here: Here) -> str | None:
    """Why the result is not taken over; None where it is."""
    reuse = choose({ON_GPU.id: result}, {ON_GPU.id: job}, here, rerun=None)
    assert bool(reuse.results) != bool(reuse.notes)
    return reuse.notes[0].removeprefix("1 finished trial will run again: ") if reuse.notes else None


def test_the_same_gpu_and_driver_keep_a_result() -> None:
    assert why_not(finished(H100), job(), here(H100)) is None


@pytest.mark.parametrize(
    ("now", "difference"),
    [
        (T4, "device was NVIDIA H100 80GB HBM3, is Tesla T4"),
        (H100.model_copy(update={"driver": "580.1"}), "driver was 570.86.15, is 580.1"),
    ],
)
def test_another_gpu_or_driver_runs_again(now: Device, difference: str) -> None:
    assert why_not(finished(H100), job(), here(now)) == difference


def test_a_result_that_ran_beside_others_runs_again_alone_and_the_other_way_round() -> None:
    beside = finished(H100).model_copy(update={"concurrent": 2})
    assert why_not(beside, job(), here(H100)) == "trials at once was 2, is 1"
    assert why_not(finished(H100), job(), replace(here(H100), jobs=2)) == "trials at once was 1, is 2"
    assert why_not(beside, job(), replace(here(H100), jobs=2)) is None


def test_what_is_not_known_of_a_gpu_is_no_difference() -> None:
    assert why_not(finished(H100), job(), here(H100.model_copy(update={"driver": None}))) is None
    assert why_not(finished(H100), job(), here()) is None


def test_a_local_checkpoint_that_changed_runs_again(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"first")
    result = finished(H100, source="local", weights_sha256=weights_sha256(tmp_path))
    assert why_not(result, job(tmp_path, "local"), here(H100)) is None
    (tmp_path / "model.safetensors").write_bytes(b"second")
    told = why_not(result, job(tmp_path, "local"), here(H100))
    assert told is not None
    assert told.startswith("checkpoint weights was a7937b64b8ca")


def test_a_data_folder_that_changed_runs_again(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / split).write_text(split)
    files = {split: (str(tmp_path / split),) for split in ("validation", "train")}
    now = job()
    now = now.model_copy(update={"data": now.data.model_copy(update={"files": files})})
    result = finished(H100).model_copy(
        update={"data": make_data(source="folder", files_sha256=files_sha256(files))}
    )
    assert why_not(result, now, here(H100)) is None
    (tmp_path / "validation").write_text("train")
    assert (why_not(result, now, here(H100)) or "").startswith("data files was ")


def test_the_digest_of_files_covers_every_part_in_order_and_is_the_old_one_for_a_single_part(
    tmp_path: Path,
) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    for part in (first, second):
        Path(part).write_text(part[-5:])
    sums = [hashlib.sha256(Path(part).read_bytes()).hexdigest() for part in (first, second)]
    single = hashlib.sha256(f"{sums[0]}  train\n".encode()).hexdigest()
    assert files_sha256({"train": (first,)}) == single
    assert (
        len({files_sha256({"train": parts}) for parts in ((first,), (first, second), (second, first))}) == 3
    )


def test_weights_are_read_once_for_all_trials_and_only_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def reading(folder: Path) -> str:
        read.append(folder)
        return "ab" * 32

    monkeypatch.setattr("harness.execution.resume.weights_sha256", reading)
    trials = [make_trial(device="cuda:0", seed=seed) for seed in range(3)]
    for source, reads in (("local", 1), ("embedded", 0)):
        read.clear()
        results = {
            trial.id: finished(H100, source=source).model_copy(update={"trial": trial}) for trial in trials
        }
        jobs = {trial.id: job(tmp_path, source).model_copy(update={"trial": trial}) for trial in trials}  # type: ignore[arg-type] # both are sources
        assert len(choose(results, jobs, here(H100), rerun=None).results) == 3
        assert len(read) == reads


def test_a_cluster_keeps_a_result_of_any_of_its_processors_and_asks_for_no_gpu_of_this_machine() -> None:
    result = finished(H100)
    assert result.environment is not None
    mine = result.environment.cpu.model
    cluster = replace(here(), processors=("Xeon", mine))
    assert why_not(result, job(), cluster) is None
    other = replace(here(), processors=("Xeon", "Ampere"))
    assert why_not(result, job(), other) == f"processor was {mine}, is Xeon or Ampere"
    assert describe_here(3, processors=("Xeon",)).gpus == {}


def test_this_machine_is_described_without_torch() -> None:
    assert describe_here(3).threads == 3
