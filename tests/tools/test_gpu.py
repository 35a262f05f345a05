"""The command for machines with a GPU, as far as a CPU can test it."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import psutil
import pytest

from harness.suite.matrix import expand
from harness.suite.suite_file import load_suite
from tools.gpu.__main__ import _GRACE_S, Outcome, Step, main, steps, take, take_all

MARK = "pytest.mark." + "cuda"
STEPS = steps(["-s", "task.max_classes=2"], Path("weights"), Path("out"), seeds=2)
OF_SUITES = [each for each in STEPS if any(".yaml" in word for word in each.command)]


@pytest.mark.parametrize(
    "step", [each for each in STEPS if any(".yaml" in word for word in each.command)], ids=str
)
def test_each_suite_of_a_step_has_trials_with_its_settings(step: Step) -> None:
    (suite,) = [word for word in step.command if word.endswith(".yaml")]
    given = [value for key, value in zip(step.command, step.command[1:], strict=False) if key == "-s"]
    trials = expand(load_suite(suite, given), ["cuda:0", "cpu"])
    assert {trial.checkpoint for trial in trials} == {"weights"}
    assert {trial.device for trial in trials} == {"cuda:0"}
    assert {trial.seed for trial in trials} == ({0, 1} if step.command[3] == "run" else {0})


def test_measurements_come_after_the_checks_and_alone() -> None:
    alone = [step.alone for step in STEPS]
    assert alone == sorted(alone)
    assert [step.name for step in STEPS if step.alone] == [
        *("devices", "compile", "cuda", "two-gpus"),
        *("profile-launches-batch-8", "profile-graphs-batch-8"),
        *("profile-launches-batch-32", "profile-graphs-batch-32"),
        "prove-autotune",
    ]


def test_every_test_that_needs_cuda_is_among_those_of_its_step() -> None:
    (given,) = [word for word in next(s.command for s in STEPS if s.name == "tests") if "tests/" in word]
    marked = [file for file in Path("tests").rglob("test_*.py") if MARK in file.read_text()]
    assert marked
    assert all(file.is_relative_to(given) for file in marked)


def test_two_gpus_train_one_trial_with_the_global_batch_of_one() -> None:
    command = next(step.command for step in STEPS if step.name == "two-gpus")
    given = [value for key, value in itertools.pairwise(command) if key == "-s"]
    trials = expand(load_suite("suites/devices.yaml", given), ["cuda:0", "cuda:1", "cpu"])
    assert {(trial.world_size, trial.devices, trial.batch_size) for trial in trials} == {
        (1, ("cuda:0",), 8),
        (2, ("cuda:0", "cuda:1"), 8),
    }


def test_a_step_leaves_a_log_and_tells_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcome(code: str, limit_s: float = 60) -> Outcome:
        return take(Step("step", (sys.executable, "-c", code), limit_s), tmp_path)

    assert outcome("print('found')").ended == "ok"
    assert (tmp_path / "step.log").read_text() == "found\n"
    assert outcome("raise SystemExit(3)").ended == "exit 3"
    assert outcome("import time; time.sleep(60)", limit_s=0.5).ended == "late"
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["ok", "exit", "late"]


def test_a_step_at_its_limit_writes_what_it_has_and_leaves_no_process(tmp_path: Path) -> None:
    """As a run, which stops its trial and writes its report; one that does not end in order is killed."""
    orderly = "import signal, sys; signal.signal(15, lambda *_: (print('report'), sys.exit(143)))"
    stuck = (
        "import signal, subprocess, sys; signal.signal(15, signal.SIG_IGN); "
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)"
    )
    for code, grace_s in ((orderly, 30.0), (stuck, 0.2)):
        step = Step("step", (sys.executable, "-c", f"{code}; import time; time.sleep(60)"), 3.0)
        assert take(step, tmp_path, grace_s=grace_s).ended == "late"
        log = (tmp_path / "step.log").read_text()
        if code == orderly:
            assert log == "report\n"
        else:
            assert not psutil.pid_exists(int(log)) or psutil.Process(int(log)).status() == "zombie"


def test_each_step_gets_half_of_the_time_that_is_left_and_the_last_one_all_of_it() -> None:
    clock, given = [100.0], []

    def run(step: Step, limit_s: float) -> Outcome:
        given.append((step.name, limit_s))
        clock[0] += min(limit_s, 60.0)
        return Outcome(step, "ok", 60.0)

    def named(name: str, *, limit_s: float = 1000.0) -> Step:
        return Step(name, (), limit_s, alone=True)

    some = [named("first"), named("short", limit_s=50.0), named("third"), named("last")]
    outcomes = take_all(some, 480 + _GRACE_S, run, now=lambda: clock[0])
    assert given == [("first", 240.0), ("short", 50.0), ("third", 185.0), ("last", 310.0)]
    assert [outcome.ended for outcome in outcomes] == ["ok"] * 4


def test_what_has_no_time_left_is_told_and_without_a_limit_all_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    checks = [Step("check", (), 900.0), Step("other", (), 900.0)]
    alone = Step("alone", (), 1800.0, alone=True)
    clock, given = [0.0], []

    def run(step: Step, limit_s: float) -> Outcome:
        given.append(limit_s)
        clock[0] = 70.0
        return Outcome(step, "late", limit_s)

    outcomes = take_all([*checks[:1], alone], 60 + _GRACE_S, run, now=lambda: clock[0])
    assert [outcome.ended for outcome in outcomes] == ["late", "not run"]
    assert capsys.readouterr().out.split()[-1] == "alone"
    take_all([*checks, alone], None, run, now=lambda: clock[0])
    assert given == [30.0, 900.0, 900.0, 1800.0]


def test_a_mistyped_step_and_a_missing_vocabulary_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--only", "test"])
    assert caught.value.code == 2
    assert "there are doctor, tests, prove-cuda" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["--output", str(tmp_path), "--tokenizer", str(tmp_path)])
    assert caught.value.code == 2
    assert "has no vocab.txt\nRun `harness fetch minilm`" in capsys.readouterr().err
