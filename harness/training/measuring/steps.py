"""Timing the steps of a training, and the rates that follow from them."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from harness.model.environment import Device
from harness.model.job import Announce, Progress
from harness.model.measurements import Measurement, measured, unmeasured
from harness.model.values import Precision
from harness.training import ranks
from harness.training.batching import Batch, Lengths
from harness.training.devices import synchronize
from harness.training.measuring.counters import EnergyCounter, RaplCounter, energy_counter
from harness.training.measuring.flops import EncoderShape
from harness.training.measuring.peaks import peak_flops

_ANNOUNCE_EVERY_SECONDS: Final = 0.5
_STEADY: Final = (
    "train_samples_per_second",
    "train_real_tokens_per_second",
    "train_real_tokens",
    "train_computed_tokens",
    "padding_efficiency",
    "train_step_seconds",
    "model_flops",
    "published_peak_flops_per_second",
    "model_flops_utilization",
)


@dataclass(frozen=True, slots=True)
class StepClock:
    """`mark` notes a moment of the device's work without waiting for it; `between` two marks lie seconds."""

    mark: Callable[[], Any]
    between: Callable[[Any, Any], float]


def step_clock(device: torch.device) -> StepClock:
    """CUDA's own events there; the host's monotonic clock elsewhere, on MPS exact by window only."""
    if device.type != "cuda":
        return StepClock(time.perf_counter, lambda before, after: after - before)

    def record() -> Any:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call] # torch leaves it so
        event.record()
        return event

    return StepClock(record, lambda before, after: before.elapsed_time(after) / 1e3)


@dataclass(slots=True)
class StepMeter:
    """Times every optimizer step of a training, evaluation left out.

    An engine opens a window for each stretch of steps, calls `step` after each one and closes the window; the
    device is waited for at its edges only. `timing` is true inside of a window.

    Args:
        device: that runs the steps.
        warmup_steps: steps at the start that count in no rate.
        announce: told the newest step, at most twice a second.
        steps: optimizer steps of the whole training.
        at_edge: called right before the first window opens and right after the last one has closed.
        clock: None takes the device's.
        energy: counts joules; None takes the counter of the device, if there is one.
    """

    device: torch.device
    warmup_steps: int
    announce: Announce
    steps: int
    at_edge: Callable[[], None] = lambda: None
    clock: StepClock | None = None
    energy: EnergyCounter | None = None
    step_seconds: list[float] = field(default_factory=list)
    joules: float | None = 0.0
    timing: bool = False
    _clock: StepClock = field(init=False)
    _energy: EnergyCounter | str = field(init=False)
    _batches: list[Sequence[Batch]] = field(default_factory=list)
    _marks: list[Any] = field(default_factory=list)
    _counting: bool = False
    _energy_since: float | None = None
    _window: tuple[int, float] = (0, 0.0)
    _announced: float = 0.0
    _skipped: int = 0

    def __post_init__(self) -> None:
        """Choose the clock and the energy counter of the device."""
        self._clock = self.clock or step_clock(self.device)
        self._energy = self.energy or energy_counter(self.device)

    def open_window(self) -> None:
        """Begin a stretch of consecutive steps."""
        if not self._batches:
            self.at_edge()
        synchronize(self.device)
        self.timing = True
        self._window = (len(self._batches), time.perf_counter())
        self._marks = [self._clock.mark()]
        if len(self._batches) >= self.warmup_steps:
            self._open_energy()

    def close_window(self) -> None:
        """End the stretch: wait for the device and read the times between its marks."""
        synchronize(self.device)
        self.timing = False
        between = self._clock.between
        self.step_seconds += [between(*pair) for pair in itertools.pairwise(self._marks)]
        if self._counting and not isinstance(self._energy, str):
            self.joules = _added(self.joules, self._energy_since, self._energy())
            self._counting = False
        if len(self._batches) >= self.steps:
            self.at_edge()

    def skip(self, steps: Sequence[Sequence[Batch]]) -> None:
        """Count steps that an earlier process took: no time, rate or energy of this training is measured."""
        if steps:
            self._batches += steps
            self._skipped = len(self._batches)
            self.at_edge = lambda: None

    @property
    def interrupted(self) -> str | None:
        """Why nothing that adds up over a training was measured, or None."""
        if not self._skipped:
            return None
        return f"the trial was interrupted and continued after step {self._skipped}, in another process"

    def step(self, batches: Sequence[Batch], epoch: int, loss: Callable[[], float]) -> None:
        """One optimizer step over `batches` (several when gradients are accumulated) was given to the device.

        `loss` is called when progress is announced: it may wait for the device.
        """
        self._batches.append(batches)
        self._marks.append(self._clock.mark())
        if len(self._batches) == self.warmup_steps:
            self._open_energy()
        now = time.perf_counter()
        if now - self._announced >= _ANNOUNCE_EVERY_SECONDS:
            self._announced = now
            if isinstance(self._energy, RaplCounter):
                # It wraps around within minutes, and a window may be longer.
                self._energy()
            self.announce(self._progress(epoch, loss(), now))

    def _open_energy(self) -> None:
        if not isinstance(self._energy, str):
            synchronize(self.device)
            self._energy_since = self._energy()
            self._counting = True

    def _progress(self, epoch: int, loss: float, now: float) -> Progress:
        first, since = self._window
        tokens = sum(batch.real_tokens for batches in self._batches[first:] for batch in batches)
        return Progress(
            phase="train",
            step=len(self._batches),
            steps=self.steps,
            epoch=epoch,
            loss=loss if math.isfinite(loss) else None,
            real_tokens_per_second=tokens / (now - since) if now > since else None,
        )

    def measurements(
        self,
        lengths: Lengths,
        shape: EncoderShape | str,
        device: Device,
        precision: Precision,
        world_size: int = 1,
    ) -> list[Measurement]:
        """Rates, step times, FLOPs and energy of the steps after warm-up.

        `shape` gives the FLOPs of a row, or is the reason why they are not known.
        """
        if (why := self.interrupted) is not None:
            return [unmeasured(name, why) for name in ("train_seconds", *_STEADY, "energy_joules")]
        all_steps = measured("train_seconds", sum(self.step_seconds))
        steady = self.step_seconds[self.warmup_steps :]
        if not steady:
            why = f"all {len(self.step_seconds)} steps were warm-up: lower measure.warmup_steps"
            return [all_steps, *(unmeasured(name, why) for name in _STEADY), unmeasured("energy_joules", why)]
        seconds = sum(steady)
        batches = [batch for step in self._batches[self.warmup_steps :] for batch in step]
        real = sum(batch.real_tokens for batch in batches)
        computed = sum(batch.computed_tokens for batch in batches)
        examples = sum(len(batch.rows) for batch in batches)
        flops = (
            shape
            if isinstance(shape, str)
            else sum(shape.train_flops(lengths[batch.rows]) for batch in batches)
        )
        return [
            all_steps,
            measured("train_samples_per_second", examples / seconds),
            measured("train_real_tokens_per_second", real / seconds),
            measured("train_real_tokens", real),
            measured("train_computed_tokens", computed),
            measured("padding_efficiency", real / computed),
            measured("train_step_seconds", *steady),
            *_use_of_peak(flops, seconds, peak_flops(device.name, precision), world_size),
            self._energy_used(),
            *_rates_of_one(real / seconds, world_size),
        ]

    def count_energy_of_all(self) -> None:
        """Add the energy of the other ranks' devices; on the CPU every rank has read the same packages."""
        if self.device.type == "cuda":
            every = ranks.gather(self.joules)
            self.joules = None if None in every else sum(each for each in every if each is not None)

    def _energy_used(self) -> Measurement:
        if isinstance(self._energy, str):
            return unmeasured("energy_joules", self._energy)
        if self.joules is None:
            return unmeasured("energy_joules", "the energy counter could not be read to the end")
        return measured("energy_joules", self.joules)


def _added(total: float | None, before: float | None, after: float | None) -> float | None:
    """Add a stretch to the energy so far; None once any reading is missing."""
    return None if total is None or before is None or after is None else total + after - before


def _rates_of_one(rate: float, world_size: int) -> list[Measurement]:
    """The rate of one of several devices."""
    return [measured("train_real_tokens_per_second_per_device", rate / world_size)] if world_size > 1 else []


def _use_of_peak(
    flops: float | str, seconds: float, of_one: float | str, world_size: int
) -> list[Measurement]:
    """The peak of all devices together, and the share of it that the FLOPs are."""
    published, use = "published_peak_flops_per_second", "model_flops_utilization"
    peak = of_one if isinstance(of_one, str) else of_one * world_size
    known = unmeasured(published, peak) if isinstance(peak, str) else measured(published, peak)
    if isinstance(flops, str):
        return [unmeasured("model_flops", flops), known, unmeasured(use, flops)]
    share = unmeasured(use, peak) if isinstance(peak, str) else measured(use, flops / seconds / peak)
    return [measured("model_flops", flops), known, share]
