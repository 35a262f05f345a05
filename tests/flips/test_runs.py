"""Damage to any file of a run, then the same command again: the same scores, or a message and a way on."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from harness.api import RunOptions, run_suite
from harness.errors import HarnessError
from harness.model.results import Report
from harness.model.suite import Suite
from harness.store.trial_folder import JOB
from tests.flips.damage import Outcome, damage_each, draw_damage
from tests.flips.in_process import in_process
from tests.running import runners
from tests.running.fakes import Watcher, fake_suite, run_fake

Flips = Callable[[float], range]
Count = Callable[[str, Outcome], None]

SUITE: Final = fake_suite((0, 1, 2))
EDITED: Final = fake_suite((0, 1, 2, 3))
UNFINISHED: Final = ("report.json", "report.md", "report.html", "ended.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of one run that is finished, with what a killed process leaves in its locks."""
    reports = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        run = run_fake(SUITE, reports, "proving", parity=True)
    assert [result.status for result in run.brief.results] == ["completed"] * 3
    for lock in (run.directory / "lock", run.directory.parent / "lock"):
        lock.write_text("process 999999 on elsewhere\n")
    return reports


def run_again(
    reports: Path,
    suite: Suite = SUITE,
    watcher: Watcher | None = None,
    damage: Callable[[Path], None] = lambda _folder: None,
    **options: Any,
) -> Report:
    """Run the suite, proofs included, with a runner whose scores depend on the trial alone."""
    chosen = RunOptions(assets="embedded", reports=reports, runner="none:none", **options)
    return run_suite(suite, chosen, observer=watcher, seams=in_process(runners.proving, damage)).report


def scores(report: Report) -> dict[str, object]:
    """All that a run computed, times excluded."""
    return {
        f"{kind} {result.trial.id}": (
            result.status,
            result.degenerate,
            [found for found in result.measurements if found.metric.startswith("eval_")],
            result.predictions,
            result.parity,
            result.epochs,
        )
        for kind, results in (("trial", report.results), ("proof", report.proofs))
        for result in results
    }


def test_a_trial_leaves_no_file_open(tmp_path: Path) -> None:
    run_again(tmp_path / "first")
    before = len(list(Path("/dev/fd").iterdir()))
    run_again(tmp_path / "second")
    assert len(list(Path("/dev/fd").iterdir())) == before


def files_of(template: Path, work: Path, *, unfinished: bool) -> list[Path]:
    """A copy of the run in place, of which the third trial is left to do where it is unfinished."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(template, work)
    (run,) = work.glob("*/*/")
    if unfinished:
        last = max(run.glob("trials/*"))
        for file in (*(run / name for name in UNFINISHED), last / "result.json"):
            file.unlink()
    return sorted(file for file in work.rglob("*") if file.is_file())


def look(reports: Path, suite: Suite, wanted: dict[str, object], file: Path, *, done: int) -> Outcome:
    """Run the same command, follow what its message recommends, and run it once more.

    `done` is how many trials are taken over without the damage.
    """
    watcher = Watcher()
    outcome: Outcome = "no effect"
    refusal: HarnessError | None = None
    try:
        report = run_again(reports, suite, watcher)
    except HarnessError as error:
        refusal = error
    if refusal is not None:
        assert file.name in refusal.message
        assert "--fresh" in (refusal.hint or ""), f"{refusal.message}: the hint is {refusal.hint}"
        report = run_again(reports, suite, fresh=True)
        outcome = "refused"
    assert scores(report) == wanted
    if outcome == "no effect" and len(watcher.reused) != done:
        assert any(file.name in note for note in watcher.notes), f"{len(watcher.reused)} reused, no message"
        outcome = "noticed"
    assert scores(run_again(reports, suite)) == wanted
    return outcome


@pytest.mark.parametrize(
    ("unfinished", "suite", "done", "share"),
    [(True, SUITE, 2, 0.17), (True, EDITED, 2, 0.08), (False, SUITE, 0, 0.08), (False, EDITED, 0, 0.04)],
    ids=["interrupted", "interrupted and edited", "finished", "finished and edited"],
)
def test_a_run_goes_on_after_damage_to_any_of_its_files(
    finished: Path,
    tmp_path: Path,
    flips: Flips,
    tally: Count,
    request: pytest.FixtureRequest,
    *,
    unfinished: bool,
    suite: Suite,
    done: int,
    share: float,
) -> None:
    work = tmp_path / "reports"
    wanted = scores(run_again(tmp_path / "intact", suite))
    damage_each(
        f"run {request.node.callspec.id}",
        flips(share),
        lambda: files_of(finished, work, unfinished=unfinished),
        lambda file, _draw: look(work, suite, wanted, file, done=done),
        tally,
    )


def test_a_job_that_is_damaged_before_its_worker_reads_it_never_gives_another_score(
    tmp_path: Path, flips: Flips, tally: Count
) -> None:
    wanted = scores(run_again(tmp_path / "intact"))
    for number in flips(0.04):
        draw = random.Random(f"job {number}")
        folders: list[Path] = []

        def hand_over(folder: Path, draw: random.Random = draw, seen: list[Path] = folders) -> None:
            seen.append(folder)
            # The first job is that of the proof.
            if len(seen) == 2:
                content = (folder / JOB).read_bytes()
                (folder / JOB).write_bytes(draw_damage(draw, content).applied_to(content))

        reports = tmp_path / str(number)
        report = run_again(reports, damage=hand_over)
        found = scores(report)
        ended = [result for result in report.results if result.status != "completed"]
        assert all(result.reason for result in ended)
        for result in report.results:
            name = f"trial {result.trial.id}"
            assert result in ended or found[name] == wanted[name], f"job {number}"
        tally(f"handed to a worker: {JOB}", "refused" if ended else "no effect")
        assert scores(run_again(reports)) == wanted
