"""The fastest that a device does one kind of work: products at a model's shapes, square ones, copies."""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch

from harness.model.values import Precision
from harness.training.devices import synchronize
from harness.training.measuring.flops import EncoderShape

DTYPES: Final[dict[Precision, torch.dtype]] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# Times come from blocks of calls at least so long, so short that one fits between two turns of a neighbour's.
_BLOCK_SECONDS: Final = 0.001
# It goes on until the times have settled: no faster by a percent for so long, or until the limit.
_PATIENCE_SECONDS: Final = 0.2
_SETTLED: Final = 0.99
_FEWEST_ROUNDS: Final = 2
_PRODUCTS_SECONDS: Final = 1.2
_SQUARE_SECONDS: Final = 0.6
_COPY_SECONDS: Final = 0.4

_ALIGNMENT: Final = 512
_MOST_PARTS: Final = 12

Call = Callable[[], object]
Clock = Callable[[], float]
"""Monotonic, in seconds."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where peaks are measured: a device, and the precision of the operands."""

    device: torch.device
    precision: Precision


def products_peak(bench: Bench, shape: EncoderShape, tokens: int, now: Clock = time.perf_counter) -> float:
    """FLOP/s of the linear layers of one encoder layer, forward and backward, each product at its fastest.

    The products are `torch.mm` as `nn.Linear` calls it: output, gradient of the input and gradient of the
    weight for four projections (hidden x hidden) and both halves of the feed-forward part. The rate is all
    their FLOPs over all their times. Attention's own products, some percent of the FLOPs at the lengths of
    sentences, are left out. On CUDA, products too small to hide their launch are bound by it here.
    """
    hidden, wide, dtype = shape.hidden, shape.intermediate, DTYPES[bench.precision]
    numbers = 3 * tokens * (hidden + wide) + 2 * hidden * (hidden + 2 * wide)
    arena = Arena(bench.device, numbers * dtype.itemsize)
    inputs, gradients = (
        {size: arena.filled((tokens, size), dtype) for size in (hidden, wide)} for _ in range(2)
    )
    results = {size: arena.empty((tokens, size), dtype) for size in (hidden, wide)}
    products: list[Call] = []
    flops: list[float] = []
    counts: list[int] = []
    for before, after, count in ((hidden, hidden, 4), (hidden, wide, 1), (wide, hidden, 1)):
        weight, for_weight = arena.filled((after, before), dtype), arena.empty((after, before), dtype)
        products += [
            partial(torch.mm, inputs[before], weight.t(), out=results[after]),
            partial(torch.mm, gradients[after], weight, out=results[before]),
            partial(torch.mm, gradients[after].t(), inputs[before], out=for_weight),
        ]
        flops += [count * 2.0 * tokens * before * after] * 3
        counts += [count] * 3
    seconds = fastest(products, partial(synchronize, bench.device), _PRODUCTS_SECONDS, now)
    return sum(flops) / sum(count * each for count, each in zip(counts, seconds, strict=True))


def square_peak(bench: Bench, size: int, now: Clock = time.perf_counter) -> float:
    """Measure the FLOP/s of a product of two square matrices, the shape that suits a machine best."""
    dtype = DTYPES[bench.precision]
    arena = Arena(bench.device, 3 * size * size * dtype.itemsize)
    left, right = (arena.filled((size, size), dtype) for _ in range(2))
    product = partial(torch.mm, left, right, out=arena.empty((size, size), dtype))
    (seconds,) = fastest([product], partial(synchronize, bench.device), _SQUARE_SECONDS, now)
    return 2.0 * size**3 / seconds


def copy_peak(device: torch.device, size: int, now: Clock = time.perf_counter) -> float:
    """Bytes a second, read and written counted both, of copying `size` bytes of the device's memory."""
    arena = Arena(device, 2 * size)
    source, target = (arena.empty((size // 4,), torch.float32).zero_() for _ in range(2))
    copy = partial(target.copy_, source)
    (seconds,) = fastest([copy], partial(synchronize, device), _COPY_SECONDS, now)
    return 2.0 * size / seconds


def fastest(
    calls: Sequence[Call],
    wait: Callable[[], None],
    limit: float,
    now: Clock = time.perf_counter,
) -> list[float]:
    """Seconds of each call in its fastest block of calls.

    The calls take turns, so that a busy moment of the machine spoils none of them for good.

    Args:
        calls: each gives work to the device.
        wait: waits until it is done.
        limit: seconds after which no further round is begun, if the times have not settled before.
        now: a monotonic clock in seconds.
    """

    def block(call: Call, times: int) -> float:
        wait()
        since = now()
        for _ in range(times):
            call()
        wait()
        return (now() - since) / times

    began = now()
    for call in calls:
        block(call, 1)
    best = [block(call, 1) for call in calls]
    times = [max(1, math.ceil(_BLOCK_SECONDS / max(each, 1e-9))) for each in best]
    settled, since, rounds = sum(best), now(), 0
    while rounds < _FEWEST_ROUNDS or (now() - began < limit and now() - since < _PATIENCE_SECONDS):
        best = [min(each, block(call, n)) for each, call, n in zip(best, calls, times, strict=True)]
        rounds += 1
        if sum(best) < settled * _SETTLED:
            settled, since = sum(best), now()
    return best


class Arena:
    """One buffer that all operands are cut from.

    On the host it comes from the system itself and goes back to it: the C library may keep what it was given
    back, and a trial that measured would go on with another heap than one that did not. Its random numbers
    are its own for the same reason.
    """

    def __init__(self, device: torch.device, size: int) -> None:
        size += _MOST_PARTS * _ALIGNMENT
        if device.type == "cpu":
            self._buffer = torch.frombuffer(mmap.mmap(-1, size), dtype=torch.uint8)
        else:
            self._buffer = torch.empty(size, dtype=torch.uint8, device=device)
        self._taken = 0
        self._random = torch.Generator(device).manual_seed(0)

    def filled(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The next part of the buffer as a tensor of random numbers."""
        return self.empty(shape, dtype).normal_(generator=self._random)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The next part of the buffer as a tensor."""
        size = math.prod(shape) * dtype.itemsize
        part = self._buffer[self._taken : self._taken + size]
        self._taken += -(-size // _ALIGNMENT) * _ALIGNMENT
        return part.view(dtype).view(shape)
