"""Whether trials took turns: the sides of an A/B session, and the variants of one run.

Trials that took turns share the states of their machine, so that times are paired by seed. Those of one run
did not if it was resumed on another day with an edited suite, or if its trials ran on several machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from harness.model.calibration import STATE_GAP
from harness.model.results import Report, TrialResult

ALLOWED_IN_SESSION: Final = ("libraries", "torch")
"""Mismatches that are allowed between the sides of a session, since they may be the compared change."""


def in_one_session(reports: Sequence[Report]) -> bool:
    """Return whether the trials of all these reports ran in turn in one A/B session."""
    sessions = {None if report.session is None else report.session.id for report in reports}
    return len(reports) > 1 and len(sessions) == 1 and None not in sessions


def axes_of_sides(reports: Sequence[Report]) -> frozenset[str]:
    """Return the axes in which the sides of one session may differ; empty for other reports."""
    if not in_one_session(reports):
        return frozenset()
    sessions = [report.session for report in reports if report.session is not None]
    return frozenset(axis for session in sessions for axis in session.apart)


# Clocks of several machines differ, and a worker ends shortly after its result.
_OVERLAP_S: Final = 1.0


class Turns:
    """When the trials of one run ran, to decide whether those of two variants took turns on one machine.

    A pause of at least `STATE_GAP` in the run ends a state of the machine. Trials that ran alone on a device,
    but at the same time, ran on several machines.
    """

    def __init__(self, results: Iterable[TrialResult]) -> None:
        self._states: dict[str, int] = {}
        self._several: set[str] = set()
        ran = sorted(results, key=lambda result: (result.trial.device, result.started))
        for device, group in groupby(ran, key=lambda result: result.trial.device):
            self._add(device, list(group))

    def _add(self, device: str, results: Sequence[TrialResult]) -> None:
        """Number the states of one device, from its trials in order of time."""
        state, ended, alone = 0, 0.0, (0.0, 0.0)
        for place, result in enumerate(results):
            begin = result.started.timestamp()
            if place and begin - ended >= STATE_GAP.total_seconds():
                state += 1
            self._states[result.trial.id] = state
            if result.status == "completed" and result.concurrent == 1:
                if alone[0] < begin < alone[1] - _OVERLAP_S:
                    self._several.add(device)
                alone = (begin, max(alone[1], begin + _seconds_alone(result)))
            ended = max(ended, begin + result.duration_s) if place else begin + result.duration_s

    def doubt(self, before: Sequence[TrialResult], after: Sequence[TrialResult]) -> str | None:
        """Return why the trials of two variants, paired by seed, did not take turns, or None.

        Pauses count if they lie in most of the pairs: in fewer, they are scatter, which the test covers.
        """
        others = {result.trial.seed: result for result in after}
        pairs = [(one, other) for one in before if (other := others.get(one.trial.seed)) is not None]
        if len(pairs) < 2:
            return None
        if any(result.trial.device in self._several for pair in pairs for result in pair):
            return (
                "trials that ran alone ran at the same time, so on several machines whose speeds may differ: "
                "run all on one, `harness run SUITE --fresh`"
            )
        apart = sum(self._states[one.trial.id] != self._states[other.trial.id] for one, other in pairs)
        if 2 * apart <= len(pairs):
            return None
        return (
            f"the trials of {apart} of {len(pairs)} pairs did not take turns: the run paused between them, "
            "and the machine may have changed: run all of them again, `harness run SUITE --fresh`"
        )


def _seconds_alone(result: TrialResult) -> float:
    """Return for how long a trial ran alone: of one with a window, at least the steps of that."""
    if result.apart is None:
        return result.duration_s
    return sum(result.values("train_step_seconds"))
