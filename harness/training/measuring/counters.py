"""Counters that a device or the system keeps: peak memory, memory that a piece of work adds, and energy."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import pyarrow as pa
import torch

from harness.model.measurements import Measurement, measured, unmeasured
from harness.training import ranks
from harness.training.devices import read_nvml

POWERCAP: Final = Path("/sys/class/powercap")
_PACKAGE_ZONE: Final = re.compile(r"intel-rapl:\d+")


class PeakMemory:
    """Peak memory of a trial on `device` from now on, without what happens inside of `paused`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._earlier: list[list[Measurement]] = []
        reset_peak_memory(device)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude allocations inside the context from the peak, where the system allows a reset."""
        self._earlier.append(peak_memory(self._device))
        try:
            yield
        finally:
            reset_peak_memory(self._device)

    def measurements(self) -> list[Measurement]:
        """The largest peak of each kind so far, in bytes, summed over the ranks, which all have to ask."""
        found = zip(*self._earlier, peak_memory(self._device), strict=True)
        of_ranks = ranks.gather([max(kind, key=lambda peak: tuple(peak.values)) for kind in found])
        return [_sum(kind) for kind in zip(*of_ranks, strict=True)]


def _sum(of_ranks: Sequence[Measurement]) -> Measurement:
    first = of_ranks[0]
    if first.reason is not None:
        return first
    return measured(first.metric, sum(each.values[0] for each in of_ranks))


def reset_peak_memory(device: torch.device) -> None:
    """Reset the count of peak memory, where the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        # Writing 5 sets the peak resident set to the current one (man 5 proc_pid_clear_refs).
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> list[Measurement]:
    """Peak of the device's allocator and of this process's resident set, in bytes."""
    names = ("peak_memory_allocated_bytes", "peak_memory_reserved_bytes")
    host = measured("peak_memory_host_bytes", float(_peak_resident_bytes()))
    if device.type == "cuda":
        stats = torch.cuda.memory_stats(device)
        kinds = ("allocated_bytes.all.peak", "reserved_bytes.all.peak")
        return [*(measured(name, float(stats[kind])) for name, kind in zip(names, kinds, strict=True)), host]
    why = "torch keeps no peak for this device" if device.type == "mps" else "it is the host's memory"
    return [*(unmeasured(name, why) for name in names), host]


def _peak_resident_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# Cumulative joules, of which only differences count; None where the counter cannot be read any more.
EnergyCounter = Callable[[], float | None]


def energy_counter(device: torch.device, powercap: Path = POWERCAP) -> EnergyCounter | str:
    """Return a function that reads the device's energy counter, or the reason why there is none.

    Args:
        device: CUDA devices have NVML's counter, all others the host's packages.
        powercap: the kernel's folder of RAPL zones.
    """
    if device.type == "cuda":
        if _nvidia_joules(device) is None:
            return "the driver's energy counter needs the extra `nvidia` and a Volta or newer"
        return partial(_nvidia_joules, device)
    packages = _packages(powercap)
    if not packages:
        return "no energy counter that this process may read"
    try:
        return RaplCounter(packages)
    except (OSError, ValueError):
        return "no energy counter of every processor package that this process may read"


class RaplCounter:
    """The energy of several RAPL packages together, in joules since the first reading.

    Each package counts microjoules up to `max_energy_range_uj` and starts again at 0, which takes minutes to
    hours: read it more often than that.
    """

    def __init__(self, packages: Sequence[Path]) -> None:
        self._packages = packages
        self._ranges = [_microjoules(package / "max_energy_range_uj") for package in packages]
        self._last = self._read()
        self._total = 0

    def __call__(self) -> float | None:
        """Return the joules since the first reading; None where a package cannot be read any more."""
        try:
            now = self._read()
        except (OSError, ValueError):
            return None
        for before, after, most in zip(self._last, now, self._ranges, strict=True):
            self._total += after - before if after >= before else most - before + after
        self._last = now
        return self._total / 1e6

    def _read(self) -> list[int]:
        return [_microjoules(package / "energy_uj") for package in self._packages]


def _packages(powercap: Path) -> list[Path]:
    """Return the zones of whole processor packages.

    `intel-rapl:0:0` and below are parts of a package (core, uncore, dram), `psys` is the whole platform and
    includes the packages, `intel-rapl-mmio:0` is a package a second time.
    """
    zones = (zone for zone in powercap.glob("intel-rapl:*") if _PACKAGE_ZONE.fullmatch(zone.name))
    return sorted(zone for zone in zones if _zone_name(zone).startswith("package"))


def _zone_name(zone: Path) -> str:
    try:
        return (zone / "name").read_text().strip()
    except OSError:
        return ""


def _microjoules(file: Path) -> int:
    return int(file.read_text())


def _nvidia_joules(device: torch.device) -> float | None:
    """Energy since the driver was loaded; NVML counts millijoules."""
    millijoules = read_nvml(lambda nvml, handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle), device)
    return None if millijoules is None else millijoules / 1e3


_SAMPLER: Final = Path(__file__).with_name("memory_sampler.py")
_SOURCE: Final = Path("/proc/self/smaps_rollup")

Result = TypeVar("Result")


def with_added_memory(work: Callable[[], Result]) -> tuple[Result, Measurement]:
    """Do the work, and measure the most memory in use meanwhile less the memory in use before, in bytes.

    Another process takes the samples, so that no thread of this one's can be in the way of a fork. What the
    work returns is still held when the last one is taken. What Python's own allocator keeps for later is in
    use before: a few MiB of the work may find room there.
    """
    if not _SOURCE.exists():
        return work(), unmeasured("tokenize_memory_bytes", "only Linux tells what processes share")
    _give_back()
    with subprocess.Popen(  # noqa: S603 - this program, with nothing from outside
        [sys.executable, "-I", "-S", _SAMPLER, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as sampler:
        assert sampler.stdin is not None
        assert sampler.stdout is not None
        before = sampler.stdout.readline()
        result = work()
        sampler.stdin.close()
        peak = sampler.stdout.read()
    if sampler.returncode != 0:
        return result, unmeasured("tokenize_memory_bytes", f"the sampler ended with {sampler.returncode}")
    return result, measured("tokenize_memory_bytes", float(int(peak) - int(before)))


def _give_back() -> None:
    """Return free memory to the system: work that fills it again would seem to need nothing."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    # Where the C library is not GNU's there is nothing to call.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
