"""The machine probe: how fast a fixed matrix product and a fixed copy run right now on a trial's device.

Two readings around a trial's timed steps tell whether the machine changed: another tenant, a lower clock, a
throttled device. The work never depends on the trial, so that readings of different trials, and of different
reports of one machine, can be compared. A reading is the throughput of many short calls, interruptions
included, as a trial meets them: on two cores at a load of 7, its logarithm varies half as much as that of the
median call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Final

import torch

from harness.model.observations import Probe, ProbeReading
from harness.training.devices import read_state, release_cached, synchronize
from harness.training.measuring.peak_rates import Arena

# A call takes 1 to 20 ms on two CPU cores, and as long on a small GPU.
_SQUARE: Final = 512
_SQUARE_GPU: Final = 2048
_COPY_BYTES: Final = 16 * 2**20
_COPY_BYTES_GPU: Final = 64 * 2**20
# Of each of the two, the warm-up call left out. A call that has begun is completed.
_READING_SECONDS: Final = 0.04
_FLOAT_BYTES: Final = 4


class MachineProbe:
    """Takes one reading before the timed steps of a trial and one after.

    Args:
        device: where the trial computes.
        threads: CPU threads of a reading; None keeps those of the process.
        aside: context that keeps what a reading allocates out of the trial's peak memory.
        now: monotonic clock in seconds.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        threads: int | None = None,
        aside: Callable[[], AbstractContextManager[None]] = nullcontext,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._device, self._threads, self._aside, self._now = device, threads, aside, now
        self._readings: list[ProbeReading] = []

    def read(self) -> None:
        """Take a reading, or none where its memory cannot be had: a trial must not fail by its probe."""
        try:
            with self._aside(), _threads(self._threads):
                self._readings.append(self._reading())
                release_cached(self._device)
        except (torch.OutOfMemoryError, MemoryError):
            return

    @property
    def found(self) -> Probe | None:
        """Both readings; None unless exactly two were taken."""
        if len(self._readings) != 2:
            return None
        before, after = self._readings
        return Probe(work=self._work(), before=before, after=after)

    def _work(self) -> str:
        size, copied = self._sizes()
        threads = "" if self._threads is None else f", {self._threads} thread"
        return f"fp32 product of {size} x {size}, copy of {copied // 2**20} MiB{threads}"

    def _sizes(self) -> tuple[int, int]:
        cpu = self._device.type == "cpu"
        return (_SQUARE, _COPY_BYTES) if cpu else (_SQUARE_GPU, _COPY_BYTES_GPU)

    def _reading(self) -> ProbeReading:
        size, copied = self._sizes()
        arena = Arena(self._device, 3 * size * size * _FLOAT_BYTES + 2 * copied)
        left, right = (arena.filled((size, size), torch.float32) for _ in range(2))
        product = arena.empty((size, size), torch.float32)
        source, target = (arena.empty((copied // _FLOAT_BYTES,), torch.float32).zero_() for _ in range(2))
        product_s = self._seconds(partial(torch.mm, left, right, out=product))
        # The clocks are still those of a busy device.
        state = read_state(self._device)
        copy_s = self._seconds(partial(target.copy_, source))
        return ProbeReading(
            matmul_flops_per_second=2.0 * size**3 / product_s,
            copy_bytes_per_second=2.0 * copied / copy_s,
            load_average=_load_average(),
            device=state,
        )

    def _seconds(self, call: Callable[[], object]) -> float:
        """Mean seconds of a call over the time of a reading, after one call to warm up."""
        call()
        synchronize(self._device)
        calls, began = 0, self._now()
        now = began
        while not calls or now - began < _READING_SECONDS:
            call()
            synchronize(self._device)
            calls, now = calls + 1, self._now()
        return (now - began) / calls


def _load_average() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)
