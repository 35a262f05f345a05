"""How much memory a piece of work adds at its peak, in this process and in those it starts."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import pyarrow as pa

from harness.model.measurements import Measurement, measured, unmeasured

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
