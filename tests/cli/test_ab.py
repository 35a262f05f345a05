"""`harness ab` with fake runners in real processes: the order of starts, what is stored, and exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import __version__
from harness.model.results import Report
from harness.store.reading import load_report
from tests.running.fakes import REPOSITORY, RUNNERS, environ, forked

SPEED_GATE = "gates: [{metric: train_real_tokens_per_second, max_drop: 20%}]\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def pythons(tmp_path: Path) -> tuple[Path, Path]:
    """Two interpreters of the same libraries, as two virtual environments would have them."""
    return interpreter(tmp_path / "base-env"), interpreter(tmp_path / "new-env")


def interpreter(folder: Path) -> Path:
    """A script that runs this interpreter under another path."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(Path(sys.executable).resolve())
    (folder / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    libraries = Path("lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
    (folder / libraries).parent.mkdir(parents=True)
    (folder / libraries).symlink_to(Path(sys.prefix) / libraries)
    return python


def suite_file(folder: Path, name: str = "fake", paddings: str = "[dynamic]", rest: str = "") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(
        f"name: {name}\ntask: glue/mrpc\nmatrix:\n  checkpoint: [bert-base-uncased]\n"
        f"  padding: {paddings}\n  device: [cpu]\n  seed: [0, 1, 2, 3]\n{rest}"
    )
    return path


def command(*arguments: str | Path, runner: str = "taking_turns") -> list[str]:
    fixed = ["--assets", "embedded", "--no-parity", "--runner", f"{RUNNERS}:{runner}"]
    return [sys.executable, "-m", "harness", "ab", *fixed, *map(str, arguments)]


def ab(*arguments: str | Path, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    changes = {"FAKE_RECORD": str(cwd / "record"), **changes}
    return forked(*command(*arguments)[3:], cwd=cwd, environment=environ(**changes))


def starts(folder: Path) -> list[list[str]]:
    """The interpreter's environment, padding and seed of each start, in order."""
    lines = [line.split() for line in (folder / "record").read_text().splitlines()]
    return [[Path(python).parent.parent.name, padding, seed] for python, padding, seed in lines]


def reports_of(folder: Path) -> tuple[Report, Report]:
    (base,) = folder.glob("reports/ab-*/base/*/*/report.json")
    (candidate,) = folder.glob("reports/ab-*/candidate/*/*/report.json")
    return load_report(base), load_report(candidate)


def test_the_trials_of_two_environments_start_abba_and_each_side_has_a_report(
    tmp_path: Path, pythons: tuple[Path, Path]
) -> None:
    base, new = pythons
    suite = suite_file(tmp_path, paddings="[static, dynamic]")
    speeds = json.dumps({"new-env": 50.0})
    done = ab(suite, "--base-python", base, "--python", new, cwd=tmp_path, FAKE_SPEEDS=speeds)
    assert done.returncode == 0, done.stderr
    assert [name for name, _, _ in starts(tmp_path)] == [*("base-env", "new-env", "new-env", "base-env")] * 4
    pairs = list(zip(starts(tmp_path)[::2], starts(tmp_path)[1::2], strict=True))
    assert all(first[1:] == second[1:] for first, second in pairs)
    # Every variant starts as often with the base as with the candidate.
    first = [(pair[0][0], pair[0][1]) for pair in pairs]
    assert all(first.count(each) == 2 for each in first)
    assert done.stdout.startswith("candidate against base\n")
    assert done.stdout.count("better") == 2
    assert "one A/B session" in done.stdout
    kept = reports_of(tmp_path)
    assert [report.session and report.session.side for report in kept] == ["base", "candidate"]
    assert kept[0].session is not None
    assert kept[1].session is not None
    assert kept[0].session.id == kept[1].session.id
    positions = sorted(kept[0].session.positions + kept[1].session.positions)
    assert positions == list(range(16))


def test_drift_that_would_hide_a_change_is_removed_by_pairing_now_and_in_a_later_comparison(
    tmp_path: Path, pythons: tuple[Path, Path]
) -> None:
    base, new = pythons
    suite = suite_file(tmp_path)
    speeds = json.dumps({"new-env": 24.0})
    done = ab(suite, "--base-python", base, "--python", new, "--json", cwd=tmp_path, FAKE_SPEEDS=speeds)
    assert done.returncode == 0, done.stderr
    rows = {row["metric"]: row for row in json.loads(done.stdout)["rows"]}
    row = rows["train_real_tokens_per_second"]
    assert (row["verdict"], row["test"]) == ("worse", "paired t of logarithms")
    paths = [next(tmp_path.glob(f"reports/ab-*/{side}/*/*/report.json")) for side in ("base", "candidate")]
    later = forked("compare", *paths, cwd=tmp_path)
    assert later.returncode == 0, later.stderr
    assert "worse" in later.stdout
    assert "one A/B session" in later.stdout
    # Two reports of other runs are not paired, and the drift hides the difference.
    for path in paths:
        stored = json.loads(path.read_text())
        del stored["session"]
        path.write_text(json.dumps({**stored, "digest": None}))
    unpaired = forked("compare", *paths, cwd=tmp_path)
    assert "worse" not in unpaired.stdout


def test_the_gates_of_the_base_suite_decide_the_exit_code(tmp_path: Path, pythons: tuple[Path, Path]) -> None:
    base, new = pythons
    suite = suite_file(tmp_path, rest=SPEED_GATE)
    sides = (suite, "--base-python", base, "--python", new)
    slow = ab(*sides, cwd=tmp_path, FAKE_SPEEDS=json.dumps({"new-env": 10.0}))
    assert slow.returncode == 1
    assert "harness check: FAIL" in slow.stdout
    assert "train_real_tokens_per_second drop <= 20%" in slow.stdout
    assert ab(*sides, "--no-suite-gates", "--fresh", cwd=tmp_path).returncode == 0
    same = ab(*sides, "--fresh", cwd=tmp_path)
    assert same.returncode == 0, same.stdout
    assert "harness check: PASS" in same.stdout


def test_two_suites_that_differ_in_an_axis_are_paired_without_it(tmp_path: Path) -> None:
    base = suite_file(tmp_path, "base", "[static]")
    candidate = suite_file(tmp_path, "candidate", "[dynamic]")
    done = ab(base, candidate, cwd=tmp_path, FAKE_SPEEDS=json.dumps({" dynamic": 50.0}))
    assert done.returncode == 0, done.stderr
    assert [padding for _, padding, _ in starts(tmp_path)] == [
        *("static", "dynamic", "dynamic", "static")
    ] * 2
    assert "better" in done.stdout
    assert "missing" not in done.stdout
    kept = reports_of(tmp_path)
    assert kept[0].session is not None
    assert kept[0].session.apart == ("padding",)
    base_path, candidate_path = (
        next(tmp_path.glob(f"reports/ab-*/{side}/*/*/report.json")) for side in ("base", "candidate")
    )
    gate = ("-g", "train_real_tokens_per_second drop<=10%")
    checked = forked("check", candidate_path, "--baseline", base_path, *gate, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout


def test_the_levels_of_an_axis_take_turns_in_one_report(tmp_path: Path) -> None:
    suite = suite_file(tmp_path, paddings="[static, dynamic, bucketed]")
    done = ab(suite, "--by", "padding", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    forward = ["static", "dynamic", "bucketed"]
    assert [padding for _, padding, _ in starts(tmp_path)] == [*forward, *reversed(forward)] * 2
    assert done.stdout.startswith("padding: dynamic, bucketed against static\n")
    (path,) = tmp_path.glob("reports/ab-*/fake/*/report.json")
    assert load_report(path).session is None


def test_a_side_that_fails_has_its_rows_and_the_exit_code_is_1(
    tmp_path: Path, pythons: tuple[Path, Path]
) -> None:
    base, new = pythons
    suite = suite_file(tmp_path)
    done = ab(suite, "--base-python", base, "--python", new, cwd=tmp_path, FAKE_FAILS="new-env")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "candidate: bert-base-uncased seed 0: failed in train: RuntimeError: it fails on this side" in (
        done.stderr
    )
    statuses = [{result.status for result in report.results} for report in reports_of(tmp_path)]
    assert statuses == [{"completed"}, {"failed"}]


def test_json_is_valid_even_on_failure(tmp_path: Path) -> None:
    done = ab(suite_file(tmp_path), "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"] == "both sides are the same: the same suite under the same code"


def test_a_checkout_runs_its_own_code(tmp_path: Path) -> None:
    checkout = tmp_path / "main"
    checkout.mkdir()
    for name in ("harness", "tests"):
        (checkout / name).symlink_to(REPOSITORY / name)
    suite = suite_file(tmp_path)
    done = ab(suite, "--base", checkout, "--candidate", REPOSITORY, cwd=tmp_path)
    assert done.returncode == 2
    assert "not from" in done.stderr
    (checkout / "harness").unlink()
    subprocess.run(["cp", "-r", str(REPOSITORY / "harness"), str(checkout / "harness")], check=True)
    version = checkout / "harness" / "__init__.py"
    version.write_text(version.read_text() + '\n__version__ = "9.9.9"\n')
    done = ab(suite, "--base", checkout, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    reports = reports_of(tmp_path)
    assert (reports[0].harness_version, reports[1].harness_version) == ("9.9.9", __version__)


def test_the_same_command_resumes_and_runs_a_half_finished_turn_again(
    tmp_path: Path, pythons: tuple[Path, Path]
) -> None:
    base, new = pythons
    suite = suite_file(tmp_path)
    sides = (suite, "--base-python", base, "--python", new)
    changes = {"FAKE_RECORD": str(tmp_path / "record"), "FAKE_RELEASE": str(tmp_path / "release")}
    process = subprocess.Popen(
        command(*sides, runner="held_at_the_fourth"),
        cwd=tmp_path,
        env=environ(**changes),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    record = tmp_path / "record"
    while not record.exists() or len(record.read_text().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 143, errors
    record.unlink()
    done = ab(*sides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 finished trials will run again: their partners are not finished" in done.stderr
    ran = [(name, seed) for name, _, seed in starts(tmp_path)]
    assert ran == [
        ("new-env", "1"),
        ("base-env", "1"),
        ("base-env", "2"),
        ("new-env", "2"),
        ("new-env", "3"),
        ("base-env", "3"),
    ]
    record.unlink()
    assert ab(*sides, "--rerun", "failed", cwd=tmp_path).returncode == 0
    assert not record.exists()


def test_a_session_of_which_one_side_has_its_report_goes_on_with_the_other(
    tmp_path: Path, pythons: tuple[Path, Path]
) -> None:
    base, new = pythons
    sides = (suite_file(tmp_path), "--base-python", base, "--python", new)
    assert ab(*sides, cwd=tmp_path).returncode == 0
    (tmp_path / "record").unlink()
    (report,) = tmp_path.glob("reports/ab-*/candidate/*/*/report.json")
    before = reports_of(tmp_path)
    report.unlink()
    done = ab(*sides, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "record").exists()
    assert [each.session for each in reports_of(tmp_path)] == [each.session for each in before]


def test_another_version_of_the_code_starts_a_session_of_its_own(tmp_path: Path) -> None:
    suite = suite_file(tmp_path)
    checkout = tmp_path / "main"
    checkout.mkdir()
    subprocess.run(["cp", "-r", str(REPOSITORY / "harness"), str(checkout / "harness")], check=True)
    for _ in range(2):
        assert ab(suite, "--base", checkout, "--rerun", "failed", cwd=tmp_path).returncode == 0
    assert len(list(tmp_path.glob("reports/ab-*"))) == 1
    (checkout / "harness" / "unused.py").write_text("")
    assert ab(suite, "--base", checkout, "--rerun", "failed", cwd=tmp_path).returncode == 0
    assert len(list(tmp_path.glob("reports/ab-*"))) == 2


@pytest.mark.parametrize("option", ["--python", "--candidate"])
def test_a_relative_side_in_a_current_directory_that_was_removed_is_named(
    tmp_path: Path, option: str
) -> None:
    (tmp_path / "gone").mkdir()
    sides = (suite_file(tmp_path), option, "new", "--reports", tmp_path / "reports")
    done = subprocess.run(
        ["bash", "-c", 'rmdir "$PWD" && exec "$@"', "bash", *command(*sides)],
        cwd=tmp_path / "gone",
        env=environ(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "error: candidate: new: the current directory does not exist any more" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fake.yaml"], 2, "both sides are the same"),
        (["fake.yaml", "other.yaml", "--by", "padding"], 2, "within one suite"),
        (["fake.yaml", "--by", "padding"], 2, "every trial of the suite has padding dynamic"),
        (["fake.yaml", "--by", "device"], 2, "take no turns"),
        (["fake.yaml", "--by", "paddin"], 2, "there is no axis 'paddin'"),
        (["fake.yaml", "other.yaml"], 2, "6 trials have no partner"),
        (["fake.yaml", "measured.yaml"], 2, "different settings under measure"),
        (["fake.yaml", "--python", "nowhere"], 2, "nowhere is not an executable file"),
        (["fake.yaml", "--base", "."], 2, "has no harness/__init__.py"),
        (["fake.yaml", "--python", "broken"], 69, "cannot import harness and read a job"),
        (["fake.yaml", "--python", sys.executable, "--strict", "-s", "matrix.device=[cuda:7]"], 69, "cuda:7"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    suite_file(tmp_path)
    suite_file(tmp_path, "other").write_text(
        (tmp_path / "fake.yaml").read_text().replace("seed: [0, 1, 2, 3]", "seed: [4, 5]")
    )
    suite_file(tmp_path, "measured", rest="measure: {warmup_steps: 3}\n")
    (tmp_path / "broken").write_text("#!/bin/sh\necho 'No module named harness' >&2\nexit 1\n")
    (tmp_path / "broken").chmod(0o755)
    done = ab(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "record").exists()
