"""A runner whose trials stop, hang or confuse the process that they were forked from, by their seed."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn

from harness.model.job import Announce, Job, Progress
from harness.model.results import TrialResult
from harness.model.seeds import number_of
from tests.running.runners import completed

STOPS, STOPS_AND_COMPLETES, HANGS, LIES, FLOODS, ENDS = 100, 102, 104, 106, 108, 110


def warm(job: Job) -> None:
    """In the server, before the fork."""
    # The descriptor that it reports to, from its command line.
    events = int(sys.argv[2])
    if job.trial.seed == HANGS:
        signal.signal(signal.SIGALRM, _hang)
        signal.alarm(1)
    elif job.trial.seed == LIES:
        os.write(events, b'{"event": "exited", "folder": 3}\n')
    elif job.trial.seed == FLOODS:
        os.write(events, b"x" * 2**21)
    elif job.trial.seed == ENDS:
        os._exit(7)


def run(job: Job, announce: Announce) -> TrialResult:
    """In the worker. A hostile one leaves a process in another session, which must be found and killed."""
    announce(Progress(phase="train", step=1, steps=2))
    if number_of(job.trial.seed, "init") < STOPS or number_of(job.trial.seed, "init") % 2:
        return completed(job)
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
    if job.trial.seed in (STOPS, STOPS_AND_COMPLETES):
        os.kill(os.getppid(), signal.SIGSTOP)
    if job.trial.seed == STOPS_AND_COMPLETES:
        return completed(job)
    time.sleep(600)
    return completed(job)


def _hang(_number: int, _frame: object) -> NoReturn:
    while True:
        time.sleep(600)
