"""Samples the memory of a process and all below it: a separate program that needs only Python.

Started as `python -I -S memory_sampler.py PID`, it writes the bytes in use now as a line, then samples until
its standard input ends, takes one last sample, and writes the most it saw. Bytes are proportional set sizes,
so that pages which processes share count once in all, less the pages of files, which can be dropped at any
time. The parent of PID is counted, since it shares pages too.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_EVERY_SECONDS = 0.01


def memory_of(pid: int) -> int:
    """Bytes of the process, its parent, and all below it but this program."""
    parent = int(_stat(pid)[1])
    return sum(map(_bytes, (parent, pid, *_below(pid))))


def _below(pid: int) -> Iterator[int]:
    parents = {int(entry.name): _parent(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit()}
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    yield from found - {pid, os.getpid()}


def _stat(pid: int) -> list[str]:
    # The name, in parentheses, may contain anything; numbers follow it.
    return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()


def _parent(pid: int) -> int | None:
    try:
        return int(_stat(pid)[1])
    except (OSError, IndexError):
        return None


def _bytes(pid: int) -> int:
    """Return the memory of a process that no file backs; 0 if it has ended or cannot be read."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def main(pid: int) -> None:
    """Sample until standard input ends."""
    peak = memory_of(pid)
    if peak == 0:
        sys.exit("this kernel does not tell anonymous memory apart")
    sys.stdout.write(f"{peak}\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], _EVERY_SECONDS)[0]:
        peak = max(peak, memory_of(pid))
    sys.stdout.write(f"{max(peak, memory_of(pid))}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
