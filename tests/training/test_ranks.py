"""Trials on two CPU processes: the same training as on one, and a rank that dies in the middle of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed

from harness.analysis.naming import axes
from harness.api import RunOptions, run_suite
from harness.assets.embedded import checkpoint_folder
from harness.assets.places import Note
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.job import RENDEZVOUS, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.suite import Measure
from harness.model.tasks import Task
from harness.model.values import Padding, PaddingStrategy
from harness.running.preflight import RealAssets
from harness.running.seams import Seams
from harness.training import ranks
from harness.training.batching import plan_epoch
from harness.training.proofs.reference_batches import share_out
from harness.training.run_trial import run_trial
from tests.factories import make_suite
from tests.running.fakes import REPOSITORY, wait_for_none_in
from tests.training.conftest import MakeJob

RUNNERS = "tests.training.ranked_runners"
PADDINGS: list[PaddingStrategy] = ["static", "dynamic", "bucketed", "unpadded"]


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=60),
    size=st.integers(1, 9),
    ranks=st.integers(1, 5),
    strategy=st.sampled_from(PADDINGS),
)
def test_ranks_share_the_batches_of_one_device_in_its_order(
    lengths: list[int], size: int, ranks: int, strategy: PaddingStrategy
) -> None:
    given_lengths, options = np.array(lengths), {"longest": 64, "seed": 3, "epoch": 1}
    alone = plan_epoch(given_lengths, size, Padding(strategy=strategy), **options)
    together = plan_epoch(given_lengths, size, Padding(strategy=strategy), **options, ranks=ranks)
    assert [batch.rows.tolist() for batch in together] == [batch.rows.tolist() for batch in alone]
    for one, shared in zip(alone, together, strict=True):
        shares = [shared.share_of(rank).tolist() for rank in range(ranks)]
        assert shares == share_out(one.rows.tolist(), ranks)
        assert [row for share in shares for row in share] == one.rows.tolist()
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert shared.real_tokens == one.real_tokens
        if strategy != "unpadded":
            assert shared.computed_tokens <= one.computed_tokens


def test_a_trial_on_several_devices_needs_the_processes_of_a_worker(make_job: MakeJob) -> None:
    with pytest.raises(TrialStoppedError, match="world_size 2 needs as many processes"):
        run_trial(make_job(engine="loop", world_size=2), lambda _progress: None)


class _Assets:
    """A checkpoint in a folder, and the embedded data."""

    def checkpoint(self, name: str, revision: str | None, note: Note) -> ResolvedCheckpoint:
        return RealAssets("auto").checkpoint(name, revision, note)

    def data(self, task: Task, note: Note) -> ResolvedData:
        return RealAssets("embedded").data(task, note)


def _train(folder: Path, runner: str, *variants: dict[str, Any]) -> list[tuple[TrialResult, Path]]:
    """Train without dropout on real processes; return the result and the folder of each variant's trial.

    All start from one import of the heavy libraries.
    """
    checkpoint = folder / "still"
    shutil.copytree(checkpoint_folder("embedded/bert-uncased"), checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (checkpoint / "config.json").write_text(json.dumps(config | still))
    fixed = {"checkpoint": str(checkpoint), "engine": "loop", "device": "cpu", "seed": 0}
    run = run_suite(
        make_suite(
            matrix={axis: (value,) for axis, value in (fixed | variants[0]).items()},
            include=variants[1:],
            measure=Measure(warmup_steps=2, threads=2, roofline=False),
        ),
        RunOptions(reports=folder / "reports", runner=f"{RUNNERS}:{runner}", parity=False),
        seams=Seams(assets=lambda _mode: _Assets()),
    )
    return [(result, run.directory / "trials" / result.trial.id) for result in run.report.results]


# For each, all settings of one rank; two ranks take half of its batch each.
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "accumulated": {
        "padding": "dynamic",
        "train.per_device_train_batch_size": 8,
        "train.gradient_accumulation_steps": 3,
        "train.max_grad_norm": 1.0,
        "train.max_steps": 10,
    },
    # 917 rows in batches of 32: one of each epoch has 21, which two ranks share unequally.
    "bucketed": {
        "padding": "bucketed",
        "train.per_device_train_batch_size": 32,
        "train.gradient_accumulation_steps": 1,
        "train.max_grad_norm": 0.0,
        "train.max_steps": 31,
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], tuple[TrialResult, Path]]:
    """The result and the folder of the training with each of the settings on one rank and on two."""
    variants = {
        (name, ranks): {
            **settings,
            "train.per_device_train_batch_size": settings["train.per_device_train_batch_size"] // ranks,
            "world_size": ranks,
        }
        for name, settings in SETTINGS.items()
        for ranks in (1, 2)
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(REPOSITORY))
        done = _train(tmp_path_factory.mktemp("trained"), "recorded", *variants.values())
    return dict(zip(variants, done, strict=True))


@pytest.fixture(autouse=True)
def _imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


@pytest.mark.heavy
@pytest.mark.parametrize("settings", SETTINGS)
def test_two_ranks_take_the_steps_of_one_device_at_the_same_global_batch(
    settings: str, trained: dict[tuple[str, int], tuple[TrialResult, Path]]
) -> None:
    (alone, there), (together, here) = trained[settings, 1], trained[settings, 2]
    assert (alone.trial.world_size, together.trial.world_size) == (1, 2)
    assert (alone.status, together.status) == ("completed", "completed"), together.reason
    one, two = (json.loads((place / "steps.json").read_text()) for place in (there, here))
    assert len(one["loss"]) == len(two["loss"]) >= 30
    assert len(one["norm"]) == len(two["norm"])
    assert np.abs(np.subtract(one["loss"], two["loss"])).max() < 1e-4
    if one["norm"]:
        assert np.abs(np.divide(two["norm"], one["norm"]) - 1).max() < 1e-3
    assert alone.trial.global_batch_size == together.trial.global_batch_size
    assert alone.predictions is not None
    assert together.predictions is not None
    assert together.predictions.example_ids == alone.predictions.example_ids
    for epoch, other in zip(alone.epochs, together.epochs, strict=True):
        assert epoch.train_loss == pytest.approx(other.train_loss, abs=1e-5)
    for metric in ("train_real_tokens", "model_flops"):
        assert together.value(metric) == alone.value(metric)
    rate, of_one = (
        together.value(f"train_real_tokens_per_second{name}") or 0.0 for name in ("", "_per_device")
    )
    assert of_one == pytest.approx(rate / 2)
    assert alone.measurement("train_real_tokens_per_second_per_device") is None
    # Each rank is a process with torch in it.
    one_rank, both = (each.value("peak_memory_host_bytes") or 0.0 for each in (alone, together))
    assert both > 1.5 * one_rank


@pytest.mark.heavy
def test_a_rank_killed_in_training_ends_its_trial_and_is_named(tmp_path: Path) -> None:
    variant = {"padding": "dynamic", "world_size": 2, "train.per_device_train_batch_size": 4}
    ((result, folder),) = _train(tmp_path, "dying", {**variant, "train.max_steps": 5})
    assert (result.status, result.phase) == ("killed", "train")
    assert result.reason == "rank 1 of 2 was killed by SIGKILL"
    assert wait_for_none_in(folder) == []


def test_each_rank_takes_the_next_device(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = make_job(engine="loop", world_size=3).trial
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv(RENDEZVOUS, "somewhere")
    found = []
    for rank, device in ((0, "cuda:1"), (2, "cuda:1"), (2, "cpu")):
        monkeypatch.setenv("RANK", str(rank))
        found.append(ranks.device_of(trial.model_copy(update={"device": device})))
    assert found == ["cuda:1", "cuda:3", "cpu"]


def test_the_number_of_devices_is_an_axis_that_leaves_ids_of_one_device_alone(make_job: MakeJob) -> None:
    alone, together = (make_job(engine="loop", world_size=size).trial for size in (1, 2))
    assert "world_size" not in alone.model_dump()
    assert alone.variant_id != together.variant_id
    assert (axes(alone)["world_size"], axes(together)["world_size"]) == ("1", "2")
    assert (together.batch_size, together.global_batch_size, together.devices) == (16, 16, ("cpu",))
    two = together.model_copy(update={"device": "cuda:1"})
    assert two.devices == ("cuda:1", "cuda:2")


@pytest.mark.cuda
def test_a_process_of_its_own_group_sums_on_cuda_and_waits_on_the_host(tmp_path: Path) -> None:
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl",
        store=distributed.FileStore(str(tmp_path / "rendezvous"), 1),  # type: ignore[attr-defined] # torch leaves it so
        rank=0,
        world_size=1,
    )
    try:
        gradient = torch.arange(6.0, device="cuda")
        ranks.add_up(gradient)
        assert gradient.tolist() == [0, 1, 2, 3, 4, 5]
        assert ranks.gather("found") == ["found"]
        ranks.check_agreement([gradient])
        ranks.wait()
    finally:
        distributed.destroy_process_group()
