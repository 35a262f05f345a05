from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.model.environment import Device
from harness.model.job import Progress
from harness.model.measurements import Measurement
from harness.training.batching import Batch
from harness.training.measuring import steps as measuring
from harness.training.measuring.counters import energy_counter
from harness.training.measuring.flops import UNKNOWN_SHAPE, EncoderShape
from harness.training.measuring.phases import PhaseClock
from harness.training.measuring.steps import StepClock, StepMeter

pytestmark = pytest.mark.heavy
CPU = torch.device("cpu")
DEVICE = Device(kind="cpu", name="Test CPU")


def batch(rows: int, real: int, computed: int) -> Batch:
    return Batch(np.arange(rows), real, computed)


def by_name(measurements: list[Measurement]) -> dict[str, Measurement]:
    return {found.metric: found for found in measurements}


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Moments that the step clock will see, in order: the tests append to it."""
    moments: list[float] = []
    clock = StepClock(lambda: moments.pop(0), lambda before, after: after - before)
    monkeypatch.setattr(measuring, "step_clock", lambda device: clock)
    return moments


def test_warm_up_steps_and_the_time_between_windows_count_in_no_rate(ticking: list[float]) -> None:
    ticking += [0.0, 5.0, 6.0, 8.0]  # a window and three steps: 5 s of warm-up, then 1 s and 2 s
    ticking += [100.0, 101.0]  # evaluation in between, then one step of 1 s
    meter = StepMeter(CPU, 1, lambda progress: None, 4)
    for steps in (3, 1):
        meter.open_window()
        for _ in range(steps):
            meter.step([batch(8, 60, 100)], 1, lambda: 0.5)
        meter.close_window()
    found = by_name(meter.measurements(np.full(8, 10), EncoderShape(2, 32, 64, 2), DEVICE, "fp32"))
    assert found["train_seconds"].values == (9.0,)
    assert found["train_step_seconds"].values == (1.0, 2.0, 1.0)
    assert found["train_samples_per_second"].values == (24 / 4,)
    assert found["train_real_tokens_per_second"].values == (180 / 4,)
    assert found["padding_efficiency"].values == (0.6,)
    assert (found["train_real_tokens"].median, found["train_computed_tokens"].median) == (180, 300)
    why = "no published peak for Test CPU at fp32; matmul_peak_share is of the measured one"
    assert found["model_flops_utilization"].reason == why
    assert found["published_peak_flops_per_second"].reason == why


def test_a_training_of_warm_up_alone_has_no_rates_and_says_why(ticking: list[float]) -> None:
    ticking += [0.0, 1.0]
    meter = StepMeter(CPU, 10, lambda progress: None, 1)
    meter.open_window()
    meter.step([batch(8, 60, 100)], 1, lambda: 0.5)
    meter.close_window()
    found = by_name(meter.measurements(np.full(8, 10), UNKNOWN_SHAPE, DEVICE, "fp32"))
    assert found["train_seconds"].values == (1.0,)
    reason = found["train_real_tokens_per_second"].reason
    assert reason == "all 1 steps were warm-up: lower measure.warmup_steps"


def test_accumulated_batches_are_one_step(ticking: list[float]) -> None:
    ticking += [0.0, 2.0]
    meter = StepMeter(CPU, 0, lambda progress: None, 1)
    meter.open_window()
    meter.step([batch(8, 50, 50), batch(4, 30, 30)], 1, lambda: 0.5)
    meter.close_window()
    found = by_name(meter.measurements(np.full(8, 10), UNKNOWN_SHAPE, DEVICE, "fp32"))
    assert found["train_step_seconds"].values == (2.0,)
    assert found["train_samples_per_second"].values == (6.0,)


def metered(counts: list[float | None], monkeypatch: pytest.MonkeyPatch, ticking: list[float]) -> Measurement:
    """The energy of two windows of one step each, from a counter that gives these joules in turn."""
    monkeypatch.setattr(measuring, "energy_counter", lambda device: lambda: counts.pop(0))
    ticking += [0.0, 1.0, 2.0, 3.0]
    meter = StepMeter(CPU, 0, lambda progress: None, 2)
    for _ in range(2):
        meter.open_window()
        meter.step([batch(8, 60, 100)], 1, lambda: 0.5)
        meter.close_window()
    return by_name(meter.measurements(np.full(8, 10), UNKNOWN_SHAPE, DEVICE, "fp32"))["energy_joules"]


def test_energy_is_counted_inside_windows_alone(
    monkeypatch: pytest.MonkeyPatch, ticking: list[float]
) -> None:
    assert metered([100.0, 103.0, 200.0, 204.0], monkeypatch, ticking).values == (7.0,)


def test_a_counter_that_fails_in_between_leaves_no_number(
    monkeypatch: pytest.MonkeyPatch, ticking: list[float]
) -> None:
    found = metered([100.0, 103.0, 200.0, None], monkeypatch, ticking)
    assert found.reason == "the energy counter could not be read to the end"


def test_a_counter_that_wraps_around_is_read_within_a_long_window(
    monkeypatch: pytest.MonkeyPatch, ticking: list[float], tmp_path: Path
) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "10000000"), ("energy_uj", "0")):
        (zone / name).write_text(text)
    monkeypatch.setattr(measuring, "energy_counter", lambda device: energy_counter(device, tmp_path))
    monkeypatch.setattr(measuring, "_ANNOUNCE_EVERY_SECONDS", 0.0)
    ticking += [0.0, 1.0, 2.0, 3.0, 4.0]
    meter = StepMeter(CPU, 0, lambda progress: None, 4)
    meter.open_window()
    for microjoules in (6_000_000, 2_000_000, 8_000_000, 4_000_000):
        (zone / "energy_uj").write_text(str(microjoules))
        meter.step([batch(8, 60, 100)], 1, lambda: 0.5)
    meter.close_window()
    found = by_name(meter.measurements(np.full(8, 10), UNKNOWN_SHAPE, DEVICE, "fp32"))
    assert found["energy_joules"].values == (24.0,)


def test_progress_tells_step_epoch_and_loss_but_no_loss_that_is_not_finite() -> None:
    said: list[Progress] = []
    meter = StepMeter(CPU, 0, said.append, 7)
    meter.open_window()
    meter.step([batch(8, 50, 50)], 2, lambda: float("nan"))
    assert [(p.phase, p.step, p.steps, p.epoch, p.loss) for p in said] == [("train", 1, 7, 2, None)]


def test_the_time_of_a_phase_leaves_out_the_one_inside_it() -> None:
    ticks = itertools.count(0.0, 1.0)
    said: list[Progress] = []
    clock = PhaseClock(said.append, now=lambda: next(ticks))
    with clock.phase("train"), clock.phase("evaluate"):
        pass
    with clock.phase("evaluate"):
        pass
    assert clock.seconds == {"train": 2.0, "evaluate": 2.0}
    assert [progress.phase for progress in said] == ["train", "evaluate", "evaluate"]
    found = by_name(clock.measurements())
    assert found["evaluate_seconds"].values == (2.0,)
    assert found["compile_seconds"].reason == "this engine has no such phase"
