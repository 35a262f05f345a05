"""Programs that tests start have the default signal handlers, under nohup and in the background too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
_TELL = """
import signal
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    print(number in signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getsignal(number) is signal.SIG_IGN)
"""


_IGNORE_AND_BLOCK = """
import os, signal, sys
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_program_started_by_a_test_has_the_default_handlers() -> None:
    told = subprocess.run([sys.executable, "-c", _TELL], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["False False"] * 4


def test_default_handlers_survive_a_test_run_that_was_started_with_signals_ignored() -> None:
    test = f"{__file__}::{test_a_program_started_by_a_test_has_the_default_handlers.__name__}"
    done = subprocess.run(
        [sys.executable, "-c", _IGNORE_AND_BLOCK, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
