"""Which field keeps a finished result from standing in a run that goes on."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.assets.digest import files_sha256
from harness.machine.facts import describe_environment
from harness.model.assets import (
    CheckpointDigests,
    CheckpointSource,
    DataSource,
    ResolvedCheckpoint,
    ResolvedData,
)
from harness.model.environment import Device
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.model.status import STATUSES, StatusName
from harness.model.suite import Measure
from harness.running.options import Rerun
from harness.running.resume import Here, choose, describe_here
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


@pytest.mark.parametrize("name", ["NVIDIA_TF32_OVERRIDE", "ONEDNN_MAX_CPU_ISA"])
def test_a_variable_that_changes_how_libraries_compute_runs_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = finished(H100)
    monkeypatch.setenv(name, "AVX2")
    assert why_not(before, job(), here(H100)) == f"{name} was None, is AVX2"
    assert why_not(finished(H100), job(), here(H100)) is None
    # The nodes of a cluster may set it themselves.
    model = before.environment.cpu.model if before.environment is not None else ""
    assert why_not(before, job(), replace(here(H100), processors=(model,))) is None


def test_a_result_that_ran_beside_others_runs_again_alone_and_the_other_way_round() -> None:
    beside = finished(H100).model_copy(update={"concurrent": 2})
    assert why_not(beside, job(), here(H100)) == "trials at once was 2, is 1"
    assert why_not(finished(H100), job(), replace(here(H100), jobs=2)) == "trials at once was 1, is 2"
    assert why_not(beside, job(), replace(here(H100), jobs=2)) is None


def test_what_is_not_known_of_a_gpu_is_no_difference() -> None:
    assert why_not(finished(H100), job(), here(H100.model_copy(update={"driver": None}))) is None
    assert why_not(finished(H100), job(), here()) is None


DIGESTS = CheckpointDigests(weights="a" * 64, config="b" * 64, tokenizer="c" * 64)
RECORDED = {f"{part}_sha256": total for part, total in DIGESTS}


def with_digests(source: CheckpointSource = "local", **changes: str) -> Job:
    """What would run now, on a checkpoint with these digests."""
    digests = DIGESTS.model_copy(update=changes)
    found = job(source=source)
    return found.model_copy(update={"checkpoint": found.checkpoint.model_copy(update={"digests": digests})})


@pytest.mark.parametrize("source", ["local", "package", "embedded", "hub cache"])
@pytest.mark.parametrize("part", ["weights", "config", "tokenizer"])
def test_a_checkpoint_whose_files_changed_runs_again(part: str, source: CheckpointSource) -> None:
    result = finished(H100, source=source, **RECORDED)
    assert why_not(result, with_digests(source), here(H100)) is None
    changed = with_digests(source, **{part: "0" * 64})
    assert why_not(result, changed, here(H100)) == (
        f"checkpoint {part} was {getattr(DIGESTS, part)}, is {'0' * 64}"
    )


def test_a_result_from_before_config_and_tokenizer_were_recorded_is_not_kept_for_a_folder() -> None:
    older = {"weights_sha256": DIGESTS.weights}
    assert why_not(finished(H100, source="local", **older), with_digests(), here(H100)) == (
        "the config and the tokenizer of its checkpoint were not recorded"
    )
    packaged = finished(H100, source="package", **older)
    assert why_not(packaged, with_digests("package"), here(H100)) is None


def test_a_result_with_weights_that_are_no_longer_allowed_runs_again() -> None:
    layer = "bert.encoder.layer.1.output.dense.bias"
    result = finished(H100, allowed_weights=(layer,))
    allowing = job().model_copy(update={"allow_weights": ("bert.encoder.layer.1.*",)})
    assert why_not(result, allowing, here(H100)) is None
    assert why_not(result, job(), here(H100)) == f"allow_weights does not name {layer} any more"


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


@pytest.mark.parametrize("source", ["folder", "embedded", "hub cache"])
def test_data_whose_files_changed_run_again(source: DataSource) -> None:
    then, now = "1" * 64, job()
    found = {"source": source, "files_sha256": then}
    now = now.model_copy(update={"data": now.data.model_copy(update=found)})
    cases = {
        then: None,
        "2" * 64: f"data files was {'2' * 64}, is {then}",
        # Older reports have it for folders alone.
        None: "the files of its data set were not recorded" if source == "folder" else None,
    }
    for recorded, difference in cases.items():
        data = make_data(source=source, files_sha256=recorded)
        assert why_not(finished(H100).model_copy(update={"data": data}), now, here(H100)) == difference


def _with_environment(**changes: Any) -> TrialResult:
    before = finished(H100)
    assert before.environment is not None
    return before.model_copy(update={"environment": before.environment.model_copy(update=changes)})


def _with_packages(**changes: str | None) -> TrialResult:
    environment = finished(H100).environment
    assert environment is not None
    packages = {name: version for name, version in (environment.packages | changes).items() if version}
    return _with_environment(packages=packages)


def _other_processor() -> TrialResult:
    environment = finished(H100).environment
    assert environment is not None
    return _with_environment(cpu=environment.cpu.model_copy(update={"model": "Another CPU"}))


def _with_data(**changes: Any) -> TrialResult:
    return finished(H100).model_copy(update={"data": make_data(**changes)})


@pytest.mark.parametrize(
    ("result", "named"),
    [
        (_with_environment(python="3.9.1"), "python was 3.9.1, is "),
        (_with_packages(numpy="1.0.0"), "numpy was 1.0.0, is "),
        (_with_packages(numpy=None), "numpy was None, is "),
        (_with_packages(aaa="1.0"), "aaa was 1.0, is None"),
        (_other_processor(), "processor was Another CPU, is "),
        (_with_environment(threads=1), "threads was 1, is 2"),
        (finished(H100, name="another"), "checkpoint was another, is mine"),
        (finished(H100, source="local"), "checkpoint source was local, is embedded"),
        (finished(H100, revision="ab" * 20), f"checkpoint revision was {'ab' * 20}, is None"),
        (_with_data(name="glue/rte"), "data was glue/rte, is glue/mrpc"),
        (_with_data(source="hub"), "data source was hub, is folder"),
        (_with_data(revision="ab" * 20), f"data revision was {'ab' * 20}, is None"),
        (finished(H100).model_copy(update={"environment": None}), "its environment is not known"),
    ],
)
def test_any_other_fact_about_a_result_runs_again(result: TrialResult, named: str) -> None:
    assert (why_not(result, job(), here(H100)) or "").startswith(named)


@pytest.mark.parametrize("rerun", [None, "failed", "all"])
@pytest.mark.parametrize("status", STATUSES)
def test_a_result_is_taken_over_by_its_status_and_what_was_asked_for(
    status: StatusName, rerun: Rerun | None
) -> None:
    whole = finished(H100)
    ended = {} if status == "completed" else {"reason": "it ended", "phase": "train"}
    result = whole.model_copy(update={"status": status} | ended)
    found = choose({ON_GPU.id: result}, {ON_GPU.id: job()}, here(H100), rerun=rerun)
    kept = rerun != "all" if status == "completed" else rerun is None and not STATUSES[status].rerun
    assert found.results == ({ON_GPU.id: result} if kept else {})
    assert found.notes == ()


def test_results_that_run_again_are_counted_by_reason_and_the_others_kept() -> None:
    trials = [make_trial(device="cuda:0", seed=seed) for seed in range(4)]
    older = _with_environment(python="3.9.1")
    results = {
        trial.id: (finished(H100) if place == 2 else older).model_copy(update={"trial": trial})
        for place, trial in enumerate(trials)
    }
    jobs = {trial.id: job().model_copy(update={"trial": trial}) for trial in trials}
    found = choose(results, jobs, here(H100), rerun=None)
    assert [*found.results] == [trials[2].id]
    (note,) = found.notes
    assert note.startswith("3 finished trials will run again: python was 3.9.1, is ")
    # A trial that cannot run here at the moment is kept by its environment alone.
    assert choose(results, {}, here(H100), rerun=None).results.keys() == found.results.keys()


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
