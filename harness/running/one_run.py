"""Run a suite, or prove it: find its assets, open its directory, run the open trials, write the report."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.machine.redaction import secrets_in
from harness.machine.requirements import require_extra
from harness.model.job import Observer
from harness.model.suite import Suite
from harness.running.interrupts import Interrupt, listen
from harness.running.options import DEFAULT_RUNNER, RunOptions, UntilDecided
from harness.running.preflight import refuse_secrets
from harness.running.proving import Proofs
from harness.running.seams import Render, Run, Seams, seams_of
from harness.running.work import Work
from harness.store.plan_file import make_plan
from harness.store.suite_runs import create_run
from harness.suite.matrix import expand


def run_suite(  # noqa: PLR0913 - the arguments of a run, most of them injected
    suite: Suite,
    suite_text: bytes,
    options: RunOptions,
    *,
    observer: Observer,
    render: Render,
    seams: Seams | None = None,
    until: UntilDecided | None = None,
) -> Run:
    """Run every trial of the suite that is not done yet.

    Args:
        suite: what to run.
        suite_text: the suite file, of which the run directory keeps a copy.
        options: how to run it.
        observer: told of everything as it happens.
        render: the report as Markdown and as HTML, which are written next to it.
        seams: for tests.
        until: add seeds until the variants are decided; None runs the seeds of the suite.

    Raises:
        UnavailableError: nothing can run here, or not everything with `strict`.
        InvalidInputError: the suite contains a secret, or the folder for reports cannot be used.
        LockedError: another process works in the run directory.
        StorageError: a file could not be written; finished trials are kept.
        Interrupt: by a signal before the first trial, or by a second one.
    """
    refuse_secrets(suite, secrets_in(os.environ))
    with listen() as interrupts, seams_of(options, seams, observer.note) as chosen:
        work = Work(suite, suite_text, options, observer, render, chosen)
        looking = None
        if until is None:
            trials = expand(suite, work.machine.devices)
        else:
            # Most runs take no looks, and start in half the time without numpy and scipy.
            from harness.running.until import Looking, with_seeds  # noqa: PLC0415

            trials = expand(with_seeds(suite, until), work.machine.devices)
            looking = Looking(until, trials, options, observer)
        if options.runner == DEFAULT_RUNNER:
            require_extra("train")
        prepared = work.prepare(work.own(trials))
        with work.open(trials) as opened:
            # Results of another number of seeds were chosen by its looks, which these would not count.
            work.take_over(opened if looking is None else replace(opened, edited=None), prepared)
            with interrupts.patient():
                if looking is not None:
                    report = looking.run(work, opened.directory, prepared, interrupts)
                else:
                    observer.planned(work.left(opened.directory), work.done)
                    work.run_rest(opened.directory, prepared, interrupts)
                    report = work.write_report(
                        opened.directory, prepared, interrupted=interrupts.first is not None
                    )
            return Run(report, opened.directory.path, interrupts.first)


def prove_suite(
    suite: Suite, options: RunOptions, *, observer: Observer, seams: Seams | None = None
) -> Proofs:
    """Prove every distinct function and way of training of the suite, and keep nothing on disk.

    Raises:
        UnavailableError: nothing can run here, or not everything with `strict`.
        Interrupt: by a signal.
    """
    with (
        listen() as interrupts,
        seams_of(options, seams, observer.note) as chosen,
        TemporaryDirectory(prefix="harness-prove-") as folder,
    ):
        work = Work(suite, b"", options, observer, lambda _report: ("", None), chosen)
        trials = expand(suite, work.machine.devices)
        if options.runner == DEFAULT_RUNNER:
            require_extra("train")
        prepared = work.prepare(trials)
        plan = make_plan(suite, trials, options.assets)
        directory = create_run(Path(folder), suite.name, plan, b"", now=datetime.now(UTC))
        context = work.context(directory, interrupts)
        try:
            with interrupts.patient():
                proofs = work.prove(directory, prepared.jobs, context)
        finally:
            context.executor.stop(0.0)
        if interrupts.first is not None:
            raise Interrupt(interrupts.first)
        return proofs
