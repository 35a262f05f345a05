"""`harness calibrate` with a fake runner in real processes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.analysis.noise import Noise
from harness.results.reading import read_strict
from tests.execution.fakes import RUNNERS, environ, write_suite


def calibrate(*arguments: str | Path, cwd: Path, runner: str = "good") -> subprocess.CompletedProcess[str]:
    fixed = ["--assets", "embedded", "--runner", f"{RUNNERS}:{runner}"]
    return subprocess.run(
        [sys.executable, "-m", "harness", "calibrate", *fixed, *map(str, arguments)],
        cwd=cwd,
        env=environ(HARNESS_CACHE_DIR=str(cwd / "cache")),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_one_trial_is_run_as_often_as_asked_and_its_bands_are_kept(tmp_path: Path) -> None:
    done = calibrate(write_suite(tmp_path), "--repeats", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.match(r"noise of machine [0-9a-f]{12}, 2 equal runs", done.stdout)
    assert "train_samples_per_second" in done.stdout
    (file,) = (tmp_path / "cache" / "noise").iterdir()
    noise = read_strict(file, Noise)
    assert file.stem == noise.fingerprint
    assert noise.repeats == 2
    assert len(list((tmp_path / "reports" / "noise-fake").glob("*/report.json"))) == 2


def test_a_trial_that_fails_leaves_no_calibration(tmp_path: Path) -> None:
    done = calibrate(write_suite(tmp_path, [102]), "--repeats", "2", cwd=tmp_path, runner="hostile")
    assert done.returncode == 2
    assert "ended failed" in done.stderr
    assert not (tmp_path / "cache" / "noise").exists()


@pytest.mark.parametrize(
    "arguments", [("--variant", "nothing"), ("--repeats", "1"), ("-o", "matrix.seeed=[0]")]
)
def test_a_term_that_is_wrong_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = calibrate(write_suite(tmp_path), *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
