"""Run seeds until the rows of a comparison are decided: after each look, the next seeds of the open variants.

The plan has every seed that may run: those of the suite in its order, then the smallest numbers that it does
not list. Looks are taken at fixed numbers of seeds, so the same command repeats them from stored results and
goes on with the first one that lacks a result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from harness.analysis.comparison.alignment import axes_apart, refuse_several, refuse_tasks
from harness.analysis.comparison.look_table import LookTable, Question
from harness.analysis.comparison.matching import more_seeds
from harness.analysis.comparison.terms import DEFAULT_MARGIN, checked_metrics, margins_of, metrics_of_trials
from harness.analysis.naming import axes, telling_axes
from harness.analysis.over_time.noise import bands_of
from harness.analysis.stats.sequential import look_sizes
from harness.errors import InvalidInputError
from harness.model.job import Observer
from harness.model.looks import DECIDED, End, Looks
from harness.model.results import Report, TrialResult
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.running.interrupts import Interrupts
from harness.running.options import RunOptions, UntilDecided
from harness.running.preflight import Prepared
from harness.running.work import Work
from harness.store.noise_file import noise_for, stored_noise
from harness.store.reading import load_report
from harness.store.run_directory import RunDirectory
from harness.words import count, did_you_mean, quoted

_DEFAULT_SEED: Final = (0,)


def with_seeds(suite: Suite, until: UntilDecided) -> Suite:
    """Return the suite with every seed that may run: its own first, then the smallest other numbers.

    Raises:
        InvalidInputError: It has seeds by role, or a seed under `include` or `exclude`; or it measures speed
            and quality apart, whose shared trainings no look judges yet.
    """
    if suite.measure.separate:
        raise InvalidInputError(
            f"suite {suite.name}: --until-decided runs whole trials, not measure.separate",
            hint="Leave one of both away: -s measure.separate=false.",
        )
    listed = suite.matrix.get("seed", _DEFAULT_SEED)
    elsewhere = any("seed" in entry for entry in (*suite.include, *suite.exclude))
    if elsewhere or not all(isinstance(seed, int) for seed in listed):
        raise InvalidInputError(
            f"suite {suite.name}: seeds are added to a list of numbers in matrix.seed",
            hint="Leave seeds by role, and seeds under include or exclude, away: -s 'matrix.seed=[0]'.",
        )
    seeds = tuple(more_seeds(listed, until.most_seeds))
    return suite.model_copy(update={"matrix": {**suite.matrix, "seed": seeds}})


class Looking:
    """The looks of one run. Every refusal is raised before anything runs.

    Raises:
        InvalidInputError: There is no axis to compare along, or a term of the comparison cannot be used.
    """

    def __init__(
        self,
        until: UntilDecided,
        trials: Sequence[Trial],
        options: RunOptions,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if options.shard is not None:
            raise InvalidInputError(
                "a shard has a part of the trials, and a look needs all of them",
                hint="Leave out --shard, or --until-decided.",
            )
        margin = DEFAULT_MARGIN if until.margin is None else until.margin
        margins_of(margin, checked_metrics(until.metrics or metrics_of_trials(trials)))
        self._until = until
        self._trials = trials
        self._options = options
        self._observer = observer
        self._clock = clock
        self._begun = clock()
        self._seeds = tuple(dict.fromkeys(trial.seed for trial in trials))
        self._sizes = look_sizes(until.most_seeds)
        self._table = LookTable(Question(_axis(trials, until.by), until.metrics, margin), self._sizes)
        self._asked: dict[str, Trial] = {}
        self._ended: End = "most seeds"

    def run(self, work: Work, directory: RunDirectory, prepared: Prepared, interrupts: Interrupts) -> Report:
        """Run one look after another, and write the report of the trials that were asked for."""
        earlier = _report_so_far(directory)
        rounds = self._rounds(work, directory, prepared, interrupts)
        work.run_rest(directory, prepared, interrupts, rounds)
        looks = self._table.looks(self._ended)
        notes = [] if earlier is None else changed_terms(earlier, looks)
        for note in notes:
            self._observer.note(note)
        return work.write_report(
            directory,
            prepared,
            interrupted=interrupts.first is not None,
            looks=looks,
            notes=notes,
            asked=[trial for trial in directory.plan.trials if trial.id in self._asked],
        )

    def _rounds(
        self, work: Work, directory: RunDirectory, prepared: Prepared, interrupts: Interrupts
    ) -> Iterator[Sequence[Trial]]:
        """Yield the trials of each look, and take the look once they have ended."""
        running = {trial.variant_id for trial in self._trials}
        for at, size in enumerate(self._sizes):
            seeds = self._seeds[:size]
            trials = [each for each in self._trials if each.seed in seeds and each.variant_id in running]
            wanted = {trial.id for trial in trials}
            left = [trial for trial in work.left(directory) if trial.id in wanted]
            if at and left and self._out_of_time():
                self._ended = "budget"
                return
            self._asked |= {trial.id: trial for trial in trials}
            self._observer.planned(left, self._results(work))
            yield trials
            results = self._results(work)
            if interrupts.first is not None:
                self._ended = "interrupted"
                return
            if self._options.fail_fast and any(each.status != "completed" for each in results):
                self._ended = "first failure"
                return
            report = work.report(directory, prepared, [_in_full(each, directory) for each in results])
            self._table.add(report, bands_of(noise_for([report], stored_noise())))
            running = set(self._table.open_variants)
            self._observer.note(_standing(self._table.looks("interrupted"), at, self._sizes))
            if not running:
                self._ended = "decided"
                return

    def _results(self, work: Work) -> list[TrialResult]:
        """Return the results so far of the trials that were asked for, in the order of the plan."""
        known = {result.trial.id: result for result in work.done}
        asked = (trial.id for trial in self._trials if trial.id in self._asked)
        return [known[trial_id] for trial_id in asked if trial_id in known]

    def _out_of_time(self) -> bool:
        budget = self._until.budget_s
        return budget is not None and self._clock() - self._begun >= budget


_CHANGED: Final = "the terms were changed after looks at the results"


def changed_terms(earlier: Report, now: Looks) -> list[str]:
    """Return a note for each command of this run whose looks had other terms than a later one's."""
    then, notes = earlier.looks, [note for note in earlier.notes if note.startswith(_CHANGED)]
    if then is not None and then.seeds and now.seeds and (before := _terms(then)) != _terms(now):
        seeds = count(then.seeds[-1], "seed")
        notes.append(
            f"{_CHANGED}, which their error rates do not cover: up to {seeds} {before}; then {_terms(now)}; "
            "verdicts that count: `harness run SUITE --until-decided --fresh`"
        )
    return notes


def _terms(looks: Looks) -> str:
    metrics = sorted({row.metric for row in looks.rows})
    margins = ", ".join(f"{metric} ±{margin:g}" for metric, margin in sorted(looks.margins.items()))
    return f"by {looks.by}, metrics {', '.join(metrics)}, margins {margins or 'none'}"


def _report_so_far(directory: RunDirectory) -> Report | None:
    """Return the report that an earlier command of this run has written, or None."""
    try:
        return load_report(directory.path, allow_unsealed=True)
    except InvalidInputError:
        # Its trials are read one by one, and the report is written again.
        return None


def _in_full(result: TrialResult, directory: RunDirectory) -> TrialResult:
    """Return the result with its predictions, which a run of many trials keeps on disk alone."""
    if result.status != "completed" or result.predictions is not None:
        return result
    return directory.stored(result.trial.id)


def _axis(trials: Sequence[Trial], wanted: str | None) -> str:
    """Return the axis to compare along: the given one, or the only one that varies."""
    variants = {trial.variant_id: axes(trial) for trial in trials}
    # Variants are compared within a task.
    varying = tuple(axis for axis in telling_axes(variants.values()) if axis != "task")
    if wanted is not None:
        refuse_tasks([wanted])
        if wanted not in varying:
            raise InvalidInputError(
                f"no two variants differ in {quoted(wanted)}{did_you_mean(wanted, varying)}",
                hint="Name an axis with two values or more.",
            )
        refuse_several(wanted, variants.values())
        return wanted
    alone = [axis for axis in varying if axes_apart(axis, trials).issuperset(varying)]
    if not alone:
        names = ", ".join(varying)
        raise InvalidInputError(
            f"variants differ in {names}: which of them is compared?"
            if varying
            else "the suite has one variant: there is nothing to decide",
            hint="Name the axis: --by AXIS." if varying else "Give an axis of the matrix two values or more.",
        )
    refuse_several(alone[0], variants.values())
    return alone[0]


def _standing(looks: Looks, at: int, sizes: Sequence[int]) -> str:
    decided = sum(row.verdict in DECIDED for row in looks.rows)
    return (
        f"look {at + 1} of at most {len(sizes)}, {count(sizes[at], 'seed')}: "
        f"{decided} of {count(len(looks.rows), 'row')} decided, {len(looks.open)} open"
    )
