"""Run a suite from Python: what `harness run` does, without its printing."""

from __future__ import annotations

from collections.abc import Sequence

from harness.execution import run as execution
from harness.execution.options import Run, RunOptions, Seams
from harness.job import Observer, Progress
from harness.output.html import to_html
from harness.output.markdown import to_markdown
from harness.results.models import Report, TrialResult
from harness.results.writing import to_json
from harness.suite.models import Suite
from harness.trial import Trial

__all__ = ["Run", "RunOptions", "Silent", "run_suite"]


class Silent:
    """An observer that says nothing."""

    def planned(self, trials: Sequence[Trial], reused: Sequence[TrialResult]) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def started(self, trial: Trial) -> None:
        """Say nothing."""

    def progressed(self, trial: Trial, progress: Progress) -> None:
        """Say nothing."""

    def finished(self, result: TrialResult) -> None:
        """Say nothing."""


def run_suite(
    suite: Suite,
    options: RunOptions | None = None,
    *,
    suite_text: bytes | None = None,
    observer: Observer | None = None,
    seams: Seams | None = None,
) -> Run:
    """Run every trial of a suite that is not done yet, and write the report.

    Args:
        suite: what to run, from `load_suite`.
        options: how; None takes the defaults of `harness run`.
        suite_text: the suite file, of which the run directory keeps a copy; None writes the suite as JSON.
        observer: told of everything as it happens.
        seams: for tests.

    Raises:
        HarnessError: as `harness.execution.run.run_suite` says.
        KeyboardInterrupt: interrupted before the first trial, or twice.
    """
    return execution.run_suite(
        suite,
        to_json(suite) if suite_text is None else suite_text,
        options or RunOptions(),
        observer=observer or Silent(),
        render=_render,
        seams=seams,
    )


def _render(report: Report) -> tuple[str, str | None]:
    return to_markdown(report), to_html(report)
