"""Counters that a device or the system keeps: peak memory and energy."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch

from harness.results.models import Measurement, measured, unmeasured
from harness.training.devices import read_nvml

_RAPL: Final = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def reset_peak_memory(device: torch.device) -> None:
    """Start the count of peak memory anew, where the system allows it."""
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


def energy_counter(device: torch.device) -> Callable[[], float] | str:
    """A function that reads the device's energy counter in joules, or why there is none."""
    if device.type == "cuda":
        if _nvidia_joules(device) is None:
            return "the driver's energy counter needs the extra `nvidia` and a Volta or newer"
        return lambda: _nvidia_joules(device) or 0.0
    try:
        _RAPL.read_text()
    except OSError:
        return "no energy counter that this process may read"
    return lambda: int(_RAPL.read_text()) / 1e6


def _nvidia_joules(device: torch.device) -> float | None:
    """Energy since the driver was loaded; NVML counts millijoules."""
    millijoules = read_nvml(lambda nvml, handle: nvml.nvmlDeviceGetTotalEnergyConsumption(handle), device)
    return None if millijoules is None else millijoules / 1e3
