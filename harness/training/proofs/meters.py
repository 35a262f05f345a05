"""The step meter, the clock of phases, the machine's probe and the store of peaks, driven by known clocks.

Each runs a short script in which time and energy advance by amounts that no two parts share, so that a part
that is counted twice, left out or charged to another one is a different number. A trial cannot show it: its
own times are not known otherwise, and a machine without a counter has no energy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, product
from pathlib import Path
from typing import Final

import numpy as np
import torch

from harness.model.proof import TrainingCheck
from harness.model.values import Precision
from harness.training.batching import Batch
from harness.training.measuring.flops import EncoderShape
from harness.training.measuring.peak_rates import Bench
from harness.training.measuring.peaks import kept_peak
from harness.training.measuring.phases import PhaseClock
from harness.training.measuring.probe import MachineProbe
from harness.training.measuring.steps import StepClock, StepMeter
from harness.training.measuring.trial_roofline import PEAKS, measure_peaks
from harness.training.proofs.findings import none_of
from harness.training.proofs.instruments import WorkClock

_CPU: Final = torch.device("cpu")
_STEPS: Final = 7
# Steps of each window. Warm-up ends inside of one, at the end of one, and before the first.
_WINDOWS: Final = (3, 2, 2)
_WARM_UPS: Final = (0, 1, 3, 4)
# Outside of windows, where nothing counts.
_OUTSIDE: Final = 2**20
_EQUAL: Final = 1e-9
_NOW: Final = datetime(2020, 1, 1, tzinfo=UTC)


def check_meters() -> TrainingCheck:
    """Times, energy, readings and kept peaks of known scripts."""
    return none_of(
        "meters",
        chain(
            chain.from_iterable(map(_step_problems, _WARM_UPS)),
            _phase_problems(),
            _reading_problems(),
            _key_problems(),
            _peak_problems(),
        ),
        "times and energy of steps, phases, readings and kept peaks are those of known scripts",
    )


class _Hands:
    """A clock that is set by hand, in seconds or joules."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def _step_problems(warmup_steps: int) -> Iterator[str]:
    """Let step n take 2^n seconds and as many joules, and what lies between windows far more of both."""
    hands, edges = _Hands(), list[int]()

    def at_edge() -> None:
        edges.append(len(meter.step_seconds))
        hands.now += _OUTSIDE

    meter = StepMeter(
        _CPU,
        warmup_steps,
        lambda _progress: None,
        _STEPS,
        at_edge,
        clock=StepClock(hands, lambda before, after: after - before),
        energy=hands,
    )
    batch, step = Batch(np.arange(2), 5, 6), 0
    for count in _WINDOWS:
        hands.now += _OUTSIDE
        meter.open_window()
        for _ in range(count):
            hands.now += 2.0**step
            meter.step([batch], 1, lambda: 0.0)
            step += 1
        meter.close_window()
    due = [2.0**each for each in range(_STEPS)]
    if meter.step_seconds != due:
        yield f"steps of {due} s are timed as {meter.step_seconds} s"
    if meter.joules != sum(due[warmup_steps:]):
        yield (
            f"{sum(due[warmup_steps:]):g} J of the steps after {warmup_steps} of warm-up "
            f"are counted as {meter.joules}"
        )
    if edges != [0, _STEPS]:
        yield f"the machine is read after {edges} steps, due before the first and after the last of {_STEPS}"


def _phase_problems() -> Iterator[str]:
    """Let phases follow each other with pauses, nest, and come again."""
    hands = _Hands()
    clock = PhaseClock(lambda _progress: None, now=hands)
    hands.now += _OUTSIDE
    with clock.phase("load_data"):
        hands.now += 1
    hands.now += _OUTSIDE
    with clock.phase("train"):
        hands.now += 2
        with clock.phase("evaluate"):
            hands.now += 4
        hands.now += 8
        with clock.phase("evaluate"):
            hands.now += 16
            with clock.phase("write"):
                hands.now += 32
            hands.now += 64
    hands.now += _OUTSIDE
    due = {"load_data": 1, "train": 10, "evaluate": 84, "write": 32}
    if clock.seconds != due:
        yield f"phases of {due} s are timed as {clock.seconds} s"
    for each in clock.measurements():
        phase = each.metric.removesuffix("_seconds")
        if [*each.values] != ([due[phase]] if phase in due else []):
            yield f"{each.metric} is {[*each.values]}"


def _reading_problems() -> Iterator[str]:
    """Take the second reading on a machine that is four times as fast."""
    clocks = [WorkClock(1e8), WorkClock(4e8)]

    def now() -> float:
        return clocks[0]()

    probe = MachineProbe(_CPU, now=now)
    with clocks[0]:
        probe.read()
    del clocks[0]
    with clocks[0]:
        probe.read()
    if probe.found is None:
        yield "two readings of the machine's probe are none"
    elif probe.found.after.matmul_flops_per_second < 2 * probe.found.before.matmul_flops_per_second:
        yield "the reading after a training is not that of the faster machine"


def _key_problems() -> Iterator[str]:
    """Peaks of other work have other names in the store, and each number is the one of its name."""
    shapes = (EncoderShape(2, 64, 96, 2), EncoderShape(2, 64, 128, 2), EncoderShape(2, 32, 96, 2))
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    names: dict[tuple[str, object], str] = {}
    for precision, shape, tokens in product(precisions, shapes, (256, 1024)):
        asked: list[str] = []

        def keep(work: str, _measure: object, asked: list[str] = asked) -> float:
            asked.append(work)
            return float(len(asked))

        peaks = measure_peaks(Bench(_CPU, precision), shape, tokens, keep)
        if [(each.metric, *each.values) for each in peaks] != [
            (name, at) for at, name in enumerate(PEAKS, 1)
        ]:
            yield "a peak has the number of another one"
            return
        copy, square, products = PEAKS
        of_work = {copy: None, square: precision, products: (precision, shape, tokens)}
        for name, key in zip(PEAKS, asked, strict=True):
            names.setdefault((name, of_work[name]), key)
            if names[name, of_work[name]] != key:
                yield f"the same work of {name} is kept by two names"
    if len({*names.values()}) != len(names):
        yield "peaks of other precisions, shapes or tokens are kept by one name"


def _peak_problems() -> Iterator[str]:
    """Keep peaks of known rates at known moments: a faster one counts for a day, and no other work's."""

    def minutes(count: int) -> datetime:
        return _NOW + timedelta(minutes=count)

    with tempfile.TemporaryDirectory(prefix="harness-peaks-") as name:
        for fingerprint, work, moment, rate, due in (
            ("a" * 12, "one", 0, 5.0, 5.0),
            ("a" * 12, "one", 5, 9.0, 5.0),
            ("a" * 12, "one", 15, 3.0, 5.0),
            ("a" * 12, "one", 30, 7.0, 7.0),
            ("a" * 12, "one", 30 + 25 * 60, 2.0, 2.0),
            ("b" * 12, "one", 0, 11.0, 11.0),
            ("a" * 12, "two", 0, 13.0, 13.0),
        ):
            now = partial(minutes, moment)
            found = kept_peak(Path(name), fingerprint, work, partial(float, rate), now=now)
            if abs(found - due) > _EQUAL:
                yield f"a peak of {rate:g} after {moment} minutes is {found:g}, due {due:g}"
        first, second = sorted(Path(name).glob("a*-one.json")), sorted(Path(name).glob("b*-one.json"))
        if len(first) == len(second) == 1:
            first[0].replace(second[0])
            soon = partial(minutes, 31 + 25 * 60)
            again = kept_peak(Path(name), "b" * 12, "one", partial(float, 17.0), now=soon)
            if abs(again - 17.0) > _EQUAL:
                yield "a peak of another machine counts"
