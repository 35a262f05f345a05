"""Detect processes that the kernel killed because memory ran out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil


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
