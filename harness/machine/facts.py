"""Describe the machine of a run: versions, processor, devices, load and memory, by an allow-list.

Nothing here imports torch, so that planning and comparing can use it too. No host name, user name, path
or variable outside the list is ever read into a report.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import psutil

from harness.model.environment import Cpu, Device, Environment, Git, Torch
from harness.programs import run_program

PACKAGES: Final = (
    "accelerate",
    "datasets",
    "evaluate",
    "harness",
    "huggingface-hub",
    "numpy",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
)
# Variables with the paths of libraries that are loaded before all others, such as another allocator.
_PRELOADED: Final = ("DYLD_INSERT_LIBRARIES", "LD_PRELOAD")
# Variables by which a user changes how fast or how exactly the libraries of a trial compute.
COMPUTING: Final = (
    *_PRELOADED,
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "DNNL_MAX_CPU_ISA",
    "GLIBC_TUNABLES",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MALLOC_CONF",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "ONEDNN_MAX_CPU_ISA",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
VARIABLES: Final = (
    *COMPUTING,
    "CUDA_VISIBLE_DEVICES",
    "GOMP_SPINCOUNT",
    "HF_HUB_OFFLINE",
    "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TOKENIZERS_PARALLELISM",
)
CPU_FLAGS: Final = ("amx_bf16", "amx_tile", "avx2", "avx512_bf16", "avx512f", "bf16", "sve")
_OF_ARM: Final = ("implementer", "variant", "part")

_LIST_CUDA_DEVICES: Final = """
import ctypes
driver = ctypes.CDLL("libcuda.so.1")
count, device, name = ctypes.c_int(0), ctypes.c_int(0), ctypes.create_string_buffer(256)
memory = ctypes.c_size_t(0)
driver.cuInit(0)
driver.cuDeviceGetCount(ctypes.byref(count))
for index in range(count.value):
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    print(memory.value, name.value.decode(errors="replace"))
"""
# A driver that no process keeps loaded starts every GPU of the machine for the first question, and processes
# that ask at once wait for each other.
_DRIVER_SECONDS: Final = 60.0
# More cores than any machine has.
_UNLIMITED: Final = 1e9
_NVIDIA_MODULE: Final = Path("/proc/driver/nvidia/version")


def describe_environment(
    device: Device | None = None, threads: int | None = None, *, git: Git | None = None
) -> Environment:
    """Describe all that is known without importing torch; a worker adds its device and threads."""
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()}",
        packages={name: version for name in PACKAGES if (version := installed_version(name)) is not None},
        variables={name: _without_folders(name) for name in VARIABLES if name in os.environ},
        cpu=describe_cpu(),
        memory_bytes=psutil.virtual_memory().total,
        git=git,
        device=device,
        threads=threads,
        load_average=round(os.getloadavg()[0], 2),
    )


def _without_folders(name: str) -> str:
    """Return the value of a variable; of preloaded libraries the names alone, since folders name the user."""
    value = os.environ[name]
    return " ".join(map(os.path.basename, re.split(r"[:\s]+", value))) if name in _PRELOADED else value


@cache
def installed_version(name: str) -> str | None:
    """Return the version of an installed package, or None if it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def describe_cpu() -> Cpu:
    """Return the processor of this machine, from /proc/cpuinfo on Linux and sysctl on macOS."""
    # platform.processor() would run the first `uname` in PATH.
    model = platform.machine()
    flags: tuple[str, ...] = ()
    if sys.platform == "darwin":
        model = _output("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string") or model
    elif (info := Path("/proc/cpuinfo")).exists():
        model, flags = cpu_of(info.read_text(), model)
    return Cpu(
        model=model or "unknown",
        architecture=platform.machine(),
        physical_cores=physical_cores(),
        logical_cores=usable_cores(),
        flags=flags,
    )


def cpu_of(info: str, architecture: str) -> tuple[str, tuple[str, ...]]:
    """Return the model and the flags of a processor from the text of /proc/cpuinfo.

    Arm has no name there but numbers, without which all of its processors would be one model.
    """
    fields = {
        key.strip(): value.strip()
        for key, colon, value in (line.partition(":") for line in info.splitlines())
        if colon
    }
    numbers = (f"{name} {found}" for name in _OF_ARM if (found := fields.get(f"CPU {name}")))
    model = fields.get("model name") or " ".join([architecture, *numbers])
    present = (fields.get("flags") or fields.get("Features") or "").split()
    return model, tuple(flag for flag in CPU_FLAGS if flag in present)


def physical_cores() -> int:
    """Return how many physical cores this process may use, without hyper-threads.

    Its CPU affinity and the quota of its control group limit them: a container with the time of 16 cores on a
    machine of 200 would be stopped for most of each period, if 200 threads computed in it.
    """
    usable = usable_cores()
    return max(1, min(psutil.cpu_count(logical=False) or usable, usable, int(cpu_quota())))


def cpu_quota(own_cgroup: Path = Path("/proc/self/cgroup"), cgroups: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the cores whose time the control groups of this process allow it; 1e9 without a limit."""
    found = [_UNLIMITED]
    for line in _lines(own_cgroup):
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / "cpu" if controllers else cgroups
        # A limit of any group above counts; in a container the paths may be the host's, and the root its own.
        groups = (root, *(root / part for part in _and_above(path.strip("/"))))
        found += [_quota_of(group, one_file=not controllers) for group in groups]
    return min(found)


def _and_above(path: str) -> Iterator[str]:
    while path:
        yield path
        path = path.rpartition("/")[0]


def _quota_of(group: Path, *, one_file: bool) -> float:
    """Return the cores of one group: of version 2 by `cpu.max`, of version 1 by two files."""
    names = ("cpu.max",) if one_file else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    words = [word for name in names for line in _lines(group / name) for word in line.split()]
    if len(words) != 2 or not all(word.isdigit() for word in words) or not int(words[1]):
        return _UNLIMITED
    return int(words[0]) / int(words[1])


def usable_cores() -> int:
    """Return how many cores, hyper-threads included, this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_torch() -> Torch:
    """Return whether torch is installed and the CUDA version it was built for, without importing it.

    A folder left behind by an uninstallation does not count.
    """
    spec = importlib.util.find_spec("torch")
    try:
        version = (Path(spec.origin).parent / "version.py").read_text() if spec and spec.origin else None
    except OSError:
        version = None
    if version is None:
        return Torch(installed=False)
    found = re.search(r"^cuda\b[^=\n]*=\s*['\"]([^'\"]+)", version, re.MULTILINE)
    return Torch(installed=True, cuda=found[1] if found else None)


@cache
def available_devices() -> tuple[str, ...]:
    """Return the devices that torch can use, best first, ending with `cpu`, without importing torch."""
    if gpus := describe_gpus():
        return (*gpus, "cpu")
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return ("mps", "cpu")
    return ("cpu",)


@cache
def describe_gpus() -> dict[str, Device]:
    """Return the CUDA devices that torch can use, by their names in a suite: `cuda:0`, `cuda:1`, ..."""
    if installed_torch().cuda is None:
        return {}
    driver = nvidia_driver()
    return {
        f"cuda:{index}": Device(kind="cuda", index=index, name=name, memory_bytes=memory, driver=driver)
        for index, (memory, name) in enumerate(_cuda_devices())
    }


def nvidia_driver(module: Path = _NVIDIA_MODULE) -> str | None:
    """Return the version of the NVIDIA driver that the Linux kernel has loaded, or None."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)", module.read_text(errors="replace"))
    except OSError:
        return None
    return found[1] if found else None


def _cuda_devices() -> list[tuple[int, str]]:
    """Ask the driver for the memory and name of the NVIDIA devices that CUDA_VISIBLE_DEVICES allows."""
    # In a separate process that needs only ctypes: an initialized driver cannot be used after a fork.
    listed = _output(sys.executable, "-I", "-c", _LIST_CUDA_DEVICES, within_s=_DRIVER_SECONDS)
    parts = [line.partition(" ") for line in (listed or "").splitlines()]
    return [(int(memory), name) for memory, _, name in parts]


def _output(*command: str, within_s: float = 10.0) -> str | None:
    try:
        done = run_program(command, timeout_s=within_s)
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.code == 0 else None


def oom_kills(
    vmstat: Path = Path("/proc/vmstat"),
    own_cgroup: Path = Path("/proc/self/cgroup"),
    cgroups: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Return how many processes the kernel has killed for memory, on this machine and in this control group.

    Only differences between two calls are meaningful. Return 0 on systems without such a counter (macOS).
    """
    return sum(_counters(vmstat, own_cgroup, cgroups))


def _counters(vmstat: Path, own_cgroup: Path, cgroups: Path) -> Iterator[int]:
    yield _counter(vmstat)
    for line in _lines(own_cgroup):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield _counter(cgroups / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            yield _counter(cgroups / "memory" / path.lstrip("/") / "memory.oom_control")


def _counter(path: Path) -> int:
    for line in _lines(path):
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdigit():
            return int(value)
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def nearly_all_memory(used_bytes: int) -> bool:
    """Return whether a process of that size used at least 90 % of the machine's memory."""
    return used_bytes >= 0.9 * psutil.virtual_memory().total


def available_memory() -> float:
    """Return the bytes of memory that new processes can take on this machine and in its control group."""
    limits = [float(psutil.virtual_memory().available)]
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):
        limits.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return min(limits)
