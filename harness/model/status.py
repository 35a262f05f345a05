"""Status: how a trial ended, and what follows from it, declared once for each status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

StatusName = Literal[
    "completed", "failed", "oom", "diverged", "timeout", "killed", "interrupted", "unavailable", "pending"
]
Phase = Literal[
    "start",
    "load_data",
    "tokenize",
    "load_model",
    "roofline",
    "compile",
    "prove",
    "train",
    "evaluate",
    "write",
]
CaseStatus = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class Status:
    """The consequences of one status.

    Args:
        name: as it is stored in a report.
        meaning: one phrase for the reference page.
        final: a run with such a result for every trial is finished.
        ran: the trial itself came to an end, good or bad.
        retried: where a worker leaves no result, `--retries` starts the trial again within the same run.
        rerun: the trial runs again when its run is continued, without `--rerun`.
        junit: the status of its test case in JUnit XML and annotations.
    """

    name: StatusName
    meaning: str
    final: bool = True
    ran: bool = True
    retried: bool = False
    rerun: bool = False
    junit: CaseStatus = "error"


STATUSES: Final[dict[StatusName, Status]] = {
    status.name: status
    for status in (
        Status("completed", "a result with metrics", junit="passed"),
        Status("failed", "an error of the trial, which another attempt would meet too"),
        Status("oom", "device or host memory ran out", retried=True),
        Status("diverged", "a loss became NaN or infinite"),
        Status("timeout", "a limit on start-up, stall or total time ended it", retried=True),
        # A killed worker proves nothing about its trial.
        Status("killed", "a signal ended it, or its result found no space", retried=True, rerun=True),
        Status(
            "interrupted",
            "Ctrl-C or a signal to the run ended it",
            final=False,
            ran=False,
            rerun=True,
            junit="skipped",
        ),
        Status(
            "unavailable", "a device, checkpoint, data set or package is missing", ran=False, junit="skipped"
        ),
        Status("pending", "not run yet", final=False, ran=False, rerun=True, junit="skipped"),
    )
}
