"""The machine probe: fixed work, one reading on each side of the timed steps, neither in the peak memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from harness.model.observations import DeviceState, Probe
from harness.model.values import Engine, Tokenization
from harness.training.devices import read_state
from harness.training.measuring.counters import PeakMemory
from harness.training.measuring.probe import MachineProbe
from harness.training.measuring.steps import StepMeter
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy

CPU = torch.device("cpu")


def slow_clock(step_s: float) -> Iterator[float]:
    """A clock that advances by `step_s` at every look."""
    return (place * step_s for place in count())


def test_a_reading_is_the_throughput_of_each_work() -> None:
    ticks = slow_clock(0.01)
    probe = MachineProbe(CPU, now=lambda: next(ticks))
    probe.read()
    one = probe.found
    probe.read()
    both = probe.found
    assert one is None
    assert both is not None
    assert both.before.matmul_flops_per_second == pytest.approx(2 * 512**3 / 0.01)
    assert both.after.copy_bytes_per_second == pytest.approx(2 * 16 * 2**20 / 0.01)
    assert both.work == "fp32 product of 512 x 512, copy of 16 MiB"


def test_a_machine_that_slows_down_shows_in_the_second_reading() -> None:
    seconds = iter([0.01] * 40 + [0.02] * 40)
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += next(seconds)
        return now

    probe = MachineProbe(CPU, now=clock)
    probe.read()
    seconds = iter([0.02] * 40)
    probe.read()
    assert probe.found is not None
    ratio = probe.found.after.matmul_flops_per_second / probe.found.before.matmul_flops_per_second
    assert ratio == pytest.approx(0.5)


def test_a_reading_draws_no_random_number_and_keeps_the_threads() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    MachineProbe(CPU, threads=1).read()
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_a_reading_without_memory_is_left_out() -> None:
    @contextmanager
    def full() -> Iterator[None]:
        bytearray(2**60)
        yield

    probe = MachineProbe(CPU, aside=full)
    probe.read()
    probe.read()
    assert probe.found is None


def test_the_meter_calls_its_edge_before_the_first_window_and_after_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter(range(100))
    monkeypatch.setattr("harness.training.measuring.steps.time.perf_counter", lambda: float(next(now)))
    calls: list[int] = []
    meter = StepMeter(CPU, 0, quietly, steps=4, at_edge=lambda: calls.append(len(meter.step_seconds)))
    for _ in range(2):
        meter.open_window()
        for _ in range(2):
            meter.step([], 1, lambda: 0.5)
        meter.close_window()
    assert calls == [0, 4]


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_a_training_stores_a_probe_and_one_beside_others_or_a_proof_does_not(
    engine: Engine, make_job: MakeJob
) -> None:
    job = make_job(engine=engine, train={"max_steps": 6})
    probe = run_trial(job, quietly).probe
    assert isinstance(probe, Probe)
    assert probe.work == "fp32 product of 512 x 512, copy of 16 MiB"
    assert run_trial(job.model_copy(update={"concurrent": 2}), quietly).probe is None
    assert run_trial(job.model_copy(update={"purpose": "prove"}), quietly).probe is None


def test_tokenising_alone_stores_a_probe_of_one_thread(make_job: MakeJob) -> None:
    probe = run_trial(make_job(tokenization=Tokenization(method="whole")), quietly).probe
    assert probe is not None
    assert probe.work.endswith("1 thread")


class FakeNvml(ModuleType):
    """NVML of a device that gives no violation counters for temperature and whose clocks power limits."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    class NVMLError(Exception):
        """As NVML raises for what a device does not have."""

    def __init__(self, *pids: int) -> None:
        super().__init__("pynvml")
        self.pids = pids

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        assert uuid == "GPU-1234"
        return "handle"

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        assert handle == "handle"
        return {self.NVML_CLOCK_SM: 1980, self.NVML_CLOCK_MEM: 2619}[kind]

    def nvmlDeviceGetTemperature(self, _handle: str, _sensor: int) -> int:  # noqa: N802
        return 41

    def nvmlDeviceGetPowerUsage(self, _handle: str) -> int:  # noqa: N802
        return 312_500

    def nvmlDeviceGetCurrentClocksEventReasons(self, _handle: str) -> int:  # noqa: N802
        return 0x1 | 0x4 | 0x40

    def nvmlDeviceGetViolationStatus(self, _handle: str, policy: int) -> SimpleNamespace:  # noqa: N802
        if policy:
            raise self.NVMLError
        return SimpleNamespace(violationTime=2_500_000_000)

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: str) -> list[SimpleNamespace]:  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in self.pids]


@pytest.mark.parametrize(("pids", "others"), [((), 0), ((7, 8), 2)])
def test_the_state_of_a_device_has_what_nvml_gives(
    pids: tuple[int, ...], others: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(uuid="1234"))
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(os.getpid(), *pids))
    assert read_state(torch.device("cuda", 0)) == DeviceState(
        clock_mhz=1980,
        memory_clock_mhz=2619,
        temperature_c=41,
        power_w=312.5,
        power_limit_w=None,
        slowdowns=("sw_power_cap", "hw_thermal_slowdown"),
        limited_s={"power": 2.5},
        other_processes=others,
    )
    # Inside of a container NVML lists processes by other numbers, or none.
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(*pids))
    state = read_state(torch.device("cuda", 0))
    assert state is not None
    assert state.other_processes is None


def test_without_nvml_and_on_other_devices_no_state_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_state(CPU) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_state(torch.device("cuda", 0)) is None


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux resets its peak")
def test_what_is_allocated_aside_is_no_part_of_the_peak() -> None:
    memory = PeakMemory(CPU)

    def peak() -> float:
        (host,) = [each for each in memory.measurements() if each.metric == "peak_memory_host_bytes"]
        return host.values[0]

    before = peak()
    with memory.paused():
        torch.ones(2**25).sum()
    assert peak() < before + 2**25
    torch.ones(2**25).sum()
    assert peak() >= before + 2**26
