"""Workers that crash, hang, flood, lie and leave things behind: each becomes a row, nobody else is hurt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.model.results import Report, TrialResult
from harness.model.suite import Measure
from harness.store.trial_folder import read_result
from tests.running.fakes import fake_suite, run_fake, wait_for_none_in
from tests.running.runners import HOSTILE

EXPECTED = {
    100: ("killed", "SIGSEGV"),
    102: ("failed", "exit code 3"),
    104: ("killed", "SIGKILL"),
    106: ("timeout", "stall_timeout_seconds"),
    108: ("timeout", "stall_timeout_seconds"),
    110: ("completed", ""),
    112: ("failed", "ValueError: after"),
    114: ("completed", ""),
    116: ("completed", ""),
    118: ("failed", "cannot be read"),
    120: ("failed", "result of trial"),
    122: ("oom", "batch size 8"),
    124: ("diverged", "NaN at step 2"),
    126: ("failed", "cannot be written"),
    128: ("oom", "out of memory on cpu at batch size 8: "),
    130: ("failed", "is a named pipe, not a regular file"),
    132: ("failed", "is larger than 256 MiB"),
    134: ("failed", "cannot be read"),
    136: ("completed", ""),
    138: ("timeout", "stall_timeout_seconds"),
    140: ("timeout", "stall_timeout_seconds"),
    142: ("failed", "exit code 3"),
    144: ("failed", "its folder was removed or replaced"),
    146: ("failed", "its folder was removed or replaced"),
    148: ("failed", "its folder was removed or replaced"),
    150: ("completed", ""),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def report(folder: Path) -> Iterator[Report]:
    """All hostile workers in one run, each followed by a good one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        patch.setenv("HARNESS_CACHE_DIR", str(folder / "cache"))
        seeds = [seed for hostile in HOSTILE for seed in (hostile, hostile + 1)]
        suite = fake_suite(seeds, measure=Measure(stall_timeout_seconds=4.0))
        yield run_fake(suite, folder / "reports", "hostile", grace_s=0.3).report


def _row(report: Report, seed: int) -> TrialResult:
    return next(result for result in report.results if result.trial.seed == seed)


@pytest.mark.parametrize("seed", HOSTILE, ids=lambda seed: HOSTILE[seed].__name__.strip("_"))
def test_a_hostile_worker_is_classified_right(report: Report, seed: int) -> None:
    row = _row(report, seed)
    status, reason = EXPECTED[seed]
    assert row.status == status
    if "its folder was" not in reason:
        # Where its folder went, so may have what it announced.
        assert row.phase == ("write" if status == "completed" else "train")
    assert reason in (row.reason or "")


@pytest.mark.parametrize("seed", [122, 128])
def test_a_trial_without_enough_memory_says_how_much_it_had_taken(report: Report, seed: int) -> None:
    row = _row(report, seed)
    assert (row.value("peak_memory_host_bytes") or 0) > 2**20
    assert "out of memory" in (row.reason or "")


def test_every_neighbour_completes(report: Report) -> None:
    assert {_row(report, seed + 1).status for seed in HOSTILE} == {"completed"}


def test_no_process_is_left(report: Report, folder: Path) -> None:
    assert wait_for_none_in(folder) == []


@pytest.mark.parametrize("seed", [146, 148])
def test_a_row_whose_folder_was_replaced_says_that_it_is_in_the_report_alone(
    report: Report, seed: int
) -> None:
    assert any(note.startswith("not stored: ") for note in _row(report, seed).notes)


def test_a_folder_that_was_removed_is_made_again_for_its_result(report: Report, folder: Path) -> None:
    row = _row(report, 144)
    assert read_result(next(folder.glob(f"reports/*/*/trials/{row.trial.id}"))) == row


def test_a_flood_of_output_does_not_fill_the_disk(report: Report, folder: Path) -> None:
    logs = [log.stat().st_size for log in folder.glob("reports/*/*/trials/*/log")]
    assert max(logs) < 6 * 2**20


def test_rubbish_is_decoded_leniently(report: Report) -> None:
    assert "\ufffd\ufffd rubbish" in _row(report, 112).log_tail


def test_rows_that_did_not_complete_say_where_they_ran(report: Report) -> None:
    assert all(row.environment is not None for row in report.results)
