"""Cases: what passed and what did not, in the neutral form that JUnit and annotations are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model.results import Report, TrialResult
from harness.model.status import STATUSES, CaseStatus
from harness.output.progress import describe_result, trial_names


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was checked: a gate, or a trial. Texts are raw; `seconds` is how long it took."""

    name: str
    classname: str
    status: CaseStatus
    message: str = ""
    details: str = ""
    seconds: float = 0.0


def trial_cases(report: Report) -> list[Case]:
    """One case a trial: a degenerate one failed, what could not or did not yet run is skipped."""
    names = trial_names(result.trial for result in report.results)
    return [_case(report.suite.name, names[result.trial.id], result) for result in report.results]


def _case(suite: str, name: str, result: TrialResult) -> Case:
    status: CaseStatus = "failed" if result.degenerate else STATUSES[result.status].junit
    return Case(
        name=name,
        classname=f"harness.{suite}",
        status=status,
        message=describe_result(result),
        details=result.log_tail,
        seconds=result.duration_s,
    )
