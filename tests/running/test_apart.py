"""Speed and quality measured apart: windows one at a time, then several trainings at once."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.comparison.comparing import compare
from harness.analysis.sharing import quality_of, trained_by
from harness.analysis.summary import summarize
from harness.api import Run, render_files, run_suite
from harness.errors import InvalidInputError
from harness.machine.facts import physical_cores
from harness.model.arguments import Train
from harness.model.environment import Device
from harness.model.measurements import measured
from harness.model.observations import Apart
from harness.model.results import TrialResult
from harness.model.suite import Measure, Suite
from harness.model.values import ORDER_KEEPING, Adapter, PaddingStrategy
from harness.running.apart import Capacity, jobs_that_fit
from harness.running.options import RunOptions
from harness.running.seams import Seams
from harness.running.sides.two_sides import run_along
from harness.store.run_directory import open_run
from tests.factories import make_environment, make_predictions, make_result, make_trial
from tests.running.fakes import RUNNERS, Watcher, fake_suite, run_fake

STRATEGIES: tuple[PaddingStrategy, ...] = (
    "static", "dynamic", "bucketed", "unpadded", "group_by_length", "batch_rebalance",
)  # fmt: skip
APART = Measure(separate=True, warmup_steps=10)


def apart_suite(*paddings: str, seeds: tuple[int, ...] = (0, 1), **measure: Any) -> Suite:
    matrix = fake_suite(seeds).matrix | {"padding": paddings or ("dynamic",)}
    return fake_suite(matrix=matrix, measure=APART.model_copy(update=measure))


def run_apart(suite: Suite, reports: Path, watcher: Watcher | None = None, **options: Any) -> Run:
    return run_fake(suite, reports, "apart", watcher, **({"jobs": 2} | options))


def spans(results: tuple[TrialResult, ...], purpose: str) -> list[tuple[float, float]]:
    """When the processes of a purpose ran, from the notes of the fake runner."""
    found = [
        re.fullmatch(rf"{purpose} from (\S+) to (\S+), concurrent \d", note)
        for result in results
        for note in result.notes
    ]
    return sorted((float(each[1]), float(each[2])) for each in found if each is not None)


def test_windows_run_alone_and_before_trainings_that_run_at_once(tmp_path: Path) -> None:
    watcher = Watcher()
    report = run_apart(apart_suite("static", "dynamic"), tmp_path, watcher).report
    windows, trainings = spans(report.results, "time"), spans(report.results, "train")
    assert len(windows) == len(trainings) == 4
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(windows))
    assert windows[-1][1] <= trainings[0][0]
    assert trainings[1][0] < trainings[0][1]
    assert [trial.id for trial in watcher.begun] == [result.trial.id for result in report.results]


def test_a_row_has_the_times_of_its_window_and_the_scores_of_its_training(tmp_path: Path) -> None:
    (result,) = run_apart(apart_suite(seeds=(0,)), tmp_path).report.results
    whole = run_fake(fake_suite([0]), tmp_path, "apart").report.results[0]
    steps = result.measurement("train_step_seconds")
    assert steps is not None
    assert len(steps.values) == 4
    assert result.apart == Apart(steps=4, jobs=2, threads=max(1, physical_cores() // 2))
    assert (result.value("eval_f1"), result.predictions) == (whole.value("eval_f1"), whole.predictions)
    assert result.concurrent == 1
    assert result.environment is not None
    assert result.environment.threads == physical_cores()
    lost = result.measurement("train_seconds")
    assert lost is not None
    assert lost.reason is not None
    assert lost.reason.startswith("other trials could run during the training")


def test_a_window_that_fails_is_the_end_of_its_trial(tmp_path: Path) -> None:
    watcher = Watcher()
    report = run_apart(apart_suite(seeds=(0, 7)), tmp_path, watcher).report
    assert [(result.status, result.reason) for result in report.results] == [
        ("completed", None), ("oom", "no memory"),
    ]  # fmt: skip
    assert len(watcher.begun) == len(watcher.done) == 2
    assert "window of bert-base-uncased dynamic cpu fp32 trainer attention=auto, seed 7: oom in train" in (
        watcher.notes
    )


def test_a_resumed_run_keeps_the_windows_and_the_trainings_that_are_done(tmp_path: Path) -> None:
    suite = apart_suite("static", "dynamic")
    run = run_apart(suite, tmp_path)
    before = {result.trial.id: result for result in run.report.results}
    lost = run.report.results[-1].trial.id
    (run.directory / "report.json").unlink()
    (run.directory / "trials" / lost / "result.json").unlink()
    watcher = Watcher()
    again = run_apart(suite, tmp_path, watcher)
    assert again.directory == run.directory
    assert [trial.id for trial in watcher.begun] == [lost]
    after = {result.trial.id: result for result in again.report.results}
    assert {id_: result for id_, result in after.items() if id_ != lost} == {
        id_: result for id_, result in before.items() if id_ != lost
    }
    assert after[lost].measurement("train_step_seconds") == before[lost].measurement("train_step_seconds")
    assert open_run(run.directory).windows(before).keys() == before.keys()


def test_results_of_whole_trainings_are_not_taken_over_by_an_edited_suite(tmp_path: Path) -> None:
    run = run_fake(fake_suite([0, 1], measure=Measure(warmup_steps=10)), tmp_path, "apart")
    lost = run.brief.results[0].trial.id
    (run.directory / "report.json").unlink()
    (run.directory / "trials" / lost / "result.json").unlink()
    watcher = Watcher()
    run_apart(apart_suite(seeds=(0, 1)), tmp_path, watcher)
    assert not watcher.reused


def test_compiled_trials_are_timed_as_a_whole_and_alone(tmp_path: Path) -> None:
    alone = {"checkpoint": "bert-base-uncased", "padding": "bucketed", "compile": "default", "device": "cpu"}
    suite = apart_suite("static", "dynamic", seeds=(0,))
    suite = fake_suite(matrix=suite.matrix, measure=suite.measure, include=(alone,))
    report = run_apart(suite, tmp_path).report
    whole = [result for result in report.results if result.apart is None]
    assert [str(result.trial.compile) for result in whole] == ["default"]
    assert [result.concurrent for result in report.results] == [1, 1, 1]
    assert "concurrent 1" in whole[0].notes[0]


@pytest.mark.parametrize(
    ("measure", "options", "reason"),
    [
        (Measure(), {"jobs": "auto"}, "--jobs auto needs the peak memory"),
        (APART, {"executor": "ray"}, "measure.separate times windows on this machine"),
    ],
)
def test_what_cannot_be_measured_apart_is_refused(
    tmp_path: Path, measure: Measure, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        run_suite(fake_suite([0], measure=measure), RunOptions(reports=tmp_path, **options), seams=Seams())


def test_a_session_refuses_windows(tmp_path: Path) -> None:
    suite = apart_suite("static", "dynamic")
    options = RunOptions(assets="embedded", reports=tmp_path, parity=False, runner=f"{RUNNERS}:apart")
    with pytest.raises(InvalidInputError, match=r"measure\.separate has no place"):
        run_along(suite, b"", "padding", options, observer=Watcher(), render=lambda _report: ("", None))


def window(host: float, reserved: float | None = None, total: int | None = None) -> TrialResult:
    device = Device(kind="cuda" if total else "cpu", name="a device", memory_bytes=total)
    memory = [measured("peak_memory_host_bytes", host)]
    if reserved is not None:
        memory.append(measured("peak_memory_reserved_bytes", reserved))
    environment = make_environment(device=device)
    return make_result(make_trial()).model_copy(
        update={"measurements": tuple(memory), "environment": environment}
    )


@pytest.mark.parametrize(
    ("found", "cores", "free", "devices", "fitting"),
    [
        ([window(1e9)], 8, 1e12, 1, 8),
        ([window(1e9), window(4e9)], 8, 1e10, 1, 2),
        ([window(1e9)], 8, 1e5, 1, 1),
        ([window(1e9)], 8, 1e12, 2, 4),
        ([window(1e9, 3.4 * 2**30, 16 * 2**30)], 8, 1e12, 1, 3),
    ],
)
def test_as_many_trainings_run_at_once_as_cores_and_memory_allow(
    found: list[TrialResult], cores: int, free: float, devices: int, fitting: int
) -> None:
    assert jobs_that_fit(found, devices, Capacity(cores, lambda: free)) == fitting


ONCE: dict[str, Any] = {"quality": "once_per_function"}


def trained(result: TrialResult) -> tuple[str, bool]:
    """The padding of a trial, and whether its scores are those of another one."""
    return result.trial.padding.strategy, trained_by(result) != result.trial.id


def run_once(reports: Path, *paddings: str, runner: str = "sharing", **options: Any) -> Run:
    suite = apart_suite(*paddings, **ONCE)
    return run_fake(suite, reports, runner, **({"jobs": 2, "parity": True} | options))


def test_variants_with_the_same_batches_share_the_training_of_the_one_with_the_least_work(
    tmp_path: Path,
) -> None:
    run = run_once(tmp_path, "dynamic", "unpadded", "bucketed")
    results = run.report.results
    assert sorted(map(trained, results)) == [
        ("bucketed", False), ("bucketed", False), ("dynamic", True), ("dynamic", True),
        ("unpadded", False), ("unpadded", False),
    ]  # fmt: skip
    assert len(set(spans(results, "time"))) == 6
    own = {(each.trial.padding.strategy, each.trial.seed): each for each in results}
    for seed in (0, 1):
        shared, source = own["dynamic", seed], own["unpadded", seed]
        assert shared.predictions == source.predictions
        assert shared.epochs == source.epochs
        assert shared.value("train_real_tokens_per_second") != source.value("train_real_tokens_per_second")
        assert own["bucketed", seed].predictions != source.predictions


def test_a_variant_that_shares_a_training_is_named_where_models_are_saved(tmp_path: Path) -> None:
    watcher = Watcher()
    suite = apart_suite("dynamic", "unpadded", **ONCE)
    models = {"save_models": tmp_path / "models"}
    run = run_fake(suite, tmp_path / "reports", "sharing", watcher, jobs=2, parity=True, **models)
    (note,) = (each for each in watcher.notes if "no model to save" in each)
    shared = [each for each in run.report.results if trained_by(each) != each.trial.id]
    assert len(shared) == 2
    assert note.startswith("2 trials trained no model to save: ")
    assert all(f"{each.trial.id} has that of {trained_by(each)}" in note for each in shared)


def test_a_variant_without_a_passed_proof_trains_itself(tmp_path: Path) -> None:
    results = run_once(tmp_path, "static", "dynamic", "unpadded").report.results
    assert sorted(map(trained, results)) == [
        ("dynamic", True), ("dynamic", True), ("static", False), ("static", False),
        ("unpadded", False), ("unpadded", False),
    ]  # fmt: skip


def test_without_proofs_every_variant_trains(tmp_path: Path) -> None:
    results = run_once(tmp_path, "dynamic", "unpadded", parity=False).report.results
    assert not any(is_shared for _, is_shared in map(trained, results))


def test_variants_train_themselves_where_the_shared_training_failed(tmp_path: Path) -> None:
    results = run_once(tmp_path, "dynamic", "unpadded", runner="sharing_fails").report.results
    assert sorted((*trained(result), result.status) for result in results) == [
        ("dynamic", False, "completed"), ("dynamic", False, "completed"),
        ("unpadded", False, "failed"), ("unpadded", False, "failed"),
    ]  # fmt: skip


def test_a_shared_result_runs_again_if_its_training_was_lost(tmp_path: Path) -> None:
    run = run_once(tmp_path, "dynamic", "unpadded")
    source = next(each.trial.id for each in run.report.results if each.trial.padding.strategy == "unpadded")
    (run.directory / "report.json").unlink()
    (run.directory / "trials" / source / "result.json").unlink()
    watcher = Watcher()
    again = run_fake(
        apart_suite("dynamic", "unpadded", **ONCE), tmp_path, "sharing", watcher, jobs=2, parity=True
    )
    assert "1 trial will run again: the training shared by them is not done" in watcher.notes
    assert len(watcher.begun) == 2
    assert [trained_by(each) for each in again.report.results] == [
        trained_by(each) for each in run.report.results
    ]


def test_a_shared_result_runs_again_where_the_proofs_of_its_run_do_not_cover_it(tmp_path: Path) -> None:
    run_once(tmp_path, "dynamic", "unpadded")
    (directory,) = (tmp_path / "fake").glob("*-*")
    (directory / "report.json").unlink()
    watcher = Watcher()
    suite = apart_suite("dynamic", "unpadded", **ONCE)
    report = run_fake(suite, tmp_path, "sharing", watcher, jobs=2, parity=False).report
    assert report.proofs == ()
    assert not any(shared for _, shared in map(trained, report.results))
    assert (
        "2 trials will run again: no proof of this run shows that the training shared by them is theirs"
        in watcher.notes
    )


def test_the_comparison_of_variants_that_share_a_training_does_not_test_their_scores(tmp_path: Path) -> None:
    report = run_once(tmp_path, "dynamic", "unpadded", "bucketed").report
    rows = compare([report], by="padding", baseline="dynamic", metrics=["eval_f1", "train_loss"]).rows
    verdicts = {(row.candidate.name, row.metric): row for row in rows}
    for metric in ("eval_f1", "train_loss"):
        shared = verdicts["unpadded", metric]
        assert (shared.verdict, shared.effect, shared.p) == ("same function", None, None)
        assert shared.notes == (
            "quality not measured twice: both sides have the scores of one training of each seed",
        )
    assert verdicts["bucketed", "eval_f1"].verdict not in ("same function", "missing")
    (lacking,) = compare(
        [report], by="padding", baseline="dynamic", metrics=["eval_pearson", "eval_f1"]
    ).rows[:1]
    assert (lacking.verdict, lacking.baseline.value) == ("same function", None)
    edited = report.model_copy(
        update={
            "results": tuple(
                each.model_copy(update={"predictions": make_predictions(seed=9)})
                if each.trial.padding.strategy == "unpadded"
                else each
                for each in report.results
            )
        }
    )
    assert compare([edited], by="padding", baseline="dynamic", metrics=["eval_f1"]).rows[0].verdict != (
        "same function"
    )
    (only,) = compare([report], by="padding", baseline="dynamic", metrics=["eval_f1"]).rows[:1]
    assert only.verdict == "same function"
    for lacking_proofs in ({"proofs": ()}, {"training_proofs": report.training_proofs[:1]}):
        less = report.model_copy(update=lacking_proofs)
        (unproved,) = compare([less], by="padding", baseline="dynamic", metrics=["eval_f1"]).rows[:1]
        assert (unproved.verdict, unproved.effect) == ("not comparable", None)
        assert unproved.notes[0].endswith("but no proof shows that they compute the same function")


def test_variants_that_share_the_training_of_some_seeds_alone_have_no_verdict(tmp_path: Path) -> None:
    """As after shards are merged, of which one has the trial of one variant alone."""
    shared = run_once(tmp_path / "shared", "dynamic", "unpadded").report
    apart = run_once(tmp_path / "apart", "dynamic", "unpadded", parity=False).report
    own = {result.trial.id: result for result in apart.results}
    results = tuple(own[each.trial.id] if each.trial.seed == 0 else each for each in shared.results)
    report = shared.model_copy(update={"results": results})
    metrics = ["eval_f1", "train_real_tokens_per_second"]
    row = compare([report], by="padding", baseline="dynamic", metrics=metrics).rows[0]
    assert (row.metric, row.verdict, row.effect) == ("eval_f1", "not comparable", None)
    assert row.notes[0].startswith(
        "quality not measured twice: both sides have the scores of one training of seed 1, and of two "
        "trainings of each other seed"
    )
    page = render_files(report)[0]
    assert "quality of unpadded in 1 of 2" in page
    assert "shared quality: dynamic did not train with seed 1: its scores are those of unpadded" in page


def test_a_row_names_the_variant_that_trained(tmp_path: Path) -> None:
    report = run_once(tmp_path, "dynamic", "unpadded").report
    found = {row.label: row.trained for row in summarize(report)}
    assert found == {"dynamic": {"unpadded": (0, 1)}, "unpadded": {}}
    page = render_files(report)[0]
    assert "quality of unpadded" in page
    assert "shared quality: dynamic did not train" in page


@given(st.lists(st.tuples(st.sampled_from(STRATEGIES), st.integers(0, 2)), max_size=20))
def test_trials_share_only_what_keeps_batches_and_settings(drawn: list[tuple[PaddingStrategy, int]]) -> None:
    for (one, seed), (other, another) in itertools.pairwise(drawn):
        first, second = make_trial(one, seed), make_trial(other, another, engine="loop")
        composes_alike = one == other or {one, other} <= ORDER_KEEPING
        assert (quality_of(first).id == quality_of(second).id) == (composes_alike and seed == another)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"checkpoint": "other"},
        {"device": "cuda:0"},
        {"token_type_ids": "drop"},
        {"adapter": Adapter(kind="lora")},
        {"train": Train(learning_rate=1e-5)},
        {"train": Train(per_device_train_batch_size=4)},
    ],
)
def test_no_training_is_shared_over_other_settings(changes: dict[str, Any]) -> None:
    assert quality_of(make_trial(**changes)).id != quality_of(make_trial()).id
