"""Estimate time, memory and disk space of a plan from earlier results of its checkpoints on this machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.analysis.forecast.likeness import EarlierResults, EarlierRun, Range, Setting, TrialEstimate
from harness.model.trial import Trial


@dataclass(frozen=True, slots=True)
class Estimate:
    """Time, memory and disk of the trials that are left, by trial id and in total.

    Totals leave out the trials in `unknown`, which have no earlier result; they are None if all are unknown.
    `proof_seconds` is part of `seconds`, and None where proofs are needed that no earlier run has timed.
    `runs` are the names of the earlier runs.
    """

    trials: Mapping[str, TrialEstimate]
    unknown: tuple[Trial, ...]
    reused: int
    unavailable: int
    runs: tuple[str, ...] = ()
    seconds: Range | None = None
    proof_seconds: Range | None = None
    host_memory: Range | None = None
    device_memory: Range | None = None
    disk: Range | None = None

    @property
    def to_run(self) -> int:
        """The number of trials that will run."""
        return len(self.trials) + len(self.unknown)


def estimate(
    trials: Sequence[Trial],
    runs: Sequence[EarlierRun],
    setting: Setting,
    *,
    reused: Collection[str] = (),
    unavailable: Collection[str] = (),
    proved: Collection[str] | None = (),
) -> Estimate:
    """Estimate time, memory and disk of the trials that have no result yet.

    Args:
        trials: of the plan.
        runs: earlier ones, of any machine.
        setting: machine, assets and concurrency.
        reused: ids of trials whose results are taken over.
        unavailable: ids of trials that cannot run here.
        proved: ids of proofs that are taken over; None if the run proves nothing.
    """
    left = [trial for trial in trials if trial.id not in reused and trial.id not in unavailable]
    evidence = EarlierResults(runs, setting)
    found = {trial.id: each for trial in left if (each := evidence.of(trial)) is not None}
    result = Estimate(
        found,
        tuple(trial for trial in left if trial.id not in found),
        len(reused),
        len(unavailable),
    )
    if not found:
        return result
    counted = [trial for trial in left if trial.id in found]
    proofs = {} if proved is None else evidence.proofs(counted, proved)
    per_device: dict[str, Range] = defaultdict(lambda: Range(0, 0))
    longest: dict[str, float] = defaultdict(float)
    gap = evidence.gap
    works = [(trial.devices, found[trial.id].seconds) for trial in counted]
    works += [(trial.devices, seconds) for trial, seconds in (proofs or {}).values()]
    for devices, seconds in works:
        for device in devices:
            per_device[device] += Range(seconds.low + gap, seconds.high + gap)
            longest[device] = max(longest[device], seconds.low)
    proving = None if proofs is None else sum((each for _, each in proofs.values()), Range(0, 0))
    low = max(max(longest[device], each.low / setting.jobs) for device, each in per_device.items())
    high = max(each.high for each in per_device.values()) / setting.jobs
    return replace(
        result,
        runs=evidence.used,
        seconds=Range(low, max(low, high)) + evidence.startup,
        proof_seconds=proving and Range(proving.low / setting.jobs, proving.high / setting.jobs),
        host_memory=_at_once((each.host_memory for each in found.values()), setting.jobs * len(per_device)),
        device_memory=_at_once((each.device_memory for each in found.values()), setting.jobs),
        disk=sum((each.disk for each in found.values()), Range(0, 0)),
    )


def _at_once(each: Iterable[Range | None], number: int) -> Range | None:
    """Return the memory of trials of which `number` run at once: that of the largest, up to so many times."""
    found = [one for one in each if one is not None]
    if not found:
        return None
    return Range(max(one.low for one in found), number * max(one.high for one in found))
