from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.errors import InvalidInputError, StorageError
from harness.model.status import StatusName
from harness.store.plan_file import Plan, make_plan
from harness.store.reading import NewerSchemaError, load_report
from harness.store.run_directory import RunDirectory, open_run
from harness.store.suite_runs import create_run, find_latest, find_unfinished
from harness.store.trial_folder import read_result, write_result
from harness.store.writing import Files, canonical_json, digest_of
from tests.factories import STARTED, make_report, make_result, make_suite, make_trial
from tests.store.crashing import QUICK
from tests.store.processes import Child
from tests.store.storing import PLAN, RESULTS, run_to_the_end

LATER = STARTED + timedelta(hours=1)


def create(reports: Path, plan: Plan = PLAN, now: datetime = STARTED, files: Files = QUICK) -> RunDirectory:
    return create_run(reports, "padding", plan, b"name: padding\n", now=now, files=files)


def finish(run: RunDirectory, *statuses: StatusName) -> None:
    """Write a report with these statuses, then completed rows."""
    rows = [
        make_result(result.trial, status=status) for result, status in zip(RESULTS, statuses, strict=False)
    ]
    run.write_report(make_report([*rows, *RESULTS[len(rows) :]]), "# Report\n")


def edited(seed: int = 9) -> Plan:
    return make_plan(make_suite(), [*PLAN.trials[1:], make_trial(seed=seed)], "auto")


def test_a_run_holds_the_suite_the_plan_and_a_folder_for_trials(tmp_path: Path) -> None:
    run = create(
        tmp_path / "new" / "reports", now=datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    )
    assert run.path == tmp_path / "new" / "reports" / "padding" / f"20260102T030405Z-{PLAN.digest[:6]}"
    assert sorted(path.name for path in run.path.iterdir()) == ["plan.json", "suite.yaml", "trials"]
    assert (run.path / "suite.yaml").read_bytes() == b"name: padding\n"
    assert open_run(run.path).plan == PLAN


def test_runs_of_one_second_get_names_of_their_own_and_the_last_is_the_newest(tmp_path: Path) -> None:
    runs = [create(tmp_path) for _ in range(11)]
    assert len({run.path for run in runs}) == 11
    assert find_latest(tmp_path, "padding") == open_run(runs[-1].path)


def test_a_plan_is_told_apart_by_trials_their_order_the_measuring_and_the_assets() -> None:
    suite = make_suite()
    slower = make_suite(measure=suite.measure.model_copy(update={"warmup_steps": 11}))
    plans = [
        PLAN,
        edited(),
        make_plan(suite, PLAN.trials[::-1], "auto"),
        make_plan(slower, PLAN.trials, "auto"),
        make_plan(suite, PLAN.trials, "embedded"),
    ]
    assert len({plan.digest for plan in plans}) == len(plans)
    assert make_plan(make_suite(gates=()), list(PLAN.trials), "auto") == PLAN


def test_a_plan_with_a_trial_twice_or_a_wrong_digest_is_refused() -> None:
    with pytest.raises(ValidationError, match="two trials of the plan have the same id"):
        make_plan(make_suite(), [PLAN.trials[0], PLAN.trials[0]], "auto")
    document = json.loads(PLAN.model_dump_json()) | {"assets": "hub"}
    with pytest.raises(ValidationError, match="the digest does not match"):
        Plan.model_validate_json(json.dumps(document))


def test_the_newest_unfinished_run_of_the_same_plan_is_found(tmp_path: Path) -> None:
    assert find_unfinished(tmp_path, "padding", PLAN) is None
    create(tmp_path)
    newest = create(tmp_path, now=LATER)
    other = create(tmp_path, edited(), now=LATER + timedelta(hours=1))
    assert find_unfinished(tmp_path, "padding", PLAN) == open_run(newest.path)
    assert find_unfinished(tmp_path, "padding", edited()) == open_run(other.path)
    assert find_unfinished(tmp_path, "another", PLAN) is None
    assert find_latest(tmp_path, "padding") == open_run(other.path)


@pytest.mark.parametrize("status", ["failed", "oom", "diverged", "timeout", "unavailable", "killed"])
def test_a_run_is_finished_when_every_trial_has_ended(tmp_path: Path, status: StatusName) -> None:
    run = create(tmp_path)
    finish(run, status)
    assert find_unfinished(tmp_path, "padding", PLAN) is None


@pytest.mark.parametrize("status", ["interrupted", "pending"])
def test_a_run_with_interrupted_or_pending_trials_is_unfinished(tmp_path: Path, status: StatusName) -> None:
    run = create(tmp_path)
    finish(run, status)
    assert find_unfinished(tmp_path, "padding", PLAN) == open_run(run.path)


def test_a_run_whose_report_is_damaged_or_lacks_a_row_is_unfinished(tmp_path: Path) -> None:
    run = create(tmp_path)
    run.write_report(make_report(RESULTS[1:]), "")
    assert find_unfinished(tmp_path, "padding", PLAN) is not None
    finish(run)
    assert find_unfinished(tmp_path, "padding", PLAN) is None
    text = (run.path / "report.json").read_bytes()
    (run.path / "report.json").write_bytes(text[: len(text) // 2])
    assert find_unfinished(tmp_path, "padding", PLAN) is not None


def newer(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"schema_version": 2', b'"schema_version": 3', 1))


def foreign(file: Path) -> None:
    file.write_text('{"tool": "another"}')


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (newer, "written by schema 3, this is 2"),
        (foreign, "no harness plan: it has no schema_version"),
        (torn, "not valid JSON at byte"),
        (Path.unlink, "is not the folder of a run: it has no plan.json"),
    ],
)
def test_a_run_with_a_plan_that_is_not_ours_to_read_is_refused_and_left_untouched(
    tmp_path: Path, damage: Callable[[Path], object], says: str
) -> None:
    run = create(tmp_path)
    damage(run.path / "plan.json")
    before = sorted(path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    with pytest.raises(InvalidInputError, match=says) as caught:
        open_run(run.path)
    assert caught.value.exit_code == 2
    if damage is not Path.unlink:  # without a plan, nothing was ever started there
        with pytest.raises(InvalidInputError, match=says):
            find_unfinished(tmp_path, "padding", PLAN)
    assert find_unfinished(tmp_path, "padding", edited()) is None
    assert find_latest(tmp_path, "padding") is None
    assert sorted(path.read_bytes() for path in run.path.rglob("*") if path.is_file()) == before


def test_a_run_with_a_report_of_a_newer_schema_is_not_written_over(tmp_path: Path) -> None:
    run = run_to_the_end(tmp_path, QUICK)
    newer(run.path / "report.json")
    with pytest.raises(NewerSchemaError):
        find_unfinished(tmp_path, "padding", PLAN)


def test_of_an_edited_suite_the_latest_run_tells_what_is_new_reused_and_gone(tmp_path: Path) -> None:
    run_to_the_end(tmp_path, QUICK)
    latest, plan = find_latest(tmp_path, "padding"), edited()
    assert latest is not None
    done = latest.results()[0].keys()
    now = set(plan.trial_ids)
    assert now & done == set(PLAN.trial_ids[1:])
    assert now - done == {plan.trial_ids[-1]}
    assert done - now == {PLAN.trial_ids[0]}


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/b",
        "",
        ".",
        "x" * 300,
        "é",
        "0123456789abcdeg",
        "0123456789ABCDEF",
        "0" * 17,
        "0" * 16 + "\n",
    ],
)
def test_a_trial_folder_is_named_by_an_id_and_nothing_else(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="is no trial id"):
        create(tmp_path).trial_folder(name)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "x" * 65, "é", "a\n", "-x", "x" * 300])
def test_a_suite_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot name a folder"):
        create_run(tmp_path / "reports", name, PLAN, b"", now=STARTED)
    assert list(tmp_path.iterdir()) == []


def test_nothing_follows_a_symbolic_link_out_of_the_run(tmp_path: Path) -> None:
    run, outside, result = create(tmp_path / "reports"), tmp_path / "outside", RESULTS[0]
    outside.mkdir()
    folder = run.path / "trials" / result.trial.id
    folder.symlink_to(outside)
    with pytest.raises(InvalidInputError, match="symbolic link"):
        run.trial_folder(result.trial.id)
    with pytest.raises(InvalidInputError, match="symbolic link"):
        write_result(folder, result)
    found, problems = run.results()
    assert found == {}
    assert "symbolic link" in problems[0]
    (outside / f".harness-{'0' * 16}.tmp").touch()
    run.sweep()
    assert len(list(outside.iterdir())) == 1
    folder.unlink()
    write_result(run.trial_folder(result.trial.id), result)
    (folder / "result.json").rename(outside / "result.json")
    (folder / "result.json").symlink_to(outside / "result.json")
    found, problems = run.results()
    assert found == {}
    assert "Too many levels of symbolic links" in problems[0]
    kept = (outside / "result.json").read_bytes()
    write_result(folder, make_result(result.trial, status="failed"))
    assert (outside / "result.json").read_bytes() == kept
    assert read_result(folder).status == "failed"


def test_a_run_whose_trials_are_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    run = create(tmp_path / "reports")
    (run.path / "trials").rmdir()
    (run.path / "trials").symlink_to(tmp_path)
    with pytest.raises(InvalidInputError, match="symbolic link"):
        run.trial_folder("0" * 16)
    assert run.results() == ({}, [f"{run.path / 'trials'}: a symbolic link, which is never followed"])


def test_finished_results_come_in_the_order_of_the_plan_and_others_do_not_count(tmp_path: Path) -> None:
    run = create(tmp_path)
    for result in reversed(RESULTS):
        write_result(run.trial_folder(result.trial.id), result)
    assert list(run.results()[0].items()) == [(result.trial.id, result) for result in RESULTS]
    interrupted = make_result(RESULTS[0].trial, status="interrupted")
    write_result(run.trial_folder(interrupted.trial.id), interrupted)
    run.trial_folder(RESULTS[1].trial.id).joinpath("result.json").unlink()
    assert run.results() == ({RESULTS[2].trial.id: RESULTS[2]}, [])


@pytest.mark.parametrize("kind", ["proofs", "windows"])
def test_only_completed_proofs_and_windows_that_can_be_read_are_kept(tmp_path: Path, kind: str) -> None:
    run = create(tmp_path)
    complete, failed, torn_one = RESULTS
    ended = make_result(failed.trial, status="failed")
    for result in (complete, ended, torn_one):
        folder = run.path / kind / result.trial.id
        folder.mkdir(parents=True)
        write_result(folder, result)
    torn(run.path / kind / torn_one.trial.id / "result.json")
    wanted = [*run.plan.trial_ids, "0" * 16]
    assert getattr(run, kind)(wanted) == {complete.trial.id: complete}


def test_what_is_no_result_of_this_run_is_said_and_never_counts(tmp_path: Path) -> None:
    run = create(tmp_path)
    one, two, three = (run.trial_folder(result.trial.id) for result in RESULTS)
    for folder, result in zip((one, two, three), RESULTS, strict=True):
        write_result(folder, result)
    text = (one / "result.json").read_bytes()
    (one / "result.json").write_bytes(text.replace(b'"duration_s": 12.5', b'"duration_s": 11.5'))
    (two / "result.json").write_bytes(text)
    (three / "result.json").write_bytes(text[:1000])
    (run.path / "trials" / "notes.txt").touch()
    (run.path / "trials" / ("0" * 16)).mkdir()
    found, problems = run.results()
    assert found == {}
    assert len(problems) == 5
    assert "does not match its digest" in problems[0]
    assert f"contains the result of trial {RESULTS[0].trial.id}, not of {two.name}" in problems[1]
    assert "not valid JSON at byte" in problems[2]
    assert f"{'0' * 16}: no trial of this plan" in problems[3]
    assert "notes.txt: no trial of this plan" in problems[4]


def test_another_trials_result_cannot_be_written(tmp_path: Path) -> None:
    folder = create(tmp_path).trial_folder(RESULTS[1].trial.id)
    with pytest.raises(InvalidInputError, match="contains the result of trial"):
        write_result(folder, RESULTS[0])
    assert list(folder.iterdir()) == []


def test_stray_temporary_files_are_swept_and_nothing_else(tmp_path: Path) -> None:
    run = create(tmp_path)
    stray = f".harness-{'0f' * 8}.tmp"
    folders = [run.path, run.path / "trials", run.trial_folder(RESULTS[0].trial.id)]
    for folder in folders:
        for name in (stray, "mine.tmp", ".harness-x.tmp"):
            (folder / name).touch()
    run.sweep()
    assert not list(run.path.rglob(stray))
    assert len(list(run.path.rglob("*.tmp"))) == 6


def test_the_report_comes_last_and_in_every_form_asked_for(tmp_path: Path) -> None:
    run = create(tmp_path)
    run.write_report(make_report(RESULTS), "# Report é\n", "<p>")
    assert (run.path / "report.md").read_text(encoding="utf-8") == "# Report é\n"
    assert (run.path / "report.html").read_text() == "<p>"
    assert load_report(run.path) == make_report(RESULTS)


def test_reports_that_are_a_file_or_inside_a_run_are_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("mine")
    for reports in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidInputError, match="in the way"):
            create(reports)
    (tmp_path / "padding").touch()
    with pytest.raises(InvalidInputError, match="in the way"):
        create(tmp_path)
    run = create(tmp_path / "reports")
    (tmp_path / "link").symlink_to(run.path / "trials")
    for reports in (run.path, run.path / "trials" / "deeper", tmp_path / "link"):
        with pytest.raises(InvalidInputError, match="lies inside the run"):
            create(reports)
    assert sorted(path.name for path in run.path.iterdir()) == ["plan.json", "suite.yaml", "trials"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_reports_that_cannot_be_written_are_said(tmp_path: Path, code: int) -> None:
    def mkdir(path: Path) -> None:
        raise OSError(code, os.strerror(code), str(path))

    with pytest.raises(StorageError, match=os.strerror(code)) as caught:
        create(tmp_path / "reports", files=Files(mkdir=mkdir))
    assert caught.value.exit_code == 74
    assert "hoose a folder" in str(caught.value.hint)


def test_a_folder_closed_to_the_user_is_said(tmp_path: Path) -> None:
    def work(tell: Callable[[str], None]) -> None:
        if os.geteuid() == 0:
            os.setuid(65_534)  # nothing is closed to root
        create(tmp_path / "reports")

    tmp_path.chmod(0o500)
    code, lines = Child(work).wait()
    tmp_path.chmod(0o700)
    assert code == 74
    assert "Permission denied" in lines[0]


def test_a_clock_that_jumps_back_makes_no_run_older_than_those_before_it(tmp_path: Path) -> None:
    finish(create(tmp_path, now=LATER))
    begun = create(tmp_path, now=STARTED.astimezone(UTC))
    assert find_unfinished(tmp_path, "padding", PLAN) == open_run(begun.path)
    edited_later = create(tmp_path, edited(), now=STARTED)
    assert find_latest(tmp_path, "padding") == open_run(edited_later.path)
    forward = create(tmp_path, now=LATER + timedelta(hours=1))
    assert find_latest(tmp_path, "padding") == open_run(forward.path)


def test_a_sealed_result_with_an_impossible_value_is_not_done(tmp_path: Path) -> None:
    result = make_result(make_trial(seed=0), examples=4)
    score = result.value("eval_accuracy")
    forged = canonical_json(result).replace(
        b'"metric":"eval_accuracy","unit":"ratio","goal":"max","values":[%s]' % repr(score).encode(),
        b'"metric":"eval_accuracy","unit":"ratio","goal":"max","values":[1.7]',
    )
    assert forged != canonical_json(result)
    folder = tmp_path / result.trial.id
    folder.mkdir()
    (folder / "result.json").write_bytes(
        b'{"digest":"%s","result":%s}' % (digest_of(forged).encode(), forged)
    )
    with pytest.raises(InvalidInputError, match=r"/result/measurements/0: eval_accuracy: 1\.7 is impossible"):
        read_result(folder)
