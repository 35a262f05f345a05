"""The steps of one run: prepare, reuse old results, prove, run the open trials, and write the report."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from harness.analysis.sharing import trained_by
from harness.machine.facts import available_memory, describe_gpus, physical_cores
from harness.machine.redaction import redact, secrets_in
from harness.model.job import Job, Observer
from harness.model.looks import Looks
from harness.model.results import Report, Session, TrialResult
from harness.model.suite import Measure, Suite
from harness.model.trial import Trial
from harness.running.apart import (
    Capacity,
    Sharing,
    WindowWatch,
    run_apart,
    shared_without_proof,
    unsaved_note,
    window_jobs,
)
from harness.running.code_changes import CodeInUse
from harness.running.executor import WorkerSetup
from harness.running.interrupts import Interrupts
from harness.running.options import RunOptions, jobs_at_once, parse_shard
from harness.running.preflight import Prepared, prepare, require, unavailable_row
from harness.running.proof_store import ProofStore, proof_store
from harness.running.proving import Proofs, Proving, leading, proof_jobs, training_jobs, trainings_at_once
from harness.running.reporting import Reporting, rows
from harness.running.resume import (
    Here,
    Opened,
    choose,
    describe_here,
    open_directory,
    take_over_edited,
    without_models,
)
from harness.running.scheduler import Policy, RunContext, run_jobs
from harness.running.seams import Render, Seams, absolute_reports
from harness.running.workers.environ import worker_environment
from harness.running.workers.interpreter import this_interpreter
from harness.running.workers.scoring_process import require_own
from harness.store.plan_file import Plan, make_plan, trials_of_shard
from harness.store.report_file import as_it_is, briefly
from harness.store.run_directory import RunDirectory
from harness.store.saved_models import model_folder
from harness.store.suite_runs import find_unfinished
from harness.store.trial_folder import keeping_in
from harness.words import count


class Work:
    """The steps of one run, and what has become of its trials so far."""

    def __init__(
        self,
        suite: Suite,
        suite_text: bytes,
        options: RunOptions,
        observer: Observer,
        render: Render,
        seams: Seams,
    ) -> None:
        self._interpreter = seams.interpreter or this_interpreter()
        self._code = CodeInUse(self._interpreter)
        self.secrets = secrets_in(os.environ)
        self.machine = seams.machine()
        self._suite = suite
        self._suite_text = redact(suite_text.decode("utf-8", "replace"), self.secrets).encode()
        self._options = options
        self._observer = observer
        self._reporting = Reporting(suite, self._interpreter, render)
        self._seams = seams
        self._jobs = jobs_at_once(options, separate=suite.measure.separate)
        self._threads = suite.measure.threads or max(1, physical_cores() // self._jobs)
        self._shard = None if options.shard is None else parse_shard(options.shard)
        self._results: dict[str, TrialResult] = {}
        self._proofs = Proofs()

    def prepare(self, trials: Sequence[Trial]) -> Prepared:
        """Find the assets of the trials, and check that at least one can run."""
        require_own(self._suite.metrics, {task.kind for task in self._suite.tasks})
        assets = self._seams.assets(self._options.assets)
        prepared = prepare(trials, self._measure(), assets, self.machine, self._note)
        reasons = {id_: redact(reason, self.secrets) for id_, reason in prepared.unavailable.items()}
        settings = {"concurrent": self._jobs, "allow_weights": self._suite.allow_weights}
        models = self._options.save_models
        jobs = {
            id_: job.model_copy(update=settings | {"save_to": models and model_folder(models, id_)})
            for id_, job in prepared.jobs.items()
        }
        prepared = replace(prepared, jobs=jobs, unavailable=reasons)
        require(prepared, strict=self._options.strict)
        return prepared

    def _measure(self) -> Measure:
        """Return the settings of the suite, changed by the options."""
        changes: dict[str, object] = {}
        if self._options.trial_timeout_s is not None:
            changes["trial_timeout_seconds"] = self._options.trial_timeout_s
        if self._jobs > 1:
            changes["threads"] = self._threads
        return self._suite.measure.model_copy(update=changes)

    def _note(self, text: str) -> None:
        # Errors of the Hub's library may contain the address with its password.
        self._observer.note(redact(text, self.secrets))

    def own(self, trials: Sequence[Trial]) -> Sequence[Trial]:
        """Return the trials that this run does: all of them, or those of its shard."""
        return trials if self._shard is None else trials_of_shard(trials, *self._shard)

    def plan(self, trials: Sequence[Trial]) -> Plan:
        """The plan of these trials of its suite, or of its shard of them."""
        return make_plan(self._suite, trials, self._options.assets, self._shard)

    def has_begun(self, trials: Sequence[Trial]) -> bool:
        """Whether the newest run of these trials is unfinished and has results."""
        plan = self.plan(trials)
        found = find_unfinished(absolute_reports(self._options), plan.suite, plan)
        return found is not None and bool(found.results(briefly(plan.trials))[0])

    def open(self, trials: Sequence[Trial], *, finished_too: bool = False) -> AbstractContextManager[Opened]:
        """Lock the run's directory; with `finished_too` that of the newest run even if it is finished."""
        options = self._options
        return open_directory(
            absolute_reports(options),
            self.plan(trials),
            self._suite_text,
            fresh=options.fresh,
            rerun=options.rerun or ("failed" if finished_too else None),
            wait=options.wait,
        )

    def take_over(self, opened: Opened, prepared: Prepared) -> None:
        """Keep the finished results that are still valid."""
        notify, directory, here = self._observer.note, opened.directory, self._here()
        for problem in opened.problems:
            notify(f"not counted as done: {problem}")
        if opened.edited is not None:
            reuse = take_over_edited(opened.edited, directory, prepared.jobs, here)
        else:
            reuse = choose(opened.found, prepared.jobs, here, self._options.rerun)
        for note in reuse.notes:
            notify(note)
        if self._options.rerun == "all":
            directory.drop_states(prepared.jobs)
        self._results = dict(reuse.results)
        if told := self._code.record(opened, len(self._results)):
            notify(told)
        self._forget_unsaved(prepared)
        lost = [id_ for id_, result in self._results.items() if trained_by(result) not in self._results]
        if lost:
            notify(f"{count(len(lost), 'trial')} will run again: the training shared by them is not done")
            self.forget(lost)
        if opened.resumed:
            done, planned = len(self._results), len(directory.plan.trials)
            notify(f"resuming {directory.path.name}: {done} of {planned} trials are done")

    def _forget_unsaved(self, prepared: Prepared) -> None:
        """Run completed trials again whose models are asked for and were not saved."""
        if unsaved := without_models(self._results, prepared.jobs):
            self.forget(unsaved)
            self._note(f"{count(len(unsaved), 'finished trial')} will run again: no model of it was saved")

    def _here(self) -> Here:
        here = describe_here(self._threads, self._jobs, self.machine.processors)
        return replace(here, environment=self._interpreter.environment)

    @property
    def done(self) -> tuple[TrialResult, ...]:
        """The results so far."""
        return tuple(self._results.values())

    def left(self, directory: RunDirectory) -> list[Trial]:
        """The trials of the plan without a result, in its order."""
        return [trial for trial in directory.plan.trials if trial.id not in self._results]

    def forget(self, trial_ids: Collection[str]) -> None:
        """Drop these results: their trials run again."""
        for trial_id in trial_ids:
            self._results.pop(trial_id, None)

    def add(self, results: Mapping[str, TrialResult]) -> None:
        """Take in results by trial id."""
        self._results |= results

    def run_rest(
        self,
        directory: RunDirectory,
        prepared: Prepared,
        interrupts: Interrupts,
        rounds: Iterable[Sequence[Trial]] | None = None,
    ) -> None:
        """Prove what has no proof yet, then run what has no result yet.

        `rounds` are the trials to run, each round asked for after the one before has ended; by default one
        round of the whole plan.
        """
        context = self.context(directory, interrupts)
        try:
            policy = Policy.of(self._options, self._jobs)
            proving = (
                self._proving(directory, prepared.jobs, context, reuse=True) if self._options.parity else None
            )
            for trials in [directory.plan.trials] if rounds is None else rounds:
                self.mark_unavailable(trials, prepared)
                if proving is not None:
                    jobs = self._open(trials, prepared)
                    alone = self._jobs == 1 and not self._suite.measure.separate
                    self.add(run_jobs(leading(jobs, proving, self._options, alone=alone), context, policy))
                    self._proofs = proving.prove(prepared.jobs.values())
                self._forget_unproved()
                jobs = self._open(trials, prepared)
                if self._suite.measure.separate:
                    self._run_apart(directory, jobs, context, policy)
                else:
                    self.add(run_jobs(jobs, context, policy))
        finally:
            context.executor.stop(0.0)

    def _open(self, trials: Iterable[Trial], prepared: Prepared) -> list[Job]:
        """Return the jobs of these trials that have no result yet."""
        return [prepared.jobs[trial.id] for trial in trials if trial.id not in self._results]

    def _forget_unproved(self) -> None:
        if lost := shared_without_proof(self._results, self._proofs):
            why = "no proof of this run shows that the training shared by them is theirs"
            self._note(f"{count(len(lost), 'trial')} will run again: {why}")
            self.forget(lost)

    def _run_apart(
        self, directory: RunDirectory, jobs: Sequence[Job], context: RunContext, policy: Policy
    ) -> None:
        """Time a window of each trial alone, then train several trials at once."""
        wanted = window_jobs(jobs)
        found = choose(directory.windows(wanted), wanted, self._here(), self._options.rerun).results
        of_windows = replace(
            context,
            folder_of=directory.window_folder,
            keep=keeping_in(directory.path / "windows"),
            observer=WindowWatch(self._observer),
            shape=as_it_is,
        )
        if self._options.jobs == 1:
            self._note("several trials can train at once without a loss of speed measurements: --jobs auto")
        capacity = Capacity(physical_cores(), available_memory, self._options.jobs)
        sharing = None
        if self._suite.measure.quality == "once_per_function":
            sharing = Sharing(self._proofs, self._results, directory.stored)
            if not self._options.parity:
                self._note("without proofs no variant shares a training: leave out --no-parity")
        contexts = (of_windows, context)
        self.add(run_apart(jobs, found, contexts, policy, capacity, sharing))
        if self._options.save_models is not None and (note := unsaved_note(self._results.values())):
            self._note(note)

    def mark_unavailable(self, trials: Iterable[Trial], prepared: Prepared) -> None:
        """Give the trials that lack something here their rows."""
        for trial in trials:
            if trial.id in prepared.unavailable and trial.id not in self._results:
                self._results[trial.id] = unavailable_row(trial, prepared.unavailable[trial.id])
                self._observer.finished(self._results[trial.id])

    def context(self, directory: RunDirectory, interrupts: Interrupts) -> RunContext:
        """Whom the scheduler works with: one executor for the proofs and the trials."""
        options = self._options
        environ = worker_environment(os.environ, threads=self._threads, run_folder=directory.path)
        interpreter = self._interpreter
        setup = WorkerSetup(
            runner=options.runner,
            folder=directory.path,
            environ=interpreter.environ(environ),
            threads=self._threads,
            secrets=self.secrets,
            python=interpreter.python,
        )
        return RunContext(
            executor=self._seams.executor(setup, options.grace_s),
            folder_of=directory.trial_folder,
            keep=keeping_in(directory.path / "trials"),
            observer=self._observer,
            interrupted=lambda: interrupts.first is not None,
            grace_s=options.grace_s,
            shape=briefly(directory.plan.trials),
            count=lambda device: self._seams.count(device, self._threads),
        )

    def prove(self, directory: RunDirectory, jobs: Mapping[str, Job], context: RunContext) -> Proofs:
        """Prove every distinct function and training that has no proof in this environment yet."""
        self._proofs = self._proving(directory, jobs, context).prove(jobs.values())
        return self._proofs

    def _proving(
        self, directory: RunDirectory, jobs: Mapping[str, Job], context: RunContext, *, reuse: bool = False
    ) -> Proving:
        """Return the proofs of the run that are found, and what makes the others.

        With `reuse` passed proofs of earlier runs under the same conditions count, and new ones are stored.
        """
        wanted = proof_jobs(jobs.values()) | training_jobs(jobs.values())
        found = choose(directory.proofs(wanted), wanted, self._here(), self._options.rerun).results
        left = {id_: job for id_, job in wanted.items() if id_ not in found}
        keep = keeping_in(directory.path / "proofs")
        store = self._proof_store(left) if reuse else None
        if store is not None and self._options.rerun != "all":
            found |= {id_: keep(proof) for id_, proof in store.find(left).items()}
        at_once = self._jobs
        if self._options.executor == "local":
            limit = trainings_at_once(left.values(), physical_cores(), available_memory(), describe_gpus())
            at_once = max(at_once, limit)
        context = replace(context, folder_of=directory.proof_folder, keep=keep, shape=as_it_is)
        policy = Policy(self._options.retries, jobs=self._jobs)
        return Proving(jobs.values(), found, context, policy, at_once, store)

    def _proof_store(self, jobs: Mapping[str, Job]) -> ProofStore | None:
        """Return the proofs of earlier runs; None for workers of another machine or interpreter."""
        if not jobs or self._options.executor != "local" or self._seams.interpreter is not None:
            return None
        return proof_store(Path(next(iter(jobs.values())).cache_dir), self._options.runner)

    def write_report(  # noqa: PLR0913 - what a report has besides its results
        self,
        directory: RunDirectory,
        prepared: Prepared,
        *,
        interrupted: bool,
        session: Session | None = None,
        looks: Looks | None = None,
        asked: Sequence[Trial] | None = None,
        notes: Sequence[str] = (),
    ) -> Report:
        """Write the report, with a row for each trial asked for (default: all), and return it in brief."""
        trials = directory.plan.trials if asked is None else asked
        results = rows(directory, trials, self._results, interrupted=interrupted, note=self._note)
        report = self.report(directory, prepared, results)
        report = report.model_copy(update={"notes": (*report.notes, *notes)})
        return self._reporting.write(directory, report, session=session, looks=looks)

    def report(self, directory: RunDirectory, prepared: Prepared, results: Iterable[TrialResult]) -> Report:
        """The report of these results, without the scores by own metrics."""
        notes = (*prepared.chosen, *self._code.notes(results := tuple(results)))
        return self._reporting.report(directory, notes, self._proofs, results)
