"""Shards of a plan and their merge: by trial id, with their proofs, and never with a trial missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import render_files
from harness.errors import HarnessError, InvalidInputError, NotComparableError
from harness.model.environment import Git
from harness.model.quality import OwnScore, OwnScores
from harness.model.results import Report, TrialResult
from harness.model.suite import Suite
from harness.running.merging import merge_runs
from harness.running.options import RunOptions, parse_shard
from harness.store.plan_file import make_plan, shard_number, trials_of_shard
from harness.store.reading import load_report
from harness.store.run_directory import open_run
from harness.store.writing import to_json
from harness.suite.matrix import expand
from tests.factories import make_suite, make_trial
from tests.running.fakes import Watcher, fake_suite, forked, run_fake, run_line, start, write_suite

TRIALS = tuple(make_trial(seed=seed) for seed in range(12))


def padded(**changes: Any) -> Suite:
    """Twelve trials of two checkpoints and three paddings."""
    matrix = {
        "checkpoint": ("bert-base-uncased", "distilbert-base-uncased"),
        "padding": ("dynamic", "bucketed", "unpadded"),
        "device": ("cpu",),
        "seed": (0, 1),
    }
    return fake_suite(matrix=matrix, **changes)


def run_shards(suite: Suite, folder: Path, number: int, **options: Any) -> list[Path]:
    return [
        run_fake(suite, folder / f"{index}", shard=f"{index}/{number}", **options).directory
        for index in range(1, number + 1)
    ]


def merge(paths: Sequence[Path], output: Path) -> Report:
    return merge_runs(paths, output, render_files)


def timeless(result: TrialResult) -> TrialResult:
    """The result without its times."""
    environment = result.environment and result.environment.model_copy(update={"load_average": None})
    return result.model_copy(
        update={"started": None, "duration_s": 0.0, "environment": environment, "probe": None}
    )


@given(st.integers(1, 40))
def test_every_trial_is_in_one_shard_that_its_id_alone_decides(count: int) -> None:
    parts = [trials_of_shard(TRIALS, index, count) for index in range(1, count + 1)]
    assert sorted(trial.id for part in parts for trial in part) == sorted(trial.id for trial in TRIALS)
    fewer = [trials_of_shard(TRIALS[::-2], index, count) for index in range(1, count + 1)]
    assert all(set(some) <= set(part) for some, part in zip(fewer, parts, strict=True))
    assert all(1 <= shard_number(trial.id, count) <= count for trial in TRIALS)


def test_the_plan_of_a_shard_has_the_whole_plan_and_its_digest() -> None:
    whole = make_plan(make_suite(), TRIALS, "auto")
    plans = [make_plan(make_suite(), TRIALS, "auto", (index, 3)) for index in (1, 2, 3)]
    assert [plan.whole for plan in plans] == [whole] * 3
    assert len({plan.digest for plan in (*plans, whole)}) == 4
    assert make_plan(make_suite(), TRIALS, "auto", (1, 1)).digest != whole.digest
    assert "shard" not in json.loads(to_json(whole))


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "1/2/3", "-1/2", "1/2 ", "½/2"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is no part of a run"):
        RunOptions(shard=text)
    assert parse_shard("3/3") == (3, 3)


def test_three_shards_merged_equal_the_whole_run_outside_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = padded()
    whole = run_fake(suite, tmp_path / "whole", "proving", parity=True)
    # Elsewhere its proofs are not found.
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    shards = run_shards(suite, tmp_path, 3, runner="proving", parity=True)
    assert all(load_report(path).notes[0].startswith("shard ") for path in shards)
    merged = merge(shards[::-1], tmp_path / "merged")
    expected = whole.report
    assert len(merged.results) == 12
    assert list(map(timeless, merged.results)) == list(map(timeless, expected.results))
    assert [proof.trial.id for proof in merged.proofs] == [proof.trial.id for proof in expected.proofs]
    assert list(map(timeless, merged.proofs)) == list(map(timeless, expected.proofs))
    assert list(map(timeless, merged.training_proofs)) == list(map(timeless, expected.training_proofs))
    assert merged.training_proofs
    unlike: dict[str, Any] = dict.fromkeys(("run", "created", "results", "proofs", "training_proofs"), True)
    unlike["environment"] = {"load_average"}
    assert merged.model_dump(exclude=unlike) == expected.model_dump(exclude=unlike)


def test_the_merged_folder_is_a_run_like_any_other(tmp_path: Path) -> None:
    shards = run_shards(padded(), tmp_path, 2, runner="proving", parity=True)
    report = merge(shards, tmp_path / "merged")
    assert load_report(tmp_path / "merged") == report
    run = open_run(tmp_path / "merged")
    assert run.plan == make_plan(padded(), expand(padded(), ("cpu",)), "embedded")
    found, problems = run.results()
    assert (len(found), problems) == (12, [])
    assert len(run.proofs(proof.trial.id for proof in report.proofs)) > 0
    assert (tmp_path / "merged" / "report.html").exists()
    assert all((tmp_path / "merged" / "trials" / trial.id / "log").exists() for trial in run.plan.trials)


def test_a_proof_that_fails_in_one_shard_fails_in_the_merged_run(tmp_path: Path) -> None:
    suite = fake_suite(range(6))
    shards = run_shards(suite, tmp_path, 2, runner="proving", parity=True)
    changed = load_report(shards[1])
    (proof,) = changed.proofs
    assert proof.parity is not None
    wrong = proof.parity.model_copy(update={"wrong_rows": 3})
    changed = changed.model_copy(update={"proofs": (proof.model_copy(update={"parity": wrong}),)})
    (shards[1] / "report.json").write_bytes(to_json(changed))
    for at, order in enumerate((shards, shards[::-1])):
        (found,) = merge(order, tmp_path / f"merged-{at}").proofs
        assert found.parity == wrong


def test_a_missing_shard_is_named_with_its_trials_and_nothing_is_written(tmp_path: Path) -> None:
    suite = padded()
    shards = run_shards(suite, tmp_path, 3)
    missing = load_report(shards[1])
    with pytest.raises(NotComparableError) as caught:
        merge([shards[0], shards[2]], tmp_path / "merged")
    assert caught.value.exit_code == 3
    for result in missing.results:
        assert result.trial.id in caught.value.message
    assert f"{len(missing.results)} of 12 trials missing" in caught.value.message
    assert "shard 2/3" in caught.value.message
    assert not (tmp_path / "merged").exists()


def test_a_shard_that_was_killed_is_named_and_counts_once_it_is_finished(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, range(6))
    folders = []
    for index in (1, 2):
        reports = tmp_path / str(index)
        process = start(
            suite,
            "--shard",
            f"{index}/2",
            "--reports",
            reports,
            cwd=tmp_path,
            runner="good" if index == 1 else "slow",
            FAKE_SECONDS="20",
        )
        if index == 2:
            while not list(reports.glob("*/*/trials/*/progress.jsonl")):
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=240)
        (folder,) = (path.parent for path in reports.glob("*/*/plan.json"))
        folders.append(folder)
    with pytest.raises(NotComparableError) as caught:
        merge(folders, tmp_path / "merged")
    for trial in open_run(folders[1]).plan.trials:
        assert trial.id in caught.value.message
    assert f"{folders[1]} has no report: it is running, or was stopped" in caught.value.message
    again = start(suite, "--shard", "2/2", "--reports", tmp_path / "2", cwd=tmp_path)
    _, errors = again.communicate(timeout=240)
    assert again.returncode == 0, errors
    assert len(merge(folders, tmp_path / "merged").results) == 6


def test_a_run_given_twice_counts_once_and_a_trial_with_two_results_is_refused(tmp_path: Path) -> None:
    suite = padded()
    first, second = run_shards(suite, tmp_path, 2)
    copy = shutil.copytree(first, tmp_path / "copy")
    assert len(merge([first, second, copy], tmp_path / "merged").results) == 12
    (other,) = (run_fake(suite, tmp_path / "again", shard="1/2").directory,)
    with pytest.raises(NotComparableError, match="has different results in") as caught:
        merge([first, second, other], tmp_path / "other")
    assert str(first) in caught.value.message
    assert str(other) in caught.value.message


def test_shards_of_another_plan_suite_or_version_are_refused(tmp_path: Path) -> None:
    first = run_fake(padded(), tmp_path / "1", shard="1/2").directory
    other_plan = run_fake(fake_suite(), tmp_path / "2", shard="2/2").directory
    with pytest.raises(NotComparableError, match="are not shards of one run: plan"):
        merge([first, other_plan], tmp_path / "merged")
    gated = padded(reference={"eval_accuracy": 0.8})
    other_suite = run_fake(gated, tmp_path / "3", shard="2/2").directory
    with pytest.raises(NotComparableError, match="different versions of the suite fake"):
        merge([first, other_suite], tmp_path / "merged")
    plan = json.loads((other_suite / "plan.json").read_text())
    (other_suite / "plan.json").write_text(json.dumps(plan | {"harness_version": "9.9"}))
    with pytest.raises(NotComparableError, match=r"harness version 0\.1\.0 against 9\.9"):
        merge([first, other_suite], tmp_path / "merged")


@pytest.mark.parametrize("change", ["digest", "trials", "index"])
def test_a_plan_whose_shard_was_edited_is_refused(tmp_path: Path, change: str) -> None:
    first = run_fake(padded(), tmp_path / "1", shard="1/2").directory
    plan = json.loads((first / "plan.json").read_text())
    edits = {"digest": "0" * 64, "trials": plan["shard"]["trials"][1:], "index": 2}
    plan["shard"][change] = edits[change]
    (first / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(HarnessError, match=r"plan\.json"):
        merge([first], tmp_path / "merged")


def test_the_output_must_be_new_or_empty(tmp_path: Path) -> None:
    shards = run_shards(fake_suite(), tmp_path, 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for output in (tmp_path / "full", tmp_path / "full" / "file", shards[0]):
        with pytest.raises(InvalidInputError, match="is not an empty folder"):
            merge(shards, output)
    (tmp_path / "empty").mkdir()
    assert merge(shards, tmp_path / "empty").results
    with pytest.raises(InvalidInputError, match="lies inside the run"):
        merge(shards, shards[0] / "merged")
    assert not (shards[0] / "merged").exists()


def test_an_edited_report_is_refused(tmp_path: Path) -> None:
    shards = run_shards(fake_suite(), tmp_path, 2)
    file = shards[0] / "report.json"
    file.write_text(file.read_text().replace('"harness_version"', '"harness_version" '))
    text = file.read_text()
    file.write_text(text.replace('"status": "completed"', '"status": "failed"').replace("fake", "fact"))
    with pytest.raises(InvalidInputError):
        merge(shards, tmp_path / "merged")


def test_a_shard_without_trials_completes_with_an_empty_report(tmp_path: Path) -> None:
    suite = fake_suite([0])
    (trial,) = expand(suite, ("cpu",))
    empty = 3 - shard_number(trial.id, 2)
    run = run_fake(suite, tmp_path, shard=f"{empty}/2")
    assert run.exit_code == 0
    assert run.report.results == ()
    assert f"shard {empty}/2: 0 of 1 trial" in run.report.notes[0]


def test_shards_in_one_folder_are_separate_runs_and_resume_their_own_trials(tmp_path: Path) -> None:
    suite, watcher = padded(), Watcher()
    first = run_fake(suite, tmp_path, shard="1/2")
    second = run_fake(suite, tmp_path, shard="2/2", watcher=watcher)
    assert first.directory != second.directory
    assert not any("was edited" in note for note in watcher.notes)
    (first.directory / "report.json").unlink()
    again = Watcher()
    resumed = run_fake(suite, tmp_path, shard="1/2", watcher=again)
    assert resumed.directory == first.directory
    assert again.to_run == []
    assert len(merge([first.directory, second.directory], tmp_path / "merged").results) == 12


def test_different_machines_and_packages_are_noted(tmp_path: Path) -> None:
    shards = run_shards(fake_suite(range(4)), tmp_path, 2)
    report = load_report(shards[1])
    results = tuple(
        result.model_copy(
            update={
                "environment": result.environment and result.environment.model_copy(update={"threads": 77})
            }
        )
        for result in report.results
    )
    packages = report.environment.packages | {"torch": "9.9"}
    git = Git(commit="0" * 40, dirty=True)
    environment = report.environment.model_copy(update={"packages": packages, "git": git})
    changed = report.model_copy(update={"results": results, "environment": environment})
    (shards[1] / "report.json").write_bytes(to_json(changed))
    notes = " ".join(merge(shards, tmp_path / "merged").notes)
    assert "merged from 2 different machines" in notes
    assert "merged from runs with different versions of torch" in notes
    assert "merged from runs at different commits, or with files that differ from them" in notes


def test_scores_of_a_users_metric_are_merged_and_those_of_different_files_refused(tmp_path: Path) -> None:
    shards = run_shards(fake_suite(range(4)), tmp_path, 2)

    def score(shard: Path, version: str) -> None:
        report = load_report(shard)
        scores = {result.trial.id: OwnScore(value=0.5) for result in report.results}
        own = OwnScores(label="mine", goal="max", file="m.py", version=version, scores=scores)
        (shard / "report.json").write_bytes(to_json(report.model_copy(update={"own_metrics": (own,)})))

    for shard in shards:
        score(shard, "m.py sha256:1")
    (merged,) = merge(shards, tmp_path / "merged").own_metrics
    assert len(merged.scores) == 4
    assert merged.version == "m.py sha256:1"
    score(shards[1], "m.py sha256:2")
    with pytest.raises(NotComparableError, match="were scored by different files as mine") as caught:
        merge(shards, tmp_path / "other")
    assert "m.py sha256:1 and m.py sha256:2" in caught.value.message
    assert "harness rescore RUN -o RUN/report.json" in str(caught.value.hint)


def test_a_report_with_other_trials_than_its_plan_is_refused(tmp_path: Path) -> None:
    shards = run_shards(fake_suite(range(4)), tmp_path, 2)
    shutil.copy(shards[0] / "report.json", shards[1] / "report.json")
    with pytest.raises(InvalidInputError, match="the trials of its report are not those of its plan"):
        merge(shards, tmp_path / "merged")


def test_the_command_merges_and_exits_with_3_where_a_trial_is_missing(tmp_path: Path) -> None:

    suite = write_suite(tmp_path, range(4))
    for index in (1, 2):
        line = run_line(suite, "--shard", f"{index}/2", "--reports", str(index))
        done = forked(*line, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    folders = [str(path.parent) for path in sorted(tmp_path.glob("[12]/*/*/report.json"))]

    def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
        return forked(*arguments, cwd=tmp_path, environment=os.environ)

    missing = harness("merge", folders[0], "-o", "merged", "--json")
    assert missing.returncode == 3
    assert json.loads(missing.stdout)["exit_code"] == 3
    assert "missing" in missing.stderr
    merged = harness("merge", *folders, "-o", "merged")
    assert merged.returncode == 0, merged.stderr
    assert "4 completed" in merged.stdout
    assert harness("show", "merged").stdout == merged.stdout


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"is not the folder of a run: it has no plan\.json"):
        merge([tmp_path], tmp_path / "merged")
