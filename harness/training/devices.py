"""The device a trial computes on: found or refused, never swapped; and what it is."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import torch

from harness.machine.facts import available_devices, describe_cpu, installed_torch
from harness.model.environment import Device
from harness.model.job import TrialStoppedError
from harness.model.observations import DeviceState
from harness.model.values import Precision

_DTYPES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
# The major compute capability of the first devices with TensorFloat-32.
_AMPERE: Final = 8
# NVML's nvmlClocksEventReason bits, without an idle device (1) and clocks that a user set (2, 0x100).
_SLOWDOWNS: Final = {
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
}
# NVML's nvmlPerfPolicyType.
_LIMITS: Final = {0: "power", 1: "temperature"}


def open_device(name: str, precision: Precision) -> torch.device:
    """The torch device of that name, ready for that precision.

    Raises:
        TrialStoppedError: `unavailable`, naming the devices of this machine, for another device or precision.
    """
    if name not in (present := available_devices()):
        raise TrialStoppedError(
            "unavailable",
            f"{name} is not here: torch {torch.__version__} can use {', '.join(present)} "
            f"and {installed_torch()}",
            hint="run on a machine that has it, or ask for device: auto",
        )
    device = _only(torch.device(name))
    if precision == "fp16" and device.type != "cuda":
        raise TrialStoppedError(
            "unavailable", f"fp16 trains on CUDA, not on {name}", hint="use precision: bf16"
        )
    if device.type == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise TrialStoppedError("unavailable", f"{name} has no bf16", hint="use precision: fp16")
    if precision == "tf32" and (reason := _no_tf32(device, name)):
        raise TrialStoppedError("unavailable", reason, hint="use precision: fp32 or bf16")
    use_products(precision)
    return device


def _no_tf32(device: torch.device, name: str) -> str | None:
    """Return why a device has no TensorFloat-32, or None."""
    if device.type != "cuda":
        return f"tf32 is a format of CUDA devices, and {name} is none"
    major, minor = torch.cuda.get_device_capability(device)
    if major >= _AMPERE:
        return None
    return (
        f"{name} has no tf32: its compute capability is {major}.{minor}, and tf32 needs {_AMPERE}.0 (Ampere)"
    )


def use_products(precision: Precision) -> None:
    """Let products of fp32 operands use TensorFloat-32 with `tf32`, and fp32 with any other precision.

    So do convolutions, which some encoders have: torch lets them use TensorFloat-32 unless told otherwise.
    """
    # fp32 means fp32: no TensorFloat-32, on any device.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if precision == "tf32":
        # Not by `fp32_precision`, beside which torch refuses to tell its older setting: Inductor's search for
        # the fastest kernel asks for it.
        torch.backends.cuda.matmul.allow_tf32 = True


def precision_of_products() -> tuple[str, str]:
    """Return the formats in which CUDA and the CPU multiply fp32 operands: `ieee`, `tf32` or `bf16`."""
    on_cpu: str = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined] # torch's types lack it
    return torch.backends.cuda.matmul.fp32_precision, on_cpu


def _only(device: torch.device) -> torch.device:
    """The device with no other of its kind in sight: Trainer would spread a batch over all it sees."""
    if device.type != "cuda":
        return device
    index = device.index or 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # The driver reads this when it is first used, which in this process is later.
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[index] if visible else str(index)
    return torch.device("cuda", 0)


def describe_device(device: torch.device) -> Device:
    """Describe the device for the report."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Device(
            kind="cuda",
            index=device.index,
            name=properties.name,
            memory_bytes=properties.total_memory,
            driver=read_nvml(lambda nvml, _handle: nvml.nvmlSystemGetDriverVersion(), device),
            compute_capability=f"{properties.major}.{properties.minor}",
            clock_mhz=read_nvml(lambda nvml, handle: float(nvml.nvmlDeviceGetClockInfo(handle, 1)), device),
        )
    if device.type == "mps":
        return Device(kind="mps", name=describe_cpu().model, memory_bytes=torch.mps.recommended_max_memory())
    return Device(kind="cpu", name=describe_cpu().model, clock_mhz=_cpu_clock_mhz())


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def release_cached(device: torch.device) -> None:
    """Give the memory that torch caches for the device, and no tensor uses, back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def autocast(
    device: torch.device, precision: Precision, *, cache: bool = True
) -> AbstractContextManager[None]:
    """The context in which a forward pass runs at that precision; fp32 and tf32 need none.

    CUDA-graph capture needs it without the cache of cast weights: a graph would replay the cached ones.
    """
    if precision not in _DTYPES:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision], cache_enabled=cache)


def read_nvml(read: Callable[[Any, Any], Any], device: torch.device) -> Any:
    """Return NVML's value, or None without its package or the value."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        return read(nvml, handle)
    except nvml.NVMLError:
        return None


def read_state(device: torch.device) -> DeviceState | None:
    """Return the state of an NVIDIA device now; None for other devices, and without the extra `nvidia`."""
    if device.type != "cuda":
        return None
    found: DeviceState | None = read_nvml(_state, device)
    return found


def _state(nvml: Any, handle: Any) -> DeviceState:
    def given(name: str, *args: Any) -> Any:
        """NVML's value, or None where this device or driver has none."""
        try:
            return getattr(nvml, name)(handle, *args)
        except (nvml.NVMLError, AttributeError):
            return None

    def watts(name: str) -> float | None:
        milliwatts = given(name)
        return None if milliwatts is None else milliwatts / 1e3

    reasons = given("nvmlDeviceGetCurrentClocksEventReasons") or 0
    limited = {name: given("nvmlDeviceGetViolationStatus", policy) for policy, name in _LIMITS.items()}
    processes = given("nvmlDeviceGetComputeRunningProcesses")
    listed = None if processes is None else {process.pid for process in processes}
    return DeviceState(
        clock_mhz=given("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        memory_clock_mhz=given("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        temperature_c=given("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        power_w=watts("nvmlDeviceGetPowerUsage"),
        power_limit_w=watts("nvmlDeviceGetEnforcedPowerLimit"),
        slowdowns=tuple(name for bit, name in _SLOWDOWNS.items() if reasons & bit),
        # NVML counts nanoseconds.
        limited_s={
            name: status.violationTime / 1e9 for name, status in limited.items() if status is not None
        },
        other_processes=len(listed) - 1 if listed is not None and os.getpid() in listed else None,
    )


def _cpu_clock_mhz() -> float | None:
    clock = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    try:
        return int(clock.read_text()) / 1e3
    except OSError:
        return None
