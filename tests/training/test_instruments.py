"""The check of instruments passes here, and sees what measures another amount of work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.model.job import TrialStoppedError
from harness.model.proof import TrainingCheck
from harness.running.workers.environ import worker_environment
from harness.training.measuring import counters, peak_rates, probe
from harness.training.measuring.counters import PeakMemory, RaplCounter
from harness.training.proofs import instruments
from harness.training.proofs.instruments import WorkClock, check_instruments, check_timer
from harness.training.tokenizing.measure import time_passes

pytestmark = pytest.mark.heavy

CPU = torch.device("cpu")


def check() -> TrainingCheck:
    return check_instruments(CPU)


def test_instruments_measure_known_work() -> None:
    found = check()
    assert found.passed, found.found


def test_known_memory_is_that_of_a_worker_too_whose_heap_keeps_what_is_freed(tmp_path: Path) -> None:
    program = (
        "import torch; from harness.training.proofs.instruments import check_instruments; "
        "print(check_instruments(torch.device('cpu')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=worker_environment(os.environ, threads=1, run_folder=tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "passed=True" in done.stdout, done.stdout


def test_a_clock_of_work_counts_products_and_copies_alone() -> None:
    with WorkClock(speed=4.0) as clock:
        product = torch.mm(torch.ones(2, 3), torch.ones(3, 5))
        assert clock() == 2 * 2 * 3 * 5 / 4
        product.add_(1.0)
        torch.empty(2, 5).copy_(product)
        assert clock() == (60 + 2 * 10 * 4) / 4


def resident(kind: str, unit: int, process: str = "self") -> Callable[[], int]:
    def read() -> int:
        status = Path(f"/proc/{process}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith(kind)).split()[1]) * unit

    return read


def probe_of(product: float, copy: float) -> Callable[[Any], Any]:
    reading = probe.MachineProbe._reading

    def read(self: probe.MachineProbe) -> Any:
        found = reading(self)
        return found.model_copy(
            update={
                "matmul_flops_per_second": product * found.matmul_flops_per_second,
                "copy_bytes_per_second": copy * found.copy_bytes_per_second,
            }
        )

    return read


def forgetful(self: PeakMemory) -> Any:
    return counters.peak_memory(self._device)


def of_one_package(self: RaplCounter) -> float:
    now = self._read()
    self._total += now[0] - self._last[0]
    self._last = now
    return self._total / 1e6


def faster(name: str) -> Callable[..., float]:
    right = getattr(peak_rates, name)
    return lambda *args, **options: 1.5 * right(*args, **options)


@pytest.mark.parametrize(
    ("place", "name", "spoilt", "said"),
    [
        (counters, "_peak_resident_bytes", resident("VmRSS", 1024), "the peak memory is"),
        (counters, "_peak_resident_bytes", resident("VmHWM", 1000), "the peak memory is"),
        (counters, "_peak_resident_bytes", resident("VmPeak", 1024), "the peak memory is"),
        (
            counters,
            "_peak_resident_bytes",
            resident("VmHWM", 1024, process=str(os.getppid())),
            "the peak memory is",
        ),
        (PeakMemory, "measurements", forgetful, "the peak memory is"),
        (RaplCounter, "__call__", of_one_package, "1.75 J of two packages were measured as"),
        (probe.MachineProbe, "_reading", probe_of(0.5, 1.0), "the probe's product ran at 1e+08"),
        (probe.MachineProbe, "_reading", probe_of(1.0, 0.5), "the probe's copy ran at 1e+08"),
        (instruments, "copy_peak", faster("copy_peak"), "the peak of copies ran at 1000"),
        (instruments, "square_peak", faster("square_peak"), "the peak of square products ran at 10000"),
        (instruments, "products_peak", faster("products_peak"), "the peak of a layer's products ran at 1000"),
    ],
)
def test_an_instrument_that_measures_another_amount_is_named(
    place: Any, name: str, spoilt: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, spoilt)
    found = check()
    assert not found.passed
    assert said in found.found


def test_passes_are_timed_without_what_lies_between_them() -> None:
    check_timer(time_passes)


def test_a_timer_that_counts_the_collection_of_garbage_is_refused() -> None:
    def timer(work: Any, announce: Any, at_edge: Any, *, collect: Any, now: Any) -> tuple[None, list[float]]:
        begin = now()
        collect()
        work()
        return None, [now() - begin]

    with pytest.raises(TrialStoppedError, match=r"passes of 0\.25 s are timed as 4\.25 s"):
        check_timer(timer)
