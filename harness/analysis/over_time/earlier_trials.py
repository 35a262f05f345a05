"""History: earlier trials of the compared variants, to estimate variances that the compared runs lack.

One seed per side does not show the variance of a score over seeds, and two separate runs do not show the
variance of the speed of equal runs on their machine. Earlier trials of the same variant do, under the
conditions of a comparison: same data, checkpoint files, metric version and examples for quality; same
machine, torch version and measurement for speed. A mismatch that is allowed between the compared reports is
not allowed here. Trials of the compared reports are excluded, and a trial in several reports counts once.

Seeds: each seed of a variant counts once, by its earliest trial. Seeds of several reports form one sample: if
the reports differ in more than their seeds, the variance is overestimated, never underestimated.

Runs: each report is one run. Runs less than a minute apart share a state of the machine and count as one;
otherwise trials in close succession would underestimate the variance between runs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from harness.analysis.checks.verification import contradictions
from harness.analysis.comparison.alignment import Pair
from harness.analysis.comparison.conditions import CONDITIONS, concerns, mismatches
from harness.model.calibration import STATE_GAP
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed

_MOST_NAMED: Final = 4

Use = Literal["quality", "speed"]


@dataclass(frozen=True, slots=True)
class EarlierTrial:
    """A trial of an earlier report; `flaw` is the reason to exclude it, if any."""

    result: TrialResult
    report: Report
    flaw: str | None = None


Group = tuple[EarlierTrial, ...]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The earlier trials of a pair: a group that matches the baseline, and one for the candidate only.

    Groups may be empty. `asked` is true if a history was given.
    """

    scored: tuple[Group, ...] = ()
    timed: tuple[Group, ...] = ()
    asked: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """Earlier reports in order of time, and their trials by seed and time, each once.

    A report without new trials has a message that states so.
    """

    reports: tuple[tuple[Report, str | None], ...] = ()
    trials: Group = ()

    def of(self, pair: Pair) -> Earlier:
        """Return the earlier trials of both variants of a pair."""
        return Earlier(self._groups(pair, "quality"), self._groups(pair, "speed"), asked=bool(self.reports))

    def left_out(self, pairs: Sequence[Pair], uses: Sequence[Use]) -> str | None:
        """Return a note that lists the excluded reports with reasons, or None if all are used."""
        if self.reports and not uses:
            return "history not used: this comparison needs no variance of earlier runs"
        parts = []
        for report, known in self.reports:
            reasons: dict[str, dict[Use, None]] = {}
            for use in uses:
                for reason in (known,) if known else self._reasons(report, pairs, use):
                    reasons.setdefault(reason, {})[use] = None
            for reason, given in reasons.items():
                only = "" if len(given) == len(uses) else f", for {next(iter(given))}"
                parts.append(f"run {report.run}{only}: {reason}")
        return f"history left out: {'; '.join(parts)}" if parts else None

    def _groups(self, pair: Pair, use: Use) -> tuple[Group, ...]:
        sides = _sides(pair, use)
        groups: list[list[EarlierTrial]] = [[] for _ in sides]
        for trial in self.trials:
            place = _place(trial, sides, use)
            if isinstance(place, int):
                groups[place].append(trial)
        return tuple(map(tuple, groups))

    def _reasons(self, report: Report, pairs: Sequence[Pair], use: Use) -> Iterator[str]:
        sides = [_sides(pair, use) for pair in pairs]
        found: dict[str, None] = {}
        used = False
        for trial in self.trials:
            if trial.report is not report:
                continue
            places = [place for each in sides if (place := _place(trial, each, use)) is not None]
            if any(isinstance(place, int) for place in places):
                used = True
            else:
                found |= dict.fromkeys(map(str, places))
        yield from found
        if not used and not found:
            yield "it has no trial of a compared variant"


def collect(earlier: Sequence[Report], compared: Iterable[Report]) -> History:
    """Collect the history from earlier reports, in any order.

    Args:
        earlier: reports of earlier runs; the same one may be given twice.
        compared: the reports whose trials are compared; these are excluded.
    """
    if not earlier:
        return History()
    own = {_identity(result) for report in compared for result in report.results}
    by_content = {}
    for report in earlier:
        results = {_identity(result): result for result in report.results}
        by_content[report.created, report.run, tuple(sorted(results))] = report, results
    reports: list[tuple[Report, str | None]] = []
    trials: dict[str, EarlierTrial] = {}
    for content in sorted(by_content):
        report, results = by_content[content]
        known = None
        if results and results.keys() <= own:
            known = "its trials are those that are compared"
        elif results and results.keys() <= own | trials.keys():
            known = "its trials are in another report, too, and count once"
        reports.append((report, known))
        for identity in results.keys() - own - trials.keys():
            trials[identity] = EarlierTrial(results[identity], report, _flaw(results[identity], report))

    def place(identity: str) -> tuple[Seed, datetime, str]:
        result = trials[identity].result
        return result.trial.seed, result.started, identity

    return History(tuple(reports), tuple(trials[identity] for identity in sorted(trials, key=place)))


def each_seed_once(trials: Iterable[EarlierTrial], taken: Iterable[Seed] = ()) -> Group:
    """Return the first trial of each seed, without the seeds in `taken`."""
    found: dict[Seed, EarlierTrial] = {}
    for each in trials:
        found.setdefault(each.result.trial.seed, each)
    for seed in taken:
        found.pop(seed, None)
    return tuple(found.values())


def by_state(trials: Iterable[EarlierTrial]) -> list[Group]:
    """Group the trials by the state of the machine during their runs, in order of time."""
    runs: dict[int, list[EarlierTrial]] = {}
    for trial in trials:
        runs.setdefault(id(trial.report), []).append(trial)
    windows = [(*_window(run[0].report), run) for run in runs.values()]
    states: list[list[EarlierTrial]] = []
    latest = -math.inf
    for begin, end, run in sorted(windows, key=lambda window: window[:2]):
        if begin - latest < STATE_GAP.total_seconds():
            states[-1] += run
        else:
            states.append(list(run))
        latest = max(latest, end)
    return [tuple(state) for state in states]


def named_runs(trials: Iterable[EarlierTrial]) -> str:
    """Return `run A`, `runs A and B`, or `runs A, B, C, D and 3 more`."""
    names = sorted({each.report.run for each in trials})
    shown, more = names[:_MOST_NAMED], len(names) - _MOST_NAMED
    last = f"{more} more" if more > 0 else shown.pop()
    listed = f"{', '.join(shown)} and {last}" if shown else last
    return f"{'run' if len(names) == 1 else 'runs'} {listed}"


def _window(report: Report) -> tuple[float, float]:
    """Return the start of the first and the end of the last completed trial of a report, in POSIX seconds."""
    completed = [result for result in report.results if result.status == "completed"]
    begins = [result.started.timestamp() for result in completed]
    ends = [result.started.timestamp() + result.duration_s for result in completed]
    return min(begins), max(ends)


def _identity(result: TrialResult) -> str:
    return hashlib.sha256(result.model_dump_json().encode()).hexdigest()


def _flaw(result: TrialResult, report: Report) -> str | None:
    if result.status != "completed":
        return f"seed {result.trial.seed} is {result.status}"
    if contradictions(result, report.suite.measure.warmup_steps):
        return f"stored values of seed {result.trial.seed} contradict each other"
    return None


def _sides(pair: Pair, use: Use) -> list[tuple[TrialResult, Report]]:
    """Return one usable trial of each side, since the trials of a variant share their conditions."""
    found = []
    for variant in (pair.before, pair.after):
        usable = [] if variant is None else sorted(variant.results.items())
        for _, result in usable:
            if variant is not None and result.status == "completed" and _counts(result, use):
                found.append((result, variant.report))
                break
    return found


def _counts(result: TrialResult, use: Use) -> bool:
    return use == "speed" or not result.degenerate


def _place(trial: EarlierTrial, sides: Sequence[tuple[TrialResult, Report]], use: Use) -> int | str | None:
    """Return the place of the matching side, or the reason for exclusion; None for another variant."""
    result = trial.result
    own = [place for place, (side, _) in enumerate(sides) if side.trial.variant_id == result.trial.variant_id]
    if not own or trial.flaw is not None:
        return trial.flaw if own else None
    if not _counts(result, use):
        return f"seed {result.trial.seed} predicts a single class"
    reason = ""
    for place in own:
        found = mismatches(sides[place], (result, trial.report), frozenset())
        named = [name for name in found if concerns(CONDITIONS[name].affects, on_machine=use == "speed")]
        if not named:
            return place
        reason = ", ".join(f"{CONDITIONS[name].meaning}: {' against '.join(found[name])}" for name in named)
    return reason
