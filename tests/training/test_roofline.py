from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.model.measurements import Measurement, measured, unmeasured
from harness.model.values import Precision
from harness.training.measuring import trial_roofline
from harness.training.measuring.flops import EncoderShape
from harness.training.measuring.peak_rates import Bench, copy_peak, fastest, products_peak, square_peak
from harness.training.measuring.trial_roofline import PEAKS, measure_peaks, with_shares

pytestmark = pytest.mark.heavy
CPU = torch.device("cpu")
SMALL = EncoderShape(2, 32, 64, 2)


class Slow:
    """Time that passes only while work is done: each call takes what its list says, then its last value."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def work(self, *seconds: float) -> Callable[[], None]:
        left = list(seconds)

        def call() -> None:
            self.time += left.pop(0) if len(left) > 1 else left[0]

        return call


def nothing() -> None:
    """There is nothing to wait for."""


def by_name(measurements: list[Measurement]) -> dict[str, Measurement]:
    return {found.metric: found for found in measurements}


def test_the_fastest_block_counts_and_the_first_call_does_not() -> None:
    slow = Slow()
    # One call that warms up, however fast, then one that a neighbour disturbs.
    call = slow.work(0.001, 0.2, 0.02, 0.03)
    assert fastest([call], nothing, 1.0, slow.now) == [pytest.approx(0.02)]


def test_calls_take_turns_so_that_a_busy_moment_spoils_none() -> None:
    slow = Slow()
    calls = [slow.work(*[0.1] * 3, 0.01), slow.work(*[0.1] * 3, 0.02)]
    assert fastest(calls, nothing, 10.0, slow.now) == [pytest.approx(0.01), pytest.approx(0.02)]


def test_short_calls_are_timed_in_blocks_and_all_ends_when_nothing_gets_faster() -> None:
    slow, calls = Slow(), 0
    work = slow.work(0.0001)

    def call() -> None:
        nonlocal calls
        calls += 1
        work()

    assert fastest([call], nothing, 10.0, slow.now) == [pytest.approx(0.0001)]
    assert slow.time == pytest.approx(0.2, abs=0.01)
    assert calls % 10 == 2


def test_what_never_settles_ends_at_its_limit() -> None:
    slow = Slow()
    call = slow.work(*[2.0**-each for each in range(1, 60)])
    fastest([call], nothing, 0.5, slow.now)
    assert slow.time < 2.0


def test_a_call_that_is_slower_than_all_the_time_there_is_runs_four_times() -> None:
    slow = Slow()
    assert fastest([slow.work(7.0)], nothing, 0.5, slow.now) == [7.0]
    assert slow.time == 4 * 7.0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_peaks_are_rates_of_real_products(precision: Precision) -> None:
    bench = Bench(CPU, precision)
    for peak in (products_peak(bench, SMALL, 64), square_peak(bench, 64), copy_peak(CPU, 2**16)):
        assert 1e3 < peak < 1e15


def test_no_random_number_of_the_trial_is_drawn_and_no_gradient_kept() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    products_peak(Bench(CPU, "fp32"), SMALL, 64)
    square_peak(Bench(CPU, "fp32"), 64)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_kept_is_named_by_all_that_a_peak_depends_on() -> None:
    names: list[str] = []

    def keep(work: str, _measure: Callable[[], float]) -> float:
        names.append(work)
        return 1e9

    bench, shape = Bench(CPU, "bf16"), EncoderShape(6, 384, 1536, 2)
    for tokens in (426.0, 430.0, 3.0, 9e9):
        measure_peaks(bench, shape, tokens, keep)
    assert names[:3] == ["copy", "square 1024 bf16", "products bf16 hidden 384 intermediate 1536 tokens 448"]
    assert names[:3] == names[3:6]
    assert names[8] == "products bf16 hidden 384 intermediate 1536 tokens 64"
    assert names[11] == "products bf16 hidden 384 intermediate 1536 tokens 2048"


def test_a_model_that_does_not_say_its_shape_has_the_machines_peaks_and_no_own() -> None:
    found = by_name(measure_peaks(Bench(CPU, "fp32"), None, 64, lambda _work, _measure: 1e9))
    assert [found[name].values for name in PEAKS] == [(1e9,), (1e9,), ()]
    assert found[PEAKS[2]].reason == "the model's config lacks hidden size or intermediate size"


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")], ids=repr)
def test_a_device_that_is_full_has_no_peak_and_its_trial_goes_on(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> float:
        raise error

    monkeypatch.setattr(trial_roofline, "copy_peak", full)
    monkeypatch.setattr(trial_roofline, "square_peak", lambda *_: 2e9)
    monkeypatch.setattr(trial_roofline, "products_peak", lambda *_: 1e9)
    found = by_name(measure_peaks(Bench(CPU, "fp32"), SMALL, 64, lambda _work, measure: measure()))
    assert found[PEAKS[0]].reason == "there was no memory left to measure it in"
    assert found[PEAKS[1]].values == (2e9,)


def test_the_share_is_useful_flops_over_time_over_the_peak() -> None:
    peaks = [measured(name, 4e9) for name in PEAKS]
    done = [measured("model_flops", 6e9), measured("train_step_seconds", 1.0, 2.0)]
    found = by_name(with_shares(done, peaks))
    assert found["model_flops_per_second"].values == (2e9,)
    assert found["matmul_peak_share"].values == (0.5,)
    assert list(found)[:2] == ["model_flops", "train_step_seconds"]
    assert set(PEAKS) < set(found)


def test_what_lacks_for_a_share_is_said() -> None:
    steps = measured("train_step_seconds", 1.0)
    peaks = [measured(name, 4e9) for name in PEAKS]
    none = by_name(with_shares([unmeasured("model_flops", "no shape"), steps], peaks))
    assert none["matmul_peak_share"].reason == none["model_flops_per_second"].reason == "no shape"
    off = [unmeasured(name, "off") for name in PEAKS]
    found = by_name(with_shares([measured("model_flops", 2.0), steps], off))
    assert (found["matmul_peak_share"].reason, found["model_flops_per_second"].median) == ("off", 2.0)
    assert math.isfinite(found["model_flops_per_second"].values[0])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not say")
def test_the_memory_is_given_back_even_where_the_c_library_keeps_all_it_had() -> None:
    """As in workers, whose C library asks the system for nothing but a growing heap."""
    script = (
        "import mmap, torch\n"
        "from pathlib import Path\n"
        "from harness.training.measuring.peak_rates import copy_peak\n"
        "resident = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * mmap.PAGESIZE\n"
        "copy_peak(torch.device('cpu'), 2**16)\n"
        "before = resident()\n"
        "copy_peak(torch.device('cpu'), 2**26)\n"
        "print(resident() - before)\n"
    )
    heap = os.environ | {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=heap, capture_output=True, text=True, check=True, timeout=120
    )
    assert int(done.stdout) < 2**24


def test_no_share_is_taken_of_a_published_peak_that_was_measured_to_be_exceeded() -> None:
    trained = [
        measured("model_flops", 8e12),
        measured("train_step_seconds", 1.0, 1.0),
        measured("published_peak_flops_per_second", 5e12),
        measured("model_flops_utilization", 0.8),
    ]

    def use(square: float) -> Measurement:
        peaks = [
            measured("square_matmul_peak_flops_per_second", square),
            measured("matmul_peak_flops_per_second", 5e12),
        ]
        found = {each.metric: each for each in with_shares(trained, peaks)}
        assert found["matmul_peak_share"].values == (0.8,)
        return found["model_flops_utilization"]

    assert use(5.2e12).values == (0.8,)
    assert "above the published peak of 5e+12" in str(use(9e12).reason)
