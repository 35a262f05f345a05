from __future__ import annotations

import errno
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from harness.errors import StorageError
from harness.model.results import TrialResult
from harness.store.reading import load_report
from harness.store.suite_runs import find_latest, find_unfinished
from harness.store.trial_folder import SealedResult
from harness.store.writing import OS_FILES, Files, canonical_json, digest_of, to_json
from tests.factories import make_report
from tests.store.crashing import QUICK, Disk, PowerLossError, count_steps, failing_at
from tests.store.storing import PLAN, RESULTS, WriteResult, run_to_the_end, temporary_files, write_well

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def outcomes(step: int) -> list[Callable[[], bool]]:
    """Ways for the unsynced to end: all of it lost, all of it kept, and four mixtures."""
    mixtures = [random.Random(f"{step} {index}") for index in range(4)]
    return [lambda: False, lambda: True, *(lambda draw=draw: draw.random() < 0.5 for draw in mixtures)]


def crash_everywhere(folder: Path, write: WriteResult) -> Iterator[str]:
    """Lose power at every step, in every way; each broken promise as a sentence."""
    steps = count_steps(lambda files: run_to_the_end(folder / "whole", files, write=write))
    for step in range(steps):
        before, acknowledged = folder / f"{step}", set[str]()
        before.mkdir()
        disk = Disk(before, step)
        with pytest.raises(PowerLossError):
            run_to_the_end(before / "reports", disk.files, acknowledged.add, write)
        disk.release()
        for number, persists in enumerate(outcomes(step)):
            after = folder / f"{step}-{number}"
            disk.rebuild(after, persists)
            yield from (
                f"step {step}, way {number}: {what}" for what in lost(after / "reports", acknowledged)
            )
            shutil.rmtree(after)
        shutil.rmtree(before)
    assert steps > 60


def lost(reports: Path, acknowledged: set[str]) -> list[str]:
    """What the folder lacks of what was acknowledged, what is torn, and whether the run still ends."""
    run = find_latest(reports, "padding")
    broken = ["the run is lost"] if "run" in acknowledged and run is None else []
    if run is not None:
        results, problems = run.results()
        broken += problems
        broken += [f"{name} is lost" for name in acknowledged - {"run", "report"} - results.keys()]
        broken += [
            f"{result.trial.id} changed"
            for result in RESULTS
            if results.get(result.trial.id, result) != result
        ]
    if "report" in acknowledged and find_unfinished(reports, "padding", PLAN) is not None:
        broken.append("the report is lost")
    if not broken and "report" not in acknowledged:
        ended = run_to_the_end(reports, QUICK)
        if load_report(ended.path) != make_report(RESULTS):
            broken.append("the resumed run ends in another report")
        if temporary_files(ended.path):
            broken.append("temporary files are left")
    return broken


def write_without_fsync(folder: Path, result: TrialResult, files: Files) -> None:
    write_well(folder, result, replace(files, fsync=lambda _: None))


def write_without_folder_fsync(folder: Path, result: TrialResult, files: Files) -> None:
    def fsync(descriptor: int) -> None:
        if not is_folder(descriptor):
            files.fsync(descriptor)

    write_well(folder, result, replace(files, fsync=fsync))


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def write_without_rename(folder: Path, result: TrialResult, files: Files) -> None:
    sealed = to_json(SealedResult(digest=digest_of(canonical_json(result)), result=result))
    descriptor = files.open(folder / "result.json", os.O_WRONLY | os.O_CREAT)
    files.write(descriptor, sealed)
    files.fsync(descriptor)
    files.close(descriptor)


def test_a_power_loss_at_any_step_loses_nothing_acknowledged_and_tears_nothing(quick_path: Path) -> None:
    assert list(crash_everywhere(quick_path, write_well)) == []


def test_the_simulated_power_loss_catches_a_writer_without_fsync(quick_path: Path) -> None:
    assert any("not valid JSON" in broken for broken in crash_everywhere(quick_path, write_without_fsync))


def test_the_simulated_power_loss_catches_a_writer_that_syncs_no_folder(quick_path: Path) -> None:
    assert any("is lost" in broken for broken in crash_everywhere(quick_path, write_without_folder_fsync))


def test_the_simulated_power_loss_catches_a_writer_without_rename(quick_path: Path) -> None:
    assert any("not valid JSON" in broken for broken in crash_everywhere(quick_path, write_without_rename))


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_an_error_at_any_step_is_said_and_loses_nothing(quick_path: Path, for_good: bool) -> None:
    """Each kind of error in turn: it chooses the hint alone."""
    steps = count_steps(lambda files: run_to_the_end(quick_path / "whole", files))
    for step, code in zip(range(steps), cycle(ERRORS), strict=False):
        reports, acknowledged = quick_path / f"{step}", set[str]()
        with pytest.raises(StorageError) as caught:
            run_to_the_end(reports, failing_at(step, code, for_good=for_good), acknowledged.add)
        assert caught.value.exit_code == 74
        assert os.strerror(code) in caught.value.message
        assert str(reports) in caught.value.message
        assert caught.value.hint
        assert temporary_files(quick_path) == []
        assert lost(reports, acknowledged) == []
        shutil.rmtree(reports, ignore_errors=True)


def test_a_write_that_takes_a_few_bytes_at_a_time_is_still_whole(quick_path: Path) -> None:
    slow = Files(write=lambda descriptor, data: os.write(descriptor, data[:100]))
    run = run_to_the_end(quick_path, slow)
    assert run.results()[0].keys() == set(PLAN.trial_ids)


def test_a_file_system_without_fsync_of_folders_is_served(quick_path: Path) -> None:
    def fsync(descriptor: int) -> None:
        if is_folder(descriptor):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        OS_FILES.fsync(descriptor)

    assert run_to_the_end(quick_path, Files(fsync=fsync)).results()[1] == []
