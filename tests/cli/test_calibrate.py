"""`harness calibrate` with a fake runner in real processes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.analysis.noise_store import read_noise
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
    noise = read_noise(file)
    assert file.stem == noise.fingerprint
    assert noise.repeats == 2
    assert len(list((tmp_path / "reports" / "noise-fake").glob("*/report.json"))) == 2

    listed = calibrate("--list", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "1 calibration in" in listed.stdout
    row = next(line for line in listed.stdout.splitlines() if "train_samples_per_second" in line)
    assert noise.fingerprint in row
    assert f"{noise.created:%Y-%m-%d %H:%M}" in row
    file.write_bytes(file.read_bytes().replace(b'"repeats": 2', b'"repeats": 3'))
    damaged = calibrate("--list", cwd=tmp_path)
    assert damaged.returncode == 2
    assert f"{file}: its content does not match its digest" in damaged.stderr
    cleared = calibrate("--clear", cwd=tmp_path)
    assert (cleared.returncode, "removed 1 calibration" in cleared.stdout) == (0, True)
    assert not file.exists()
    assert "no calibration in" in calibrate("--list", cwd=tmp_path).stdout


@pytest.mark.parametrize("arguments", [(), ("--list", "--clear"), ("suite.yaml", "--list")], ids=" ".join)
def test_it_measures_lists_or_clears(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = calibrate(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Give one of SUITE, --list and --clear." in done.stderr


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
