"""A killed training continues with the state it left, and takes the same steps bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.checks.verification import contradictions
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.store.trial_folder import STATE
from harness.store.writing import write_atomic
from harness.training.proofs import continuing
from harness.training.proofs.continuing import check_states
from harness.training.resuming import State, StateFile, origin_of
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy


class KilledError(BaseException):
    """Ends a training as abruptly as a signal, within this process."""


@contextmanager
def killed_at(step: int) -> Iterator[None]:
    """End the training right before the optimizer takes this step."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook  # noqa: PLC0415

    steps = 0

    def count(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == step:
            raise KilledError

    handle = register_optimizer_step_pre_hook(count)
    try:
        with pytest.raises(KilledError):
            yield
    finally:
        handle.remove()


def resumable(job: Job, folder: Path, every: int | None) -> Job:
    measure = job.measure.model_copy(update={"checkpoint_every": every})
    return job.model_copy(update={"measure": measure, "folder": str(folder)})


def losses(result: TrialResult) -> tuple[float, ...]:
    found = result.measurement("train_step_loss")
    assert found is not None
    return tuple(found.values)


# 64 pairs: eight steps in each of two epochs.
@pytest.mark.parametrize(
    ("every", "killed", "variant"),
    [
        (3, 12, {}),
        (8, 10, {"padding": "unpadded", "last_layer": "cls"}),
        (5, 8, {"model": "distilbert", "train": {"gradient_checkpointing": True}}),
    ],
    ids=["within the second epoch", "at the end of an epoch", "with masks of torch"],
)
def test_the_losses_and_the_predictions_equal_those_of_an_uninterrupted_training(
    make_job: MakeJob, tmp_path: Path, every: int, killed: int, variant: dict[str, Any]
) -> None:
    job = make_job(engine="loop", **variant)
    whole = run_trial(job, quietly)
    with killed_at(killed):
        run_trial(resumable(job, tmp_path, every), quietly)
    continued = run_trial(resumable(job, tmp_path, every), quietly)
    assert len(losses(whole)) == 16
    assert losses(continued) == losses(whole)
    assert continued.predictions == whole.predictions
    assert continued.epochs == whole.epochs
    assert continued.observed == whole.observed
    assert contradictions(continued, job.measure.warmup_steps) == contradictions(
        whole, job.measure.warmup_steps
    )


def test_no_speed_is_taken_of_a_training_that_continued_and_its_result_tells_why(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = resumable(make_job(engine="loop"), tmp_path, 3)
    with killed_at(8):
        run_trial(job, quietly)
    result = run_trial(job, quietly)
    told = "it was interrupted and continued: its speed and its peak memory could not be measured"
    assert told in result.notes
    for metric in (
        *("train_seconds", "train_step_seconds", "train_real_tokens_per_second", "energy_joules"),
        # Of the last part alone: one of two evaluations, and not the memory of the longest batch.
        *("evaluate_seconds", "peak_memory_host_bytes", "peak_memory_allocated_bytes"),
    ):
        found = result.measurement(metric)
        assert found is not None
        assert found.values == ()
        assert found.reason == "the trial was interrupted and continued after step 6, in another process"
    assert result.probe is None


def test_a_training_that_continued_has_the_speed_of_its_window(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(engine="loop", train={"num_train_epochs": 3, "per_device_train_batch_size": 2})
    timed = run_trial(job.model_copy(update={"purpose": "time"}), quietly)
    job = resumable(job.model_copy(update={"timed": timed, "concurrent": 2}), tmp_path, 3)
    with killed_at(40):
        run_trial(job, quietly)
    result = job.completed_by(run_trial(job, quietly))
    assert "it was interrupted and continued: its peak memory could not be measured" in result.notes
    assert result.measurement("train_step_seconds") == timed.measurement("train_step_seconds")
    assert result.value("peak_memory_host_bytes") is None
    assert contradictions(result, job.measure.warmup_steps) == ()


def test_writing_the_state_changes_nothing_and_is_outside_of_the_timed_steps(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time  # noqa: PLC0415

    written = []

    def slowly(path: Path, data: Any) -> None:
        time.sleep(1.0)
        written.append(path)
        write_atomic(path, data)

    monkeypatch.setattr("harness.training.resuming.write_atomic", slowly)
    job = make_job(engine="loop")
    kept, plain = run_trial(resumable(job, tmp_path, 3), quietly), run_trial(job, quietly)
    assert losses(kept) == losses(plain)
    assert written == [tmp_path / STATE] * 5
    total = kept.value("train_seconds")
    writing = kept.value("write_seconds")
    assert total is not None
    assert writing is not None
    assert writing > 5.0
    assert all(seconds < 1.0 for seconds in kept.measurement("train_step_seconds").values)  # type: ignore[union-attr]


def test_the_load_of_the_machine_decides_no_step_and_its_packages_and_kernels_do(
    make_job: MakeJob, tmp_path: Path
) -> None:
    result = run_trial(make_job(engine="loop", train={"max_steps": 1}, warmup_steps=0), quietly)
    environment = result.environment
    assert environment is not None

    def origin(**changes: Any) -> str:
        changed = environment.model_copy(update=changes)
        return origin_of(result.model_copy(update={"environment": changed}))

    assert origin(load_average=99.0, variables={"TMPDIR": "/other"}) == origin_of(result)
    assert origin(threads=99) != origin_of(result)
    # Other kernels round otherwise.
    assert origin(variables={**environment.variables, "ATEN_CPU_CAPABILITY": "default"}) != origin_of(result)
    assert origin(packages={**environment.packages, "torch": "9.9"}) != origin_of(result)


@pytest.mark.parametrize("change", ["a bit", "another seed", "nothing was kept"])
def test_a_state_that_is_damaged_or_of_another_training_does_not_count(
    make_job: MakeJob, tmp_path: Path, change: str
) -> None:
    job = resumable(make_job(engine="loop"), tmp_path, 3)
    with killed_at(2 if change == "nothing was kept" else 5):
        run_trial(job, quietly)
    if change == "a bit":
        content = bytearray((tmp_path / STATE).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / STATE).write_bytes(content)
    if change == "another seed":
        job = resumable(make_job(engine="loop", seed=1), tmp_path, 3)
    result = run_trial(job, quietly)
    assert losses(result) == losses(run_trial(job.model_copy(update={"folder": None}), quietly))
    assert result.value("train_seconds") is not None
    told = any("began at its first step" in note for note in result.notes)
    assert told is (change != "nothing was kept")


def of_a_trial(found: TrialResult, code: Path) -> str:
    return origin_of(found.model_copy(update={"data": found.checkpoint}), code)


def of_the_surface(found: TrialResult, code: Path) -> str:
    return origin_of(found, code / "none")


def read_whole(file: StateFile) -> State | None:
    content = file.path.read_bytes()
    return {"step": 7} if file.origin.encode() in content else None


def read_of_any_origin(file: StateFile) -> State | None:
    return {"step": 7} if b"step" in file.path.read_bytes() else None


@pytest.mark.parametrize(
    ("place", "name", "spoilt", "expected"),
    [
        (continuing, "origin_of", of_a_trial, "a state counts for another data"),
        (continuing, "origin_of", of_the_surface, "a state counts for other code"),
        (StateFile, "read", read_of_any_origin, "a state of another origin counts"),
        (StateFile, "read", read_whole, "a damaged state counts"),
    ],
)
def test_a_state_that_counts_for_another_training_is_named(
    place: Any, name: str, spoilt: Any, expected: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_trial(make_job(engine="loop", train={"max_steps": 1}, warmup_steps=0), quietly)
    assert check_states(result).passed
    monkeypatch.setattr(place, name, spoilt)
    assert expected in check_states(result).found
