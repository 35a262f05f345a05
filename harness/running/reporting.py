"""The report of a run: put together from its results, and written with everything in their files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.assets.places import Note
from harness.machine.git_state import describe_git
from harness.machine.redaction import redact
from harness.model.environment import Environment
from harness.model.looks import Looks
from harness.model.quality import OwnScores
from harness.model.results import Report, Session, TrialResult
from harness.model.suite import Suite
from harness.model.tasks import Task
from harness.model.trial import Trial
from harness.running.proving import Proofs
from harness.running.scheduler import not_run
from harness.running.seams import Render
from harness.running.workers.interpreter import Interpreter
from harness.running.workers.scoring_process import own_scores
from harness.store.folders import is_there
from harness.store.plan_file import Plan
from harness.store.run_directory import RunDirectory
from harness.store.trial_folder import RESULT
from harness.words import count


@dataclass(frozen=True, slots=True)
class Reporting:
    """The suite of a run, the interpreter of its workers, and the drawing of its report."""

    suite: Suite
    interpreter: Interpreter
    render: Render

    def report(
        self, directory: RunDirectory, chosen: Sequence[str], proofs: Proofs, results: Iterable[TrialResult]
    ) -> Report:
        """Return the report of these results, without the scores by own metrics; `chosen` are its notes."""
        return Report(
            harness_version=self.interpreter.version,
            run=directory.path.name,
            created=datetime.now(UTC),
            suite=self.suite,
            environment=self._environment(),
            notes=(*filter(None, [shard_note(directory.plan)]), *chosen),
            proofs=proofs.functions,
            training_proofs=proofs.trainings,
            results=tuple(results),
        )

    def write(
        self, directory: RunDirectory, report: Report, *, session: Session | None, looks: Looks | None
    ) -> Report:
        """Score the trials by the own metrics of the suite, write the report, and return it in brief."""
        own_metrics = self._own_metrics(directory, report.results)
        report = without_home(report).model_copy(
            update={"session": session, "own_metrics": own_metrics, "looks": looks}
        )
        directory.write_report(report, *self.render(report), results=_in_full(report, directory))
        return report

    def _own_metrics(self, directory: RunDirectory, results: Sequence[TrialResult]) -> tuple[OwnScores, ...]:
        """Score the stored logits of all completed trials by the user's metrics."""
        metrics = self.suite.metrics
        if not metrics:
            return ()
        kept = {
            result.trial.id: predictions
            for result in results
            if result.status == "completed"
            and (stored := directory.stored(result.trial.id).predictions) is not None
            and (predictions := stored.on()) is not None
        }
        return own_scores(metrics, kept)

    def _environment(self) -> Environment:
        git = describe_git(self.interpreter.checkout or Path())
        return self.interpreter.environment.model_copy(update={"git": git})


def rows(
    directory: RunDirectory,
    trials: Iterable[Trial],
    results: Mapping[str, TrialResult],
    *,
    interrupted: bool,
    note: Note,
) -> list[TrialResult]:
    """Return a row for each trial: its result by its id, or why it has none."""
    why = "the run was interrupted" if interrupted else "an earlier trial did not complete (--fail-fast)"
    found = []
    for trial in trials:
        result = results.get(trial.id)
        file = directory.path / "trials" / trial.id / RESULT
        if result is None:
            result = not_run(trial, f"not started: {why}")
        elif result.status == "completed" and not is_there(file):
            # Of a completed trial the report needs the file, too.
            note(f"{file} was removed during the run; run the same command again to run its trial again")
            result = not_run(trial, "its result was removed before the report was written")
        found.append(result)
    return found


def shard_note(plan: Plan) -> str:
    """Return the note of a report that has a shard of a plan; empty for a whole plan."""
    if plan.shard is None:
        return ""
    return (
        f"shard {plan.shard}: {len(plan.trials)} of {count(len(plan.shard.trials), 'trial')}; "
        "`harness merge` joins the shards"
    )


def _in_full(report: Report, directory: RunDirectory) -> Iterator[TrialResult]:
    """Return the results of a report, the completed ones with everything in their files."""
    for result in report.results:
        if result.status == "completed":
            yield directory.stored(result.trial.id).model_copy(update={"trial": result.trial})
        else:
            yield result


def without_home(report: Report) -> Report:
    """The report with the user's home folder written as `~` in the paths of data."""
    metrics = tuple(
        metric.model_copy(update={"path": redact(metric.path)}) for metric in report.suite.metrics
    )
    suite = report.suite.with_tasks(_shortened).model_copy(update={"metrics": metrics})
    if suite == report.suite and not any(result.trial.task.data_dir for result in report.results):
        return report
    results = tuple(
        result.model_copy(
            update={"trial": result.trial.model_copy(update={"task": _shortened(result.trial.task)})}
        )
        for result in report.results
    )
    return report.model_copy(update={"suite": suite, "results": results})


def _shortened(task: Task) -> Task:
    if task.data_dir is None:
        return task
    return task.model_copy(update={"data_dir": redact(task.data_dir)})
