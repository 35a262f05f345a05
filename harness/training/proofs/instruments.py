"""The instruments of a trial on known amounts of work: rates, memory, energy and the time of a pass.

A clock that advances with the work alone makes every rate a known number, on a busy machine too.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness.model.job import TrialStoppedError
from harness.model.proof import TrainingCheck
from harness.training import ranks
from harness.training.measuring.counters import PeakMemory, energy_counter
from harness.training.measuring.flops import EncoderShape
from harness.training.measuring.peak_rates import Bench, copy_peak, products_peak, square_peak
from harness.training.measuring.probe import MachineProbe
from harness.training.proofs.findings import none_of

_EQUAL: Final = 1e-9
_BLOCK_BYTES: Final = 36 * 2**20
_SLACK_BYTES: Final = 24 * 2**20
_RESIDENT: Final = Path("/proc/self/statm")
# Square and thin, so that no size can be taken for another.
_SHAPE: Final = EncoderShape(layers=2, hidden=16, intermediate=24, labels=2)
_TOKENS: Final = 8
_SQUARE: Final = 32
_COPIED: Final = 2**12


def check_instruments(device: torch.device) -> TrainingCheck:
    """Rates, peak memory and energy of known work; every rank has to ask."""
    return none_of(
        "instruments",
        chain(_rate_problems(device), _memory_problems(), _energy_problems()),
        "rates of products and copies, peak memory and energy are those of known work",
    )


class WorkClock(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch leaves it so
    """A clock that advances by the FLOPs of matrix products and the bytes of copies inside of its context.

    Args:
        speed: FLOPs, or bytes read and written, a second.
    """

    def __init__(self, speed: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it so
        self._speed, self._work = speed, 0.0

    def __call__(self) -> float:
        """Return the seconds that the work so far takes."""
        return self._work / self._speed

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count the call, and make it."""
        name = func.overloadpacket
        if name is torch.ops.aten.mm:
            self._work += 2.0 * args[0].numel() * args[1].shape[1]
        elif name is torch.ops.aten.copy_:
            self._work += 2.0 * args[0].numel() * args[0].element_size()
        return func(*args, **(kwargs or {}))


def _rate_problems(device: torch.device) -> Iterator[str]:
    """Yield each rate that is not the clock's speed."""
    bench = Bench(device, "fp32")
    for what, speed, measure in (
        ("the peak of a layer's products", 1e3, partial(products_peak, bench, _SHAPE, _TOKENS)),
        ("the peak of square products", 1e4, partial(square_peak, bench, _SQUARE)),
        ("the peak of copies", 1e3, partial(copy_peak, device, _COPIED)),
    ):
        with WorkClock(speed) as clock:
            yield from _unequal(what, measure(now=clock), speed)
    speed = 1e8
    with WorkClock(speed) as clock:
        probe = MachineProbe(device, now=clock)
        probe.read()
        probe.read()
    if probe.found is None:
        yield "two readings of the machine's probe are none"
        return
    for reading in (probe.found.before, probe.found.after):
        yield from _unequal("the probe's product", reading.matmul_flops_per_second, speed)
        yield from _unequal("the probe's copy", reading.copy_bytes_per_second, speed)


def _unequal(what: str, given: float, due: float) -> Iterator[str]:
    if abs(given / due - 1) > _EQUAL:
        yield f"{what} ran at {due:g} a second and was measured as {given:g}"


def _memory_problems() -> Iterator[str]:
    """Compare the peak of a process that had a block in memory and, in a pause, a larger one."""
    if not _RESIDENT.exists():
        return
    peak = PeakMemory(torch.device("cpu"))
    with _block(_BLOCK_BYTES):
        due = _resident()
    with peak.paused(), _block(2 * _BLOCK_BYTES):
        pass
    given = peak.measurements()[-1].values[0]
    every = ranks.gather(due)
    low = sum(every) * (1 - 1 / 256)
    high = sum(every) + len(every) * _SLACK_BYTES if _resets() else float("inf")
    if not low <= given <= high:
        yield f"the peak memory is {given:.4g} bytes, due {sum(every):.4g}"


@contextmanager
def _block(size: int) -> Iterator[None]:
    """Hold so many bytes in memory, outside of the heap: that of a worker keeps what is freed."""
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        for start in range(0, size, mmap.PAGESIZE):
            block[start] = 1
        yield


def _resident() -> float:
    """Return the bytes of this process that are in memory now."""
    return float(int(_RESIDENT.read_text().split()[1]) * mmap.PAGESIZE)


def _resets() -> bool:
    """Return whether this system lets a process reset its peak."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _energy_problems() -> Iterator[str]:
    """Compare the energy of two packages, of which one starts again at zero."""
    with tempfile.TemporaryDirectory(prefix="harness-powercap-") as name:
        zones = [Path(name) / f"intel-rapl:{at}" for at in range(2)]
        for zone in zones:
            zone.mkdir()
            (zone / "name").write_text(f"package-{zone.name[-1]}\n")
            (zone / "max_energy_range_uj").write_text("9000000\n")
            (zone / "energy_uj").write_text("8000000\n")
        counter = energy_counter(torch.device("cpu"), Path(name))
        if isinstance(counter, str):
            yield f"the energy of two packages cannot be read: {counter}"
            return
        before = counter()
        for zone, microjoules in zip(zones, (8_500_000, 250_000), strict=True):
            (zone / "energy_uj").write_text(f"{microjoules}\n")
        after = counter()
    if before is None or after is None or abs(after - before - 1.75) > _EQUAL:
        yield f"1.75 J of two packages were measured as {before} to {after}"


Timer = Callable[..., tuple[object, list[float]]]


def check_timer(timer: Timer) -> None:
    """Make sure that the time of passes is that of the work alone, by a clock that each part advances.

    Args:
        timer: `time_passes`.

    Raises:
        TrialStoppedError: `failed`, where a pass has another time.
    """
    clock = [0.0]

    def advance(seconds: float) -> None:
        clock[0] += seconds

    _, found = timer(
        lambda: advance(0.25),
        lambda _progress: advance(16.0),
        lambda: advance(64.0),
        collect=lambda: advance(4.0),
        now=lambda: clock[0],
    )
    if set(found) != {0.25}:
        raise TrialStoppedError(
            "failed",
            f"passes of 0.25 s are timed as {', '.join(f'{each:g}' for each in found) or 'none'} s",
            hint="the timer is at fault, not the tokenizer: report it",
        )
