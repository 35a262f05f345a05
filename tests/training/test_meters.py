"""The check of meters passes here, and names what counts another time, energy or peak."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.model.observations import Probe
from harness.training.measuring import peaks, trial_roofline
from harness.training.measuring.phases import PhaseClock
from harness.training.measuring.probe import MachineProbe
from harness.training.measuring.steps import StepMeter
from harness.training.proofs import meters
from harness.training.proofs.meters import check_meters

pytestmark = pytest.mark.heavy

OPEN, CLOSE, CHARGE, FOUND = (
    StepMeter.open_window, StepMeter.close_window, PhaseClock._charge, MachineProbe.found,
)  # fmt: skip


def test_meters_measure_known_scripts() -> None:
    found = check_meters()
    assert found.passed, found.found


def of_one_window(meter: StepMeter) -> None:
    before = meter.joules
    meter.joules = 0.0
    CLOSE(meter)
    meter.joules = meter.joules or before


def with_warm_up(meter: StepMeter) -> None:
    # The first window has more steps than warm-up, so that the steps before its end count too.
    OPEN(meter)
    if meter.warmup_steps:
        meter._energy_since = 0.0
        meter._counting = True


def read_inside(meter: StepMeter) -> None:
    edge, meter.at_edge = meter.at_edge, lambda: None
    first = not meter._batches
    OPEN(meter)
    meter.at_edge = edge
    if first:
        edge()


def with_pauses(clock: PhaseClock) -> None:
    since = clock._since
    CHARGE(clock)
    if not clock._open:
        clock._since = since


def turned_round(probe: MachineProbe) -> Probe | None:
    found: Probe | None = FOUND.fget(probe)  # type: ignore[attr-defined] # a property of the class
    return found and found.model_copy(update={"before": found.after, "after": found.before})


def one_name(bench: Any, shape: Any, tokens: float, keep: Callable[..., float]) -> Any:
    return trial_roofline.measure_peaks(bench, shape, tokens, lambda work, run: keep(work.split()[0], run))


def never_older(folder: Any, fingerprint: str, work: str, measure: Callable[[], float], **_: Any) -> float:
    return measure()


@pytest.mark.parametrize(
    ("place", "name", "spoilt", "expected"),
    [
        (StepMeter, "close_window", of_one_window, "J of the steps after 0 of warm-up are counted as"),
        (StepMeter, "open_window", with_warm_up, "J of the steps after 1 of warm-up are counted as"),
        (StepMeter, "open_window", read_inside, "s are timed as"),
        (PhaseClock, "_charge", with_pauses, "phases of"),
        (MachineProbe, "found", property(turned_round), "not that of the faster machine"),
        (MachineProbe, "read", lambda _probe: None, "two readings of the machine's probe are none"),
        (meters, "measure_peaks", one_name, "are kept by one name"),
        (meters, "kept_peak", never_older, "a peak of 9 after 5 minutes is 9, due 5"),
    ],
)
def test_a_meter_that_counts_otherwise_is_named(
    place: Any, name: str, spoilt: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, spoilt)
    found = check_meters()
    assert not found.passed
    assert expected in found.found


def test_a_store_that_gives_the_peak_of_another_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    read = peaks._read
    monkeypatch.setattr(peaks, "_read", lambda file, _of, work: read(file, "a" * 12, work))
    assert "a peak of" in check_meters().found
