"""Run a suite from Python: what `harness run` does, without its printing."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.job import Observer, Progress
from harness.model.results import Report, TrialResult
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.output.builders.report import report_document
from harness.output.formats.registry import render
from harness.running import ab
from harness.running import run as execution
from harness.running.ab import Side
from harness.running.options import Run, RunOptions, Seams
from harness.store.writing import to_json

__all__ = ["Run", "RunOptions", "Side", "Silent", "run_along", "run_sides", "run_suite"]


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
        HarnessError: as `harness.running.run.run_suite` says.
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


def run_sides(
    base: Side,
    candidate: Side,
    options: RunOptions | None = None,
    *,
    observer: Observer | None = None,
    seams: Seams | None = None,
) -> tuple[Run, Run]:
    """Run the trials of two sides in turn on this machine, and write a report for each.

    Args:
        base: the suite and the code to compare with.
        candidate: the other side.
        options: how, for both; None takes the defaults of `harness ab`.
        observer: told of everything as it happens.
        seams: for tests.

    Raises:
        HarnessError: as `harness.running.ab.run_sides` describes.
        KeyboardInterrupt: interrupted before the first trial, or twice.
    """
    return ab.run_sides(
        base,
        candidate,
        options or RunOptions(),
        observer=observer or Silent(),
        render=_render,
        seams=seams,
    )


def run_along(
    suite: Suite,
    axis: str,
    options: RunOptions | None = None,
    *,
    suite_text: bytes | None = None,
    observer: Observer | None = None,
    seams: Seams | None = None,
) -> Run:
    """Run a suite so that the trials that differ in one axis alone take turns, and write its report.

    Args:
        suite: what to run, with two or more levels of the axis.
        axis: `engine`, `padding`, `train.learning_rate`; any but `device`.
        options: how; None takes the defaults of `harness ab`.
        suite_text: the suite file, of which the run directory keeps a copy; None writes the suite as JSON.
        observer: told of everything as it happens.
        seams: for tests.

    Raises:
        HarnessError: as `harness.running.ab.run_along` describes.
        KeyboardInterrupt: interrupted before the first trial, or twice.
    """
    return ab.run_along(
        suite,
        to_json(suite) if suite_text is None else suite_text,
        axis,
        options or RunOptions(),
        observer=observer or Silent(),
        render=_render,
        seams=seams,
    )


def _render(report: Report) -> tuple[str, str | None]:
    document = report_document(report)
    return render(document, "markdown"), render(document, "html")
