"""Whether a run is finished: by a note about the very bytes of its report, or else by reading the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store import finishing
from harness.store.finishing import is_finished
from harness.store.plan_file import make_plan
from harness.store.reading import NewerSchemaError, load_report
from harness.store.run_directory import RunDirectory
from harness.store.suite_runs import create_run
from tests.factories import STARTED, make_report, make_suite
from tests.store.storing import PLAN, RESULTS


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run that is finished."""
    run = create_run(tmp_path, "padding", PLAN, b"", now=STARTED)
    run.write_report(make_report(RESULTS), "")
    return run


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The reports that were read, one entry each time."""
    read: list[Path] = []

    def loading(path: Path, *, allow_unsealed: bool) -> object:
        read.append(path)
        return load_report(path, allow_unsealed=allow_unsealed)

    monkeypatch.setattr(finishing, "load_report", loading)
    return read


def test_a_finished_run_is_known_without_reading_its_report(run: RunDirectory, reads: list[Path]) -> None:
    assert is_finished(run.path, run.plan)
    assert reads == []


def test_an_unfinished_run_is_known_without_reading_its_report(run: RunDirectory, reads: list[Path]) -> None:
    run.write_report(make_report(RESULTS[1:]), "")
    assert not is_finished(run.path, run.plan)
    assert reads == []


def _edit(run: RunDirectory, **changes: object) -> None:
    file = run.path / "ended.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def _move_behind_a_link(file: Path) -> None:
    file.symlink_to(file.rename(file.with_name("elsewhere")))


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: (run.path / "ended.json").unlink(),
        lambda run: (run.path / "ended.json").write_bytes(b'{"finished": tr'),
        lambda run: _edit(run, finished="no"),
        lambda run: _edit(run, report_sha256="0" * 64, finished=False),
        lambda run: _edit(run, plan_digest="0" * 64, finished=False),
        lambda run: _move_behind_a_link(run.path / "ended.json"),
    ],
    ids=["missing", "torn", "mistyped", "of another report", "of another plan", "a link"],
)
def test_a_note_that_cannot_be_trusted_has_the_report_read(
    run: RunDirectory, reads: list[Path], damage: Callable[[RunDirectory], object]
) -> None:
    damage(run)
    assert is_finished(run.path, run.plan)
    assert len(reads) == 1


def test_a_note_says_nothing_of_a_report_that_was_damaged_or_lost_since(run: RunDirectory) -> None:
    report = run.path / "report.json"
    data = report.read_bytes()
    report.write_bytes(data[:-2])
    assert not is_finished(run.path, run.plan)
    report.unlink()
    assert not is_finished(run.path, run.plan)


def test_a_note_says_nothing_of_a_report_that_a_newer_version_wrote_since(run: RunDirectory) -> None:
    report = run.path / "report.json"
    report.write_bytes(report.read_bytes().replace(b'"schema_version": 2', b'"schema_version": 3', 1))
    with pytest.raises(NewerSchemaError):
        is_finished(run.path, run.plan)


def test_a_report_for_fewer_trials_finishes_no_larger_plan(run: RunDirectory) -> None:
    trials = [*run.plan.trials, run.plan.trials[0].model_copy(update={"seed": 9})]
    assert not is_finished(run.path, make_plan(make_suite(), trials, "auto"))
