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
        final: a run with such a result for every trial is finished.
        ran: the trial itself came to an end, good or bad.
        retried: where a worker leaves no result, `--retries` starts the trial again within the same run.
        rerun: the trial runs again when its run is continued, without `--rerun`.
        junit: the status of its test case in JUnit XML and annotations.
    """

    name: StatusName
    final: bool = True
    ran: bool = True
    retried: bool = False
    rerun: bool = False
    junit: CaseStatus = "error"


STATUSES: Final[dict[StatusName, Status]] = {
    status.name: status
    for status in (
        Status("completed", junit="passed"),
        Status("failed"),
        Status("oom", retried=True),
        Status("diverged"),
        Status("timeout", retried=True),
        # A killed worker proves nothing about its trial.
        Status("killed", retried=True, rerun=True),
        Status("interrupted", final=False, ran=False, rerun=True, junit="skipped"),
        Status("unavailable", ran=False, junit="skipped"),
        Status("pending", final=False, ran=False, rerun=True, junit="skipped"),
    )
}
