"""Probes: the speed of the machine during each trial, relative to its run or to another report.

Every trial stores two readings of a fixed matrix product and a fixed copy. Readings are compared only if the
machine (the fingerprint of the environment), the device and the work of the probe are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from harness.model.observations import DeviceState, ProbeReading
from harness.model.results import TrialResult

PROBE_BAND: Final = 0.10
"""Relative deviation from which a reading counts as another state of the machine, unless calibrated wider."""

_KINDS: Final[Mapping[str, str]] = {
    "matmul_flops_per_second": "matrix product",
    "copy_bytes_per_second": "memory copy",
}

# Seconds of lowered clocks during a trial below which they are no finding.
_LIMITED_SECONDS: Final = 0.1

# Machine, device (if distinguished), and work.
Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Deviation:
    """The reading of a trial farthest from the median of its run: `factor` is reading over median.

    `kind` names the work and `moment` is `before` or `after` the timed steps. `load_average` was read then.
    """

    factor: float
    kind: str
    moment: str
    load_average: float | None

    def exceeds(self, band: float) -> bool:
        """Return whether the factor is outside of 1 / (1 + band) to 1 + band."""
        return outside(self.factor, band)


@dataclass(frozen=True, slots=True)
class ProbeRatio:
    """The speed ratio of the machines of two reports, for one kind of work.

    `ratio` is the ratio of the medians over all readings. `low` and `high` are the ratios of opposite
    quartiles: they are wide if either machine varied during its run.
    """

    kind: str
    ratio: float
    low: float
    high: float


def outside(ratio: float, band: float) -> bool:
    """Return whether a ratio is outside of 1 / (1 + band) to 1 + band."""
    return not 1 / (1 + band) <= ratio <= 1 + band


def probe_band(calibrated: float | None) -> float:
    """Return the band for probes: the calibrated band of the metric if it is wider than the default.

    Calibrated bands of whole trials can be narrower than the repeatability of short readings.
    """
    return max(PROBE_BAND, calibrated or 0.0)


def deviations(results: Iterable[TrialResult]) -> dict[str, Deviation]:
    """Return the largest deviation of each trial with a probe from the median of the run, by trial id."""
    found: dict[str, Deviation] = {}
    for group in _by_place(results, each_device=True).values():
        medians = {kind: median(_values(group, kind)) for kind in _KINDS}
        for result in group:
            found[result.trial.id] = max(
                _deviations(result, medians), key=lambda each: _distance(each.factor)
            )
    return found


def noisy(results: Iterable[TrialResult], band: float = PROBE_BAND) -> dict[str, Deviation]:
    """Return the trials with a reading outside of the band around the median of the run, by trial id."""
    return {trial: found for trial, found in deviations(results).items() if found.exceeds(band)}


def held_back(result: TrialResult) -> tuple[str, ...]:
    """Return what slowed the device down during a trial, or shared it, by its two readings.

    >>> from harness.model.observations import DeviceState
    >>> tuple(_causes(DeviceState(), DeviceState(slowdowns=("sw_power_cap",), other_processes=2)))
    ('sw_power_cap', '2 other processes on the device')
    """
    if result.probe is None or result.probe.before.device is None or result.probe.after.device is None:
        return ()
    return tuple(_causes(result.probe.before.device, result.probe.after.device))


def _causes(before: DeviceState, after: DeviceState) -> Iterator[str]:
    yield from dict.fromkeys(before.slowdowns + after.slowdowns)
    for limit, already in before.limited_s.items():
        seconds = after.limited_s.get(limit, already) - already
        if seconds >= _LIMITED_SECONDS:
            yield f"clocks lowered by the limit of {limit} for {seconds:.1f} s"
    if others := max(before.other_processes or 0, after.other_processes or 0):
        yield f"{others} other process{'' if others == 1 else 'es'} on the device"


def probe_ratios(before: Iterable[TrialResult], after: Iterable[TrialResult]) -> tuple[ProbeRatio, ...]:
    """Return the speed of `after` over `before` for each kind of work; empty without common probes.

    If the results cover several machines or devices, the ratio farthest from one is used.
    """
    # Devices of the same kind in one machine are equivalent.
    sides = _by_place(before, each_device=False), _by_place(after, each_device=False)
    common = [place for place in sides[0] if place in sides[1]]
    ratios = [
        max((_ratio(sides[0][place], sides[1][place], kind) for place in common), key=_distance_of)
        for kind in (_KINDS if common else ())
    ]
    return tuple(ratios)


def machine_changed(before: Iterable[TrialResult], after: Iterable[TrialResult], band: float) -> str | None:
    """Return why the probes exclude a verdict on speed between two reports; None if they agree.

    Trials of two separate runs are judged only if the machine was equally fast in both: otherwise the machine
    may cause the difference. Without probes on both sides no verdict is excluded.
    """
    differing = [each for each in probe_ratios(before, after) if outside(each.ratio, band)]
    if not differing:
        return None
    shown = " and ".join(
        f"{each.ratio:.2f} ({each.low:.2f} to {each.high:.2f}) of the baseline's {each.kind}"
        for each in differing
    )
    return (
        f"the machine itself differed: its probe reached {shown}, beyond ±{100 * band:.3g} %, so the change "
        "may be the machine's; run both sides in turn: `harness ab`"
    )


def _by_place(results: Iterable[TrialResult], *, each_device: bool) -> dict[Place, list[TrialResult]]:
    groups: dict[Place, list[TrialResult]] = {}
    for result in results:
        if result.probe is not None and result.environment is not None:
            device = result.trial.device if each_device else ""
            place = result.environment.fingerprint, device, result.probe.work
            groups.setdefault(place, []).append(result)
    return groups


def _readings(result: TrialResult) -> Iterator[tuple[str, ProbeReading]]:
    if result.probe is not None:
        yield "before", result.probe.before
        yield "after", result.probe.after


def _values(results: Iterable[TrialResult], kind: str) -> list[float]:
    return [getattr(reading, kind) for result in results for _, reading in _readings(result)]


def _deviations(result: TrialResult, medians: Mapping[str, float]) -> Iterator[Deviation]:
    for moment, reading in _readings(result):
        for kind, name in _KINDS.items():
            yield Deviation(getattr(reading, kind) / medians[kind], name, moment, reading.load_average)


def _ratio(before: Sequence[TrialResult], after: Sequence[TrialResult], kind: str) -> ProbeRatio:
    # Two readings a trial: never fewer than quartiles need.
    old, new = (quantiles(_values(side, kind), n=4, method="inclusive") for side in (before, after))
    return ProbeRatio(_KINDS[kind], ratio=new[1] / old[1], low=new[0] / old[2], high=new[2] / old[0])


def _distance(factor: float) -> float:
    return max(factor, 1 / factor)


def _distance_of(ratio: ProbeRatio) -> float:
    return _distance(ratio.ratio)
