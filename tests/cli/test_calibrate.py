"""`harness calibrate` with a fake runner in real processes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.store.locking import hold_lock
from harness.store.noise_file import read_noise
from tests.running.fakes import RUNNERS, environ, forked, write_suite


def command(*arguments: str | Path, runner: str = "good") -> list[str]:
    fixed = ["--assets", "embedded", "--runner", f"{RUNNERS}:{runner}"]
    return ["calibrate", *fixed, *map(str, arguments)]


def calibrate(*arguments: str | Path, cwd: Path, runner: str = "good") -> subprocess.CompletedProcess[str]:
    return forked(*command(*arguments, runner=runner), cwd=cwd, environment=around(cwd))


def around(folder: Path) -> dict[str, str]:
    return environ(HARNESS_CACHE_DIR=str(folder / "cache"))


def test_one_trial_is_run_as_often_as_asked_and_its_bands_are_kept(tmp_path: Path) -> None:
    done = calibrate(write_suite(tmp_path), "--repeats", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.match(r"noise of machine [0-9a-f]{12}, 2 equal runs in 1 state\n", done.stdout)
    assert "train_samples_per_second" in done.stdout
    (file,) = (tmp_path / "cache" / "noise").glob("*.json")
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


def test_a_suite_that_tokenizes_is_calibrated_by_tokenizing(tmp_path: Path) -> None:
    path = tmp_path / "ways.yaml"
    path.write_text(
        "name: ways\nmatrix: {checkpoint: [bert-base-uncased], tokenization: [{method: map, num_proc: 2}]}\n"
    )
    done = calibrate(path, "--repeats", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "cache" / "noise").glob("*.json")
    assert str(read_noise(file).trial.tokenization) == "map(num_proc=2)"


@pytest.mark.parametrize("arguments", [(), ("--list", "--clear"), ("suite.yaml", "--list")], ids=" ".join)
def test_it_measures_lists_or_clears(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = calibrate(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "error: give one of SUITE, --list and --clear\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (
            ("--list", "--repeats", "3", "-s", "matrix.seed=[0]"),
            "--set, --repeats cannot be used without SUITE",
        ),
        (("--clear", "--variant", "x"), "--variant cannot be used without SUITE"),
        (("--list", "--spread", "10m"), "--spread cannot be used without SUITE"),
        (("--clear", "--json"), "--clear writes no result"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], refused: str
) -> None:
    done = calibrate(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert f"error: {refused}" in done.stderr


def test_a_trial_that_fails_leaves_no_calibration(tmp_path: Path) -> None:
    done = calibrate(write_suite(tmp_path, [102]), "--repeats", "2", cwd=tmp_path, runner="hostile")
    assert done.returncode == 2
    assert "ended failed" in done.stderr
    assert not (tmp_path / "cache" / "noise").exists()


@pytest.mark.parametrize(
    "arguments",
    [("--variant", "nothing"), ("--repeats", "1"), ("-s", "matrix.seeed=[0]"), ("--spread", "soon")],
)
def test_a_term_that_is_wrong_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = calibrate(write_suite(tmp_path), *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_calibrations_accumulate_as_states_and_those_in_close_succession_are_one(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    first = calibrate(suite, "--repeats", "3", cwd=tmp_path)
    assert "3 equal runs in 1 state\n" in first.stdout
    assert "calibrate again later, or with --spread 10m" in first.stdout
    second = calibrate(suite, "--repeats", "2", cwd=tmp_path)
    assert "5 equal runs in 1 state\n" in second.stdout
    assert "less than a minute after each other meet one state" in second.stdout
    (file,) = (tmp_path / "cache" / "noise").glob("*.json")
    noise = read_noise(file)
    assert [len(state.values["train_seconds"]) for state in noise.states] == [3, 2]
    assert len(noise.values["train_seconds"]) == noise.repeats == 5


def test_a_calibration_waits_while_another_is_stored(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "noise"
    folder.mkdir(parents=True)
    with hold_lock(folder / "lock"):
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *command(write_suite(tmp_path), "--repeats", "2")],
            cwd=tmp_path,
            env=around(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=8)
        assert not list(folder.glob("*.json"))
    output, _ = process.communicate(timeout=120)
    assert "2 equal runs in 1 state" in output
    assert len(list(folder.glob("*.json"))) == 1


def test_spread_stores_a_state_of_two_runs_at_a_time(tmp_path: Path) -> None:
    done = calibrate(write_suite(tmp_path), "--repeats", "3", "--spread", "0.1s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 states are stored; the next one starts in" in done.stderr
    (file,) = (tmp_path / "cache" / "noise").glob("*.json")
    noise = read_noise(file)
    assert [len(state.values["train_seconds"]) for state in noise.states] == [2, 2, 2]
    assert len({state.id for state in noise.states}) == 3


def test_a_damaged_calibration_is_replaced_and_that_is_told(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    assert calibrate(suite, "--repeats", "2", cwd=tmp_path).returncode == 0
    (file,) = (tmp_path / "cache" / "noise").glob("*.json")
    file.write_bytes(file.read_bytes()[:-9])
    done = calibrate(suite, "--repeats", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"replaced a damaged calibration: {file}: " in done.stderr
    assert read_noise(file).repeats == 2


def test_another_trial_replaces_the_states_and_that_is_told(tmp_path: Path) -> None:
    assert calibrate(write_suite(tmp_path), "--repeats", "2", cwd=tmp_path).returncode == 0
    done = calibrate(write_suite(tmp_path), "--repeats", "2", "-s", "train.max_steps=7", cwd=tmp_path)
    assert done.returncode == 0
    assert "replaced the calibration of another trial" in done.stderr
    assert "2 equal runs in 1 state\n" in done.stdout
