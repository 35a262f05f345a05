"""The command for machines with a GPU, as far as a CPU can test it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.suite.matrix import expand
from harness.suite.suite_file import load_suite
from tools.gpu.__main__ import Outcome, Step, main, steps, take

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
        *("profile-launches-batch-8", "profile-graphs-batch-8"),
        *("profile-launches-batch-32", "profile-graphs-batch-32"),
        *("cuda", "devices", "compile"),
    ]


def test_a_step_leaves_a_log_and_tells_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcome(code: str, limit_s: float = 60) -> Outcome:
        return take(Step("step", (sys.executable, "-c", code), limit_s), tmp_path)

    assert outcome("print('found')").status == 0
    assert (tmp_path / "step.log").read_text() == "found\n"
    assert outcome("raise SystemExit(3)").status == 3
    assert outcome("import time; time.sleep(60)", limit_s=0.5).status is None
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in printed] == ["ok", "exit", "late"]


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
