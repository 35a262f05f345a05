"""`harness list` and `harness clean`: runs on disk, and which of them are removed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from harness.cli.report_commands import clean
from harness.store.baselines import keep_baseline
from harness.store.listing import Fate, earlier_runs, fates_of
from harness.store.locking import hold_lock
from harness.store.reading import load_report
from harness.store.run_directory import RunDirectory
from harness.store.suite_runs import create_run
from tests.cli.conftest import Call
from tests.factories import STARTED, make_checkpoint, make_report
from tests.store.storing import PLAN, RESULTS

pytestmark = pytest.mark.usefixtures("alone")


def run(day: int, *, suite: str = "padding", done: int = 3) -> RunDirectory:
    """A run of that day with as many results; the report comes with the last."""
    created = create_run(Path("reports"), suite, PLAN, b"", now=STARTED + timedelta(days=day))
    for result in RESULTS[:done]:
        folder = created.trial_folder(result.trial.id)
        (folder / "result.json").write_bytes(b"{}")
    if done == len(RESULTS):
        created.write_report(make_report(RESULTS, run=created.path.name), "# Report\n")
    return created


def names() -> set[str]:
    return {path.parent.name for path in Path("reports").glob("*/*/plan.json")}


def test_list_shows_state_suite_age_size_and_best(call: Call) -> None:
    run(0)
    run(1, done=1)
    code, output, _ = call("list")
    assert code == 0
    assert "finished" in output
    assert "unfinished, 1 of 3" in output
    assert "accuracy 50.0 %" in output or "accuracy" in output
    code, output, _ = call("list", "--json")
    first, second = json.loads(output)["runs"]
    assert [first["state"], second["state"]] == ["finished", "unfinished"]
    assert (first["suite"], first["trials"], first["done"]) == ("padding", 3, 3)
    files = [path for path in Path(first["path"]).rglob("*") if path.is_file()]
    assert first["size_bytes"] == sum(path.stat().st_size for path in files)
    assert first["started"] == STARTED.isoformat()


def test_the_list_calls_nothing_the_fastest_and_labels_stand_ins(call: Call) -> None:
    made = run(0)
    replaced = make_checkpoint(requested="bert-base-uncased", stand_in=True)
    results = [each.model_copy(update={"checkpoint": replaced}) for each in RESULTS]
    made.write_report(make_report(results, run=made.path.name), "# Report\n")
    (found,) = json.loads(call("list", "--json")[1])["runs"]
    assert found["highest_score"].endswith(" (stand-in)")
    assert found["highest_speed"].endswith(" (stand-in)")
    assert "fastest" not in call("list")[1]


def test_a_locked_run_is_running_and_a_damaged_one_is_named(call: Call) -> None:
    locked, damaged = run(0, done=1), run(1)
    (damaged.path / "report.json").write_bytes(b"{")
    with locked.hold():
        code, output, _ = call("list", "--json")
    assert code == 2
    first, second = json.loads(output)["runs"]
    assert [first["state"], second["state"]] == ["running", "unreadable"]
    assert "report.json" in second["problem"]
    assert not (damaged.path / "lock").exists()


def test_an_empty_folder_lists_nothing(call: Call) -> None:
    Path("reports").mkdir()
    assert call("list")[:2] == (
        0,
        "0 runs, 0 B\n\nrun  suite  state  age  size  highest score  highest speed\n",
    )


def test_clean_removes_the_oldest_runs_of_each_suite(call: Call) -> None:
    runs = [run(day) for day in range(4)]
    other = run(0, suite="other")
    code, output, _ = call("clean", "--keep", "2")
    assert code == 0
    assert "2 runs removed" in output
    assert names() == {runs[2].path.name, runs[3].path.name, other.path.name}
    assert sorted(path.name for path in Path("reports/padding").iterdir()) == sorted(
        [runs[2].path.name, runs[3].path.name, "lock"]
    )
    assert call("clean", "--keep", "2")[1].startswith("0 runs removed")


def test_a_dry_run_removes_nothing_and_shows_the_same(call: Call) -> None:
    for day in range(3):
        run(day)
    before = names()
    code, output, _ = call("clean", "--keep", "1", "--dry-run", "--json")
    assert code == 0
    found = json.loads(output)
    assert found["dry_run"] is True
    assert [each["outcome"] for each in found["runs"]] == [
        "kept: one of the newest 1",
        "would be removed",
        "would be removed",
    ]
    assert names() == before


def test_clean_never_removes_a_baseline_or_a_locked_run(call: Call) -> None:
    baseline, locked, old, newest = (run(day) for day in range(4))
    keep_baseline(load_report(baseline.path), "main")
    with locked.hold():
        code, output, _ = call("clean", "--keep", "1")
    assert code == 0
    assert names() == {baseline.path.name, locked.path.name, newest.path.name}
    assert "kept: baseline main" in output
    assert "kept: locked by a process" in output
    assert not old.path.exists()
    assert load_report(Path("reports/baselines/main.json")) == load_report(baseline.path)


def test_a_baseline_that_cannot_be_read_stops_the_cleaning(call: Call) -> None:
    run(0)
    Path("reports/baselines").mkdir()
    Path("reports/baselines/main.json").write_bytes(b"{")
    before = names()
    code, _, errors = call("clean", "--keep", "0")
    assert code == 2
    assert "main.json" in errors
    assert names() == before


def test_a_link_is_never_followed_and_the_rest_of_an_interrupted_removal_goes(
    call: Call, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    old = run(0)
    (old.path / "trials" / "link").symlink_to(outside)
    Path("reports/padding/20200101T000000Z-abcdef").symlink_to(outside)
    left = Path("reports/padding/.harness-0123456789abcdef.tmp")
    left.mkdir()
    (left / "report.json").touch()
    code, _, _ = call("clean", "--keep", "0")
    assert code == 0
    assert not old.path.exists()
    assert not left.exists()
    assert (outside / "precious").exists()


def test_a_run_that_is_locked_between_the_decision_and_the_removal_stays(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _ = run(0), run(1)
    monkeypatch.setattr("harness.store.listing.is_locked", lambda _path: False)
    with hold_lock(old.path / "lock"):
        code, output, _ = call("clean", "--keep", "1")
    assert code == 0
    assert "kept: locked by a process" in output
    assert old.path.exists()


def test_keep_is_required_and_not_negative(call: Call) -> None:
    assert call("clean")[0] == 2
    assert call("clean", "--keep", "-1")[0] == 2


def test_show_takes_the_newest_run_of_a_folder(call: Call) -> None:
    run(0)
    newest = run(1)
    code, output, errors = call("show", "reports", "--json")
    assert code == 0
    assert json.loads(output)["run"] == newest.path.name
    assert str(newest.path) in errors


def test_a_folder_that_cannot_be_read_is_an_error_of_storage(call: Call) -> None:
    name = "reports" * 50
    for command in ("list", "clean --keep 1"):
        code, output, errors = call(*command.split(), "--reports", name)
        assert (code, output) == (74, "")
        assert errors.startswith("error: cannot read the folder reportsreports")
        assert "File name too long" in errors


def test_clean_removes_nothing_where_it_cannot_see_the_baselines(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(0)
    Path("reports/baselines").mkdir()
    scandir, listdir = os.scandir, os.listdir

    def refuse(folder: Path, see: Callable[[Path], object]) -> object:
        if Path(folder).name == "baselines":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return see(folder)

    monkeypatch.setattr(os, "scandir", partial(refuse, see=scandir))
    monkeypatch.setattr(os, "listdir", partial(refuse, see=listdir))
    code, _, errors = call("clean", "--keep", "0")
    assert code == 74
    assert "cannot read the folder reports/baselines: Permission denied" in errors
    assert len(names()) == 1


def refuse_inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process read nothing in the folder, as one of another user."""

    def refuse(path: str | Path, see: Callable[..., object], **options: object) -> object:
        if Path(path) == folder or (see is lstat and folder in Path(path).parents):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return see(path, **options)

    lstat = Path.lstat
    monkeypatch.setattr(os, "scandir", partial(refuse, see=os.scandir))
    monkeypatch.setattr(os, "listdir", partial(refuse, see=os.listdir))
    monkeypatch.setattr(
        Path, "lstat", lambda path: lstat(path) if path == folder else refuse(path, see=lstat)
    )


def test_a_run_that_may_not_be_read_is_a_problem_of_that_run(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, other = run(0), run(1)
    refuse_inside(closed.path, monkeypatch)
    code, output, _ = call("list", "--json")
    assert code == 2
    found = {each["path"]: each for each in json.loads(output)["runs"]}
    assert found[str(closed.path)]["state"] == "unreadable"
    assert "plan.json: Permission denied" in found[str(closed.path)]["problem"]
    assert found[str(other.path)]["state"] == "finished"


@pytest.mark.parametrize("suite", ["padding", "another"])
def test_a_plan_names_the_earlier_run_that_may_not_be_read_and_takes_the_others(
    suite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, other, broken = run(0, suite=suite), run(1, suite=suite), run(2, suite=suite)
    (broken.path / "report.json").unlink()
    (broken.path / "report.json").symlink_to("report.json")
    refuse_inside(closed.path, monkeypatch)
    checkpoints = {trial.checkpoint for trial in PLAN.trials}
    found = {each.path: each for each in earlier_runs(Path("reports"), "padding", checkpoints)}
    assert "Permission denied" in found[closed.path].problem
    assert "Too many levels of symbolic links" in found[broken.path].problem
    assert found[other.path].report is not None


def test_history_leaves_out_a_report_that_may_not_be_read_and_names_it(call: Call) -> None:
    closed = run(0)
    run(1)
    (closed.path / "report.json").unlink()
    (closed.path / "report.json").symlink_to("report.json")
    code, output, errors = call("history", "reports", "--json")
    assert code == 0, errors
    told = f"left out: cannot read {closed.path}/report.json: Too many levels of symbolic links"
    assert told in json.loads(output)["notes"]


def test_a_lock_that_cannot_be_opened_is_a_problem_of_its_run(call: Call) -> None:
    created = run(0)
    (created.path / "lock").unlink(missing_ok=True)
    (created.path / "lock").symlink_to("elsewhere")
    code, output, _ = call("list", "--json")
    assert code == 2
    assert "cannot open the lock" in json.loads(output)["runs"][0]["problem"]


def test_clean_tells_what_it_removed_where_another_run_cannot_be(call: Call) -> None:
    closed, removed = run(1), run(0)
    (closed.path / "lock").unlink(missing_ok=True)
    (closed.path / "lock").symlink_to("elsewhere")
    code, output, errors = call("clean", "--keep", "0", "--json")
    assert code == 74
    outcomes = {each["path"]: each["outcome"] for each in json.loads(output)["runs"]}
    assert outcomes[str(removed.path)] == "removed"
    assert outcomes[str(closed.path)].startswith("kept: cannot open the lock")
    assert "cannot open the lock" in errors
    assert names() == {closed.path.name}


def test_a_name_of_a_run_with_an_impossible_time_has_no_age(call: Call) -> None:
    created = run(0, done=1)
    created.path.rename(created.path.with_name("20269999T000000Z-abcdef"))
    code, output, _ = call("list", "--json")
    assert code == 0
    (listed,) = json.loads(output)["runs"]
    assert (listed["started"], listed["trials"]) == (None, 3)


def test_a_plan_that_is_no_plan_is_a_problem_of_its_run(call: Call) -> None:
    created = run(0, done=1)
    (created.path / "plan.json").write_bytes(b"{}")
    code, output, _ = call("list", "--json")
    assert code == 2
    (listed,) = json.loads(output)["runs"]
    assert "plan.json" in listed["problem"]
    assert (listed["trials"], listed["done"]) == (None, None)


@pytest.mark.parametrize(("error", "code"), [(FileNotFoundError, 0), (PermissionError, 74)])
def test_a_run_that_another_process_removes_is_gone_and_one_that_cannot_be_removed_is_named(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: type[OSError], code: int
) -> None:
    def refuse(folder: Path) -> None:
        raise error(1, "Operation not permitted", str(folder))

    removed = run(0)
    monkeypatch.setattr(shutil, "rmtree", refuse)
    ended, _, errors = call("clean", "--keep", "0")
    assert ended == code
    assert ("cannot remove" in errors) == (code == 74)
    assert not removed.path.exists()


def test_a_run_that_another_cleaning_removed_since_it_was_listed_is_no_error(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [run(number).path for number in range(2)]

    def late(reports: Path, keep: int) -> tuple[Fate, ...]:
        fates = fates_of(reports, keep)
        shutil.rmtree(runs[0])
        return fates

    monkeypatch.setattr(clean, "fates_of", late)
    code, output, errors = call("clean", "--keep", "0", "--json")
    assert (code, errors) == (0, "")
    assert [each["outcome"] for each in json.loads(output)["runs"]] == ["removed", "removed"]
    assert not any(path.exists() for path in runs)


def test_a_folder_that_is_none_is_told(call: Call) -> None:
    Path("file").touch()
    for command in (["list"], ["clean", "--keep", "1"]):
        code, _, messages = call(*command, "--reports", "file")
        assert (code, "error: file is not a folder" in messages) == (2, True)
        code, output, _ = call(*command, "--reports", "repotrs")
        assert (code, "the folder repotrs does not exist" in output) == (0, True)
