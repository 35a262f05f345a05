"""The process that scores logits: one that hangs, is stopped or leaves children behind is ended."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from harness.errors import UnavailableError
from harness.running.workers.scoring_process import score_again
from tests.running.fakes import REPOSITORY

pytestmark = pytest.mark.timeout(60)

LEAVES_A_CHILD = """
import os, sys, time
sys.stdin.read()
if os.fork() == 0:
    os.setsid()
    open({mark!r}, "w").write(str(os.getpid()))
    time.sleep(600)
while not os.path.exists({mark!r}) or not os.path.getsize({mark!r}):
    time.sleep(0.01)
"""


@pytest.fixture
def scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module called `some_scorer`, to be written by a test."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{REPOSITORY}")
    return tmp_path / "some_scorer.py"


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    "ending", ["time.sleep(600)", "os.kill(os.getpid(), 19)"], ids=["hangs", "is stopped"]
)
def test_a_scorer_that_does_not_end_is_killed_with_what_it_started(
    scorer: Path, tmp_path: Path, ending: str
) -> None:
    if sys.platform == "darwin":
        ending = ending.replace("19", "17")
    mark = tmp_path / "child"
    scorer.write_text(LEAVES_A_CHILD.format(mark=str(mark)) + ending)
    with pytest.raises(UnavailableError, match="the scorer of the logits took longer than 3 s"):
        score_again([], "some_scorer", limit_s=3.0)
    assert not _runs(int(mark.read_text()))


def test_a_scorers_answer_is_taken_though_its_child_keeps_the_output_open(scorer: Path) -> None:
    scorer.write_text("import os, time\nif os.fork() == 0:\n    time.sleep(600)\nprint('{}')")
    assert score_again([], "some_scorer", limit_s=30.0) == "{}"
