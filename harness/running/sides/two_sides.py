"""A/B sessions: the trials of two sides, or of the levels of one axis, in turn on one machine and in one run.

Each side is a separate run with its suite, its interpreter and fork server, its directory and report.
One queue decides the order: A B, then B A, so that drift of the machine meets both sides equally. The
directories lie in `ab-<key>/<side>`, where the key covers the plans and the code of both sides: the same
command resumes a session, and another version of the code starts a new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from harness.errors import InvalidInputError
from harness.machine.redaction import secrets_in
from harness.machine.requirements import require_extra
from harness.model.job import Observer, Progress
from harness.model.results import Session, TrialResult
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.running.interrupts import Interrupts, listen
from harness.running.options import DEFAULT_RUNNER, RunOptions
from harness.running.preflight import refuse_secrets
from harness.running.scheduler import Policy, run_queue
from harness.running.seams import Render, Run, Seams, absolute_reports, seams_of
from harness.running.sides.turns import Entry, Turn, begun, in_turns, turns_along, turns_of_sides
from harness.running.work import Work
from harness.running.workers.environ import worker_environment
from harness.running.workers.interpreter import Interpreter, find_interpreter, this_interpreter
from harness.store.plan_file import Plan, make_plan
from harness.suite.matrix import expand

SideName = Literal["base", "candidate"]
_KEY_DIGITS: Final = 8
_ID_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a session: a suite, and the code that runs it.

    `python` is an interpreter, None for the checkout's or this program's; `checkout` a folder with a
    `harness` package, None for the one that the interpreter imports.
    """

    name: SideName
    suite: Suite
    suite_text: bytes
    python: Path | None = None
    checkout: Path | None = None


def run_sides(
    base: Side,
    candidate: Side,
    options: RunOptions,
    *,
    observer: Observer,
    render: Render,
    seams: Seams | None = None,
) -> tuple[Run, Run]:
    """Run the trials of two sides in turn, and write a report for each.

    Raises:
        InvalidInputError: the suites do not pair, or are measured differently; a side's code cannot be used.
        HarnessError: as `run_suite` does.
    """
    sides = (base, candidate)
    suites = (base.suite, candidate.suite)
    with _machine(suites, options, observer, seams) as (interrupts, chosen):
        devices = chosen.machine().devices
        trials = [expand(side.suite, devices) for side in sides]
        turns, apart = turns_of_sides(*trials)
        environ = worker_environment(os.environ, threads=1, run_folder=absolute_reports(options))
        code = [
            find_interpreter(side.name, side.python, side.checkout, own[0], environ)
            for side, own in zip(sides, trials, strict=True)
        ]
        plans = [make_plan(side.suite, own, options.assets) for side, own in zip(sides, trials, strict=True)]
        folder = options.reports / f"ab-{_key(plans, code)}"
        lanes = []
        for side, own, interpreter in zip(sides, trials, code, strict=True):
            watch = SideObserver(observer, side.name)
            placed = replace(options, reports=folder / side.name)
            seams_of_side = replace(chosen, interpreter=interpreter)
            work = Work(side.suite, side.suite_text, placed, watch, render, seams_of_side)
            lanes.append(_Lane(work, own, watch.named))
        with ExitStack() as held:
            session = _Session(lanes, turns, held)
            first, second = session.run(options, observer, interrupts, session.sides(sides, apart))
            return first, second


def run_along(  # noqa: PLR0913 - the arguments of run_suite, with an axis
    suite: Suite,
    suite_text: bytes,
    axis: str,
    options: RunOptions,
    *,
    observer: Observer,
    render: Render,
    seams: Seams | None = None,
) -> Run:
    """Run the trials of a suite so that those that differ in one axis take turns, and write its report.

    Raises:
        InvalidInputError: there is no such axis, or the suite has one value of it.
        HarnessError: as `run_suite` does.
    """
    with _machine((suite, suite), options, observer, seams) as (interrupts, chosen):
        turns = turns_along(expand(suite, chosen.machine().devices), axis)
        trials = [trial for _, trial in in_turns(turns)]
        key = _key([make_plan(suite, trials, options.assets)], [this_interpreter()])
        placed = replace(options, reports=options.reports / f"ab-{key}")
        work = Work(suite, suite_text, placed, observer, render, chosen)
        with ExitStack() as held:
            (run,) = _Session([_Lane(work, trials)], turns, held).run(options, observer, interrupts, [None])
            return run


@contextmanager
def _machine(
    suites: tuple[Suite, Suite], options: RunOptions, observer: Observer, seams: Seams | None
) -> Iterator[tuple[Interrupts, Seams]]:
    """Refuse suites that cannot be compared or contain a secret; then give the machine to run them on."""
    _refuse_unlike(*suites, options)
    for suite in suites:
        refuse_secrets(suite, secrets_in(os.environ))
    with listen() as interrupts, seams_of(options, seams, observer.note) as chosen:
        if options.runner == DEFAULT_RUNNER:
            require_extra("train")
        yield interrupts, chosen


class SideObserver(Observer):
    """Passes the events of one side on, with its name first: both sides may have the same trials."""

    def __init__(self, observer: Observer, side: str) -> None:
        self._observer = observer
        self._side = side

    def named(self, trial: Trial) -> Trial:
        """The trial as it is shown: another one on each side."""
        return trial.model_copy(update={"checkpoint": f"{self._side}: {trial.checkpoint}"})

    def note(self, text: str) -> None:
        """Pass it on with the name of the side."""
        self._observer.note(f"{self._side}: {text}")

    def proving(self, running: Sequence[str], done: int, total: int) -> None:
        """Pass it on with the name of the side."""
        self._observer.proving([f"{self._side}: {name}" for name in running], done, total)

    def started(self, trial: Trial) -> None:
        """Pass it on."""
        self._observer.started(self.named(trial))

    def progressed(self, trial: Trial, progress: Progress) -> None:
        """Pass it on."""
        self._observer.progressed(self.named(trial), progress)

    def finished(self, result: TrialResult) -> None:
        """Pass it on."""
        self._observer.finished(self._shown(result))

    def _shown(self, result: TrialResult) -> TrialResult:
        return result.model_copy(update={"trial": self.named(result.trial)})


@dataclass(frozen=True, slots=True)
class _Lane:
    """A run that takes part in a session; `shown` gives a trial as the observer of the session knows it."""

    work: Work
    trials: Sequence[Trial]
    shown: Callable[[Trial], Trial] = lambda trial: trial


class _Session:
    """The runs of a session with what they need found, their directories held and old results taken over."""

    def __init__(self, lanes: Sequence[_Lane], turns: Sequence[Turn], held: ExitStack) -> None:
        self._lanes = lanes
        self._turns = turns
        self._queue = in_turns(turns)
        self._prepared = [lane.work.prepare(lane.trials) for lane in lanes]
        # Of two sides one may have written its report when the session ended early. Results of the other tell
        # that its newest run belongs to the same session: both directories are there before the first trial.
        finished_too = any(lane.work.has_begun(lane.trials) for lane in lanes)
        self._opened = [
            held.enter_context(lane.work.open(lane.trials, finished_too=finished_too)) for lane in lanes
        ]
        for lane, opened, prepared in zip(lanes, self._opened, self._prepared, strict=True):
            lane.work.take_over(opened, prepared)

    def sides(self, sides: Sequence[Side], apart: Collection[str]) -> list[Session]:
        """Return the session that the report of each side records."""
        names = " ".join(opened.directory.path.name for opened in self._opened)
        known = hashlib.sha256(names.encode()).hexdigest()[:_ID_DIGITS]
        places = {(at, trial.id): place for place, (at, trial) in enumerate(self._queue)}
        return [
            Session(
                id=known,
                side=side.name,
                apart=tuple(sorted(apart)),
                positions=tuple(places[at, trial.id] for trial in opened.directory.plan.trials),
            )
            for at, (side, opened) in enumerate(zip(sides, self._opened, strict=True))
        ]

    def run(
        self,
        options: RunOptions,
        observer: Observer,
        interrupts: Interrupts,
        sessions: Sequence[Session | None],
    ) -> list[Run]:
        """Prove unproved variants, run the open trials in turns, and write the report of each run."""
        self._forget_half_turns(observer)
        self._announce(observer)
        with interrupts.patient():
            self._run_rest(options, interrupts)
            return [
                Run(
                    lane.work.write_report(
                        opened.directory,
                        prepared,
                        interrupted=interrupts.first is not None,
                        session=session,
                    ),
                    opened.directory.path,
                    interrupts.first,
                )
                for lane, opened, prepared, session in zip(
                    self._lanes, self._opened, self._prepared, sessions, strict=True
                )
            ]

    def _forget_half_turns(self, observer: Observer) -> None:
        done = [
            {result.trial.id for result in lane.work.done} | prepared.unavailable.keys()
            for lane, prepared in zip(self._lanes, self._prepared, strict=True)
        ]
        again = [(at, trial.id) for at, trial in begun(self._turns, done)]
        for at, lane in enumerate(self._lanes):
            lane.work.forget([trial_id for of, trial_id in again if of == at])
        if again:
            observer.note(f"{len(again)} finished trials will run again: their partners are not finished")

    def _announce(self, observer: Observer) -> None:
        left = self._left()
        reused = [
            result.model_copy(update={"trial": lane.shown(result.trial)})
            for lane in self._lanes
            for result in lane.work.done
        ]
        observer.planned([self._lanes[at].shown(trial) for at, trial in left], reused)

    def _left(self) -> list[Entry]:
        done = [{result.trial.id for result in lane.work.done} for lane in self._lanes]
        return [(at, trial) for at, trial in self._queue if trial.id not in done[at]]

    def _run_rest(self, options: RunOptions, interrupts: Interrupts) -> None:
        for lane, opened, prepared in zip(self._lanes, self._opened, self._prepared, strict=True):
            lane.work.mark_unavailable(opened.directory.plan.trials, prepared)
        contexts = [
            lane.work.context(opened.directory, interrupts)
            for lane, opened in zip(self._lanes, self._opened, strict=True)
        ]
        try:
            if options.parity:
                for lane, opened, prepared, context in zip(
                    self._lanes, self._opened, self._prepared, contexts, strict=True
                ):
                    lane.work.prove(opened.directory, prepared.jobs, context)
            queue = [(at, self._prepared[at].jobs[trial.id]) for at, trial in self._left()]
            for lane, results in zip(
                self._lanes, run_queue(queue, contexts, Policy.of(options)), strict=True
            ):
                lane.work.add(results)
        finally:
            for context in contexts:
                context.executor.stop(0.0)


def _refuse_unlike(base: Suite, candidate: Suite, options: RunOptions) -> None:
    """Refuse what would make the times of both sides incomparable, before they are measured."""
    if options.executor != "local" or options.jobs != 1:
        raise InvalidInputError(
            "the sides of a session take turns on this machine, one trial at a time on a device",
            hint="Use executor local and one job.",
        )
    if base.measure.separate:
        raise InvalidInputError(
            "the trials of a session are timed as a whole, in turn: measure.separate has no place in it",
            hint="Set -s measure.separate=false.",
        )
    if base.measure != candidate.measure:
        raise InvalidInputError(
            f"suites {base.name} and {candidate.name} have different settings under measure",
            hint="Give both the same warmup_steps, threads and time limits.",
        )


def _key(plans: Sequence[Plan], code: Sequence[Interpreter]) -> str:
    """Digits that are the same for the same plans under the same interpreters, packages and code."""
    parts = [
        [each.code_sha256(), each.environment.python, dict(sorted(each.environment.packages.items()))]
        for each in code
    ]
    whole = json.dumps([[plan.digest for plan in plans], parts])
    return hashlib.sha256(whole.encode()).hexdigest()[:_KEY_DIGITS]
