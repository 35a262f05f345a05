from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import StorageError
from harness.store.reading import load_report
from harness.store.suite_runs import find_latest
from tests.factories import make_report
from tests.store.processes import Child
from tests.store.storing import RESULTS, run_to_the_end, temporary_files

SIZE = 256 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of SIZE bytes, which only root can mount."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk_is_said_keeps_what_was_finished_and_resumes_with_space(small_disk: Path) -> None:
    kept = [fill_and_resume(small_disk, free_pages) for free_pages in range(24)]
    assert {0, 1, 2, 3} <= set(kept)


def fill_and_resume(disk: Path, free_pages: int) -> int:
    """Run with that much space, then with all of it; how many results the full disk had left room for."""
    filler, reports, acknowledged = disk / "filler", disk / "reports", set[str]()
    filler.write_bytes(b"x" * (SIZE - free_pages * resource.getpagesize()))
    try:
        run_to_the_end(reports, acknowledge=acknowledged.add)
    except StorageError as error:
        assert error.exit_code == 74  # noqa: PT017  # with more room there is no error
        assert "No space left on device" in error.message  # noqa: PT017
        assert "Free some space" in str(error.hint)  # noqa: PT017
    assert temporary_files(disk) == []
    before = find_latest(reports, "padding")
    results, problems = before.results() if before else ({}, [])
    assert problems == []
    assert acknowledged - {"run", "report"} == results.keys()
    filler.unlink()
    if "report" not in acknowledged:
        run = run_to_the_end(reports)
        assert before is None or run.path == before.path
        assert load_report(run.path) == make_report(RESULTS)
    shutil.rmtree(reports)
    return len(results)


def test_a_limit_on_file_sizes_is_said_and_leaves_nothing_torn(tmp_path: Path) -> None:
    def work(tell: Callable[[str], None]) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
        run_to_the_end(tmp_path)

    code, lines = Child(work).wait()
    assert code == 74
    assert "File too large" in lines[0]
    assert temporary_files(tmp_path) == []
    assert load_report(run_to_the_end(tmp_path).path) == make_report(RESULTS)
