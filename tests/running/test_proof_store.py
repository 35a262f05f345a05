"""Proofs of earlier runs count for a later one where nothing that could change them has changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harness.model.assets import CheckpointDigests, ResolvedCheckpoint, ResolvedData
from harness.model.environment import Device
from harness.model.job import Job
from harness.model.proof import Parity
from harness.model.results import Report, TrialResult
from harness.model.suite import Measure
from harness.model.values import Compile
from harness.output.builders.report import report_document
from harness.output.formats.known_formats import render
from harness.running.proof_store import ProofStore, conditions
from harness.running.proving import trainings_at_once
from tests.factories import make_result, make_trial
from tests.running.fakes import Watcher, fake_suite, run_fake

MATRIX = {
    "checkpoint": ("bert-base-uncased",),
    "padding": ("static", "dynamic", "bucketed", "unpadded"),
    "device": ("cpu",),
    "seed": (0,),
}
RUNNER = "tests.running.runners:proving"
DIGESTS = CheckpointDigests(weights="a" * 64, config="b" * 64, tokenizer="c" * 64)


def prove(reports: Path, **options: Any) -> tuple[Report, list[str]]:
    watcher = Watcher()
    fixed: dict[str, Any] = {"parity": True, "fresh": True}
    run = run_fake(fake_suite(matrix=MATRIX), reports, "proving", watcher, **(fixed | options))
    return run.report, watcher.notes


def reused(report: Report) -> list[str]:
    proofs = (*report.proofs, *report.training_proofs)
    return [str(proof.trial.padding) for proof in proofs if proof.reused]


def job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "trial": make_trial(),
        "purpose": "prove",
        "measure": Measure(),
        "checkpoint": ResolvedCheckpoint(
            requested="mine", name="mine", source="local", path="/x", digests=DIGESTS
        ),
        "data": ResolvedData(
            requested="own", name="own", source="folder", layout="files", files={}, files_sha256="d" * 64
        ),
        "cache_dir": "/x",
    }
    return Job(**(fields | changes))


def proof(of: Job, apart: float = 0.0) -> TrialResult:
    parity = Parity(
        examples=2, largest_logit_difference=apart, relative_gradient_error=0.0, flipped_predictions=0
    )
    return make_result(of.trial).model_copy(update={"parity": parity})


def found(store: ProofStore, of: Job) -> TrialResult | None:
    return store.find({"any": of}).get("any")


def test_a_second_run_takes_over_the_proofs_that_passed_and_its_report_tells(tmp_path: Path) -> None:
    first, _ = prove(tmp_path)
    second, notes = prove(tmp_path)
    assert reused(first) == []
    assert reused(second) == ["dynamic", "unpadded"] * 2
    for before, after in zip(first.proofs, second.proofs, strict=True):
        if after.reused:
            assert after == before.model_copy(update={"reused": True})
    assert any(note.startswith("4 proofs of ") and "earlier runs" in note for note in notes)
    assert "proving that 2 variants compute the plain function; --no-parity leaves it out" in notes
    text = render(report_document(second), "markdown")
    day = f"{first.proofs[1].started:%Y-%m-%d}"
    assert f"4 of 8 proofs are of earlier runs, from {day} on" in text
    assert "of earlier runs" not in render(report_document(first), "markdown")


def test_a_run_that_saves_its_models_takes_over_the_same_proofs(tmp_path: Path) -> None:
    prove(tmp_path)
    report, _ = prove(tmp_path, save_models=tmp_path / "models")
    assert set(reused(report)) >= {"dynamic", "unpadded"}


def test_all_of_a_run_again_proves_again(tmp_path: Path) -> None:
    prove(tmp_path)
    again, _ = prove(tmp_path, rerun="all", fresh=False)
    assert reused(again) == []


def test_a_resumed_run_keeps_what_it_took_over(tmp_path: Path) -> None:
    prove(tmp_path)
    prove(tmp_path)
    newest = max((tmp_path / "fake").glob("*-*"))
    (newest / "report.json").unlink()
    again, notes = prove(tmp_path, fresh=False)
    assert reused(again) == ["dynamic", "unpadded"] * 2
    assert any(note.startswith("4 proofs of ") for note in notes)


def test_another_runner_proves_for_itself(tmp_path: Path) -> None:
    prove(tmp_path)
    report = run_fake(fake_suite(matrix=MATRIX), tmp_path, "timed", parity=True, fresh=True).report
    assert reused(report) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"trial": make_trial(precision="bf16")},
        {"purpose": "prove_training"},
        {"measure": Measure(threads=1)},
        {"checkpoint": job().checkpoint.model_copy(update={"digests": None})},
        *(
            {
                "checkpoint": job().checkpoint.model_copy(
                    update={"digests": DIGESTS.model_copy(update={part: "e" * 64})}
                )
            }
            for part in ("weights", "config", "tokenizer")
        ),
        {"data": job().data.model_copy(update={"files_sha256": "e" * 64})},
        {"data": job().data.model_copy(update={"files_sha256": None})},
        {"allow_weights": ("classifier.*",)},
    ],
    ids=str,
)
def test_a_proof_of_another_job_is_none(changes: dict[str, Any], tmp_path: Path) -> None:
    store = ProofStore(tmp_path, lambda: "same")
    assert store.keep([(job(), proof(job()))]) is None
    assert found(store, job()) == proof(job()).model_copy(update={"reused": True})
    assert store.ids() == {make_trial().id}
    assert found(store, job(**changes)) is None


def test_a_proof_made_under_other_conditions_is_none(tmp_path: Path) -> None:
    ProofStore(tmp_path, lambda: "then").keep([(job(), proof(job()))])
    now = ProofStore(tmp_path, lambda: "now")
    assert found(now, job()) is None
    assert now.ids() == frozenset()


def test_a_proof_during_which_the_code_changed_is_not_stored(tmp_path: Path) -> None:
    taken = iter(["before", "after"])
    store = ProofStore(tmp_path, lambda: next(taken))
    assert "changed while they were made" in str(store.keep([(job(), proof(job()))]))
    assert list(tmp_path.iterdir()) == []


def test_a_proof_that_fails_is_not_stored(tmp_path: Path) -> None:
    store = ProofStore(tmp_path, lambda: "same")
    assert store.keep([(job(), proof(job(), apart=1.0))]) is None
    assert found(store, job()) is None


@pytest.mark.parametrize(
    "trial", [make_trial(compile=Compile(mode="default")), make_trial(attention_kernel="org/name")], ids=str
)
def test_what_depends_on_a_compiler_or_a_kernel_of_the_hub_is_proved_each_time(
    trial: Any, tmp_path: Path
) -> None:
    store = ProofStore(tmp_path, lambda: "same")
    assert store.keep([(job(trial=trial), proof(job(trial=trial)))]) is None
    assert found(store, job(trial=trial)) is None


def _tear(file: Path, _: pytest.MonkeyPatch) -> None:
    file.write_bytes(file.read_bytes()[:-9])


def _edit(file: Path, _: pytest.MonkeyPatch) -> None:
    file.write_text(file.read_text().replace('"examples": 2', '"examples": 3'))


def _give_away(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)


@pytest.mark.parametrize("damage", [_tear, _edit, _give_away])
def test_a_torn_or_edited_proof_or_that_of_another_user_is_not_used(
    damage: Callable[[Path, pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ProofStore(tmp_path, lambda: "same")
    store.keep([(job(), proof(job()))])
    (file,) = tmp_path.glob("*/*/*/result.json")
    damage(file, monkeypatch)
    assert found(store, job()) is None


def test_a_cache_that_cannot_be_written_costs_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "proofs").write_text("a file")
    store = ProofStore(tmp_path / "proofs", lambda: "same")
    assert "not kept for later runs" in str(store.keep([(job(), proof(job()))]))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere /proc is a place like any other")
def test_a_cache_without_a_place_costs_one_line_that_does_not_ask_to_run_again() -> None:
    told = ProofStore(Path("/proc/harness"), lambda: "same").keep([(job(), proof(job()))])
    why = "cannot create the folder /proc/harness: No such file or directory"
    assert told == f"proofs are not kept for later runs: {why}"


def test_proofs_of_old_code_are_removed(tmp_path: Path) -> None:
    for at in range(20):
        ProofStore(tmp_path, partial("code {}".format, at)).keep([(job(), proof(job()))])
        os.utime(tmp_path / f"code {at}", (at, at))
    assert {folder.name for folder in tmp_path.iterdir()} == {f"code {at}" for at in range(4, 20)}


def test_conditions_change_with_variables_libraries_packages_and_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = conditions(RUNNER)
    monkeypatch.setenv("TERM", "other")
    monkeypatch.chdir(tmp_path)
    assert conditions(RUNNER) == before
    seen = [before]

    def changed() -> bool:
        seen.append(conditions(RUNNER))
        return seen.count(seen[-1]) == 1

    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert changed()
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "thing-1.0.dist-info").mkdir()
    assert changed()
    # One of the libraries that train, not installed with the others.
    module = tmp_path / "kernels" / "__init__.py"
    module.parent.mkdir()
    module.write_text("one = 1\n")
    assert changed()
    module.write_text("one = 2\n")
    os.utime(module, (1, 1))
    assert changed()
    # Left by a package that was removed by hand.
    (tmp_path / "dangling.pth").symlink_to(tmp_path / "gone")
    assert changed()
    for name in ("sitecustomize.py", "patches.pth"):
        (tmp_path / name).write_text("import kernels\n")
        assert changed()
        (tmp_path / name).write_text("import numbers\n")
        assert changed()
    assert conditions("harness.training.run_trial:run_trial") not in seen
    assert conditions("no.such.module:run") not in seen


def test_proofs_of_training_run_at_once_as_cores_and_memory_allow() -> None:
    assert trainings_at_once([job()], 2, 64e9) == 2
    assert trainings_at_once([job()], 8, 4.1 * 2**30) == 4
    assert trainings_at_once([job()], 8, 0.0) == 1


def test_each_rank_of_a_proof_is_a_process_with_its_own_core_and_memory() -> None:
    gpus = {f"cuda:{at}": Device(kind="cuda", name="some GPU", memory_bytes=80 * 2**30) for at in range(2)}
    on_two = job(trial=make_trial(device="cuda:0", engine="loop", world_size=2))
    assert trainings_at_once([on_two], 8, 1e12, gpus) == 4
    assert trainings_at_once([on_two], 64, 24.1 * 2**30, gpus) == 3
    assert trainings_at_once([on_two], 64, 1e12, {"cuda:0": gpus["cuda:0"]}) == 1
    on_cpu = job(trial=make_trial(engine="loop", world_size=2))
    assert trainings_at_once([on_cpu], 8, 1e12) == 4
    assert trainings_at_once([on_cpu], 64, 6.1 * 2**30) == 3


def test_proofs_of_training_share_the_memory_of_a_gpu_that_is_known() -> None:
    gpus = {"cuda:0": Device(kind="cuda", name="some GPU", memory_bytes=80 * 2**30)}
    on_gpu = job(trial=make_trial(device="cuda:0"))
    assert trainings_at_once([on_gpu], 64, 1e12, gpus) == 10
    assert trainings_at_once([on_gpu], 4, 1e12, gpus) == 4
    assert trainings_at_once([on_gpu], 64, 8.1 * 2**30, gpus) == 2
    assert trainings_at_once([on_gpu, job()], 8, 1e12, gpus) == 4
    assert trainings_at_once([on_gpu], 64, 1e12) == 1
    assert trainings_at_once([job(trial=make_trial(device="mps"))], 64, 1e12, gpus) == 1
