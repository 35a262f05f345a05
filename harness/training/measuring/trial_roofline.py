"""The roofline of a trial: the machine's measured peaks, and how much of them a training used.

After Williams, Waterman and Patterson 2009 (doi:10.1145/1498765.1498785): a training cannot do more useful
FLOPs a second than the matrix products it consists of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import torch

from harness.model.job import Job
from harness.model.measurements import Measurement, measured, unmeasured
from harness.training.checkpoints import LoadedModel
from harness.training.devices import release_cached
from harness.training.measuring.flops import EncoderShape
from harness.training.measuring.peak_rates import Bench, copy_peak, products_peak, square_peak
from harness.training.measuring.peaks import kept_peak
from harness.training.tokenizing.tokens import Tokenized

# Batches of nearly as many tokens share a peak: rounded so, cased and uncased vocabularies do.
TOKEN_STEP: Final = 64
# Products of more rows are no faster, and would take long on a slow machine.
MOST_TOKENS: Final = 2048
_SQUARE: Final = 1024
_SQUARE_CUDA: Final = 8192
# Each of two buffers, far beyond the last-level caches of processors, and of GPUs (H100: 50 MiB).
_COPY_BYTES: Final = 64 * 2**20
_COPY_BYTES_CUDA: Final = 256 * 2**20
PEAKS: Final = (
    "copy_peak_bytes_per_second",
    "square_matmul_peak_flops_per_second",
    "matmul_peak_flops_per_second",
)

_PUBLISHED: Final = "published_peak_flops_per_second"
# A raised clock exceeds a data sheet by some percent, not by more.
_BOOST: Final = 1.1

# The work in words, and how to measure it; gives the peak, perhaps one measured before.
Keep = Callable[[str, Callable[[], float]], float]


def find_peaks(
    job: Job, device: torch.device, tokens: Tokenized, loaded: LoadedModel, fingerprint: str
) -> list[Measurement]:
    """The peaks for a trial: those of the last minutes, or measured now.

    None are measured if the suite turns them off, or while other trials run.
    `fingerprint` is the environment's: peaks are kept by it.

    Raises:
        StorageError: The measured peaks cannot be written to the cache.
    """
    if not job.measure.roofline:
        return [unmeasured(name, "the suite has measure.roofline: false") for name in PEAKS]
    if job.trial.world_size > 1:
        return [unmeasured(name, "the peak of several devices together is not measured") for name in PEAKS]
    if job.concurrent > 1 or job.timed is not None:
        return [unmeasured(name, "no peak can be measured while other trials run") for name in PEAKS]
    return measure_peaks(
        Bench(device, job.trial.precision),
        EncoderShape.of(loaded.model.config),
        tokens.mean_length * job.trial.train.per_device_train_batch_size,
        partial(kept_peak, Path(job.cache_dir) / "peaks", fingerprint),
    )


def with_shares(measurements: Sequence[Measurement], peaks: Sequence[Measurement]) -> list[Measurement]:
    """A training's measurements, its useful FLOPs a second, how much of the peak they are, and the peaks.

    A published peak that the device was measured to exceed is another card's: nothing is a share of it.
    """
    measurements = [_doubted(each, measurements, peaks) for each in measurements]
    found = {each.metric: each for each in (*measurements, *peaks)}
    flops, steps = found["model_flops"], found["train_step_seconds"]
    peak = found["matmul_peak_flops_per_second"]
    rate, share = "model_flops_per_second", "matmul_peak_share"
    if flops.reason is not None:
        shares = [unmeasured(rate, flops.reason), unmeasured(share, flops.reason)]
    else:
        per_second = flops.values[0] / sum(steps.values)
        shares = [
            measured(rate, per_second),
            measured(share, per_second / peak.values[0])
            if peak.reason is None
            else unmeasured(share, peak.reason),
        ]
    return [*measurements, *shares, *peaks]


def _doubted(
    each: Measurement, measurements: Sequence[Measurement], peaks: Sequence[Measurement]
) -> Measurement:
    if each.metric != "model_flops_utilization" or each.reason is not None:
        return each
    known = {found.metric: found.values[0] for found in (*measurements, *peaks) if len(found.values) == 1}
    published, square = known[_PUBLISHED], known.get("square_matmul_peak_flops_per_second", 0.0)
    if square <= _BOOST * published:
        return each
    why = f"products ran at {square:.3g} FLOP/s here, above the published peak of {published:.3g}"
    return unmeasured(each.metric, f"{why}; matmul_peak_share is of the measured one")


def measure_peaks(bench: Bench, shape: EncoderShape | None, tokens: float, keep: Keep) -> list[Measurement]:
    """The peaks of this device, each measured only where `keep` does not know it.

    Two seconds at most on two CPU cores. What it allocates is given back, and no random number of the
    trial's is drawn.

    Args:
        bench: the device and the precision.
        shape: of the model; None if its config lacks it.
        tokens: real tokens of a usual batch.
        keep: finds or measures.
    """
    cuda = bench.device.type == "cuda"
    size, copied = (_SQUARE_CUDA, _COPY_BYTES_CUDA) if cuda else (_SQUARE, _COPY_BYTES)
    rounded = min(max(1, round(tokens / TOKEN_STEP)) * TOKEN_STEP, MOST_TOKENS)
    copy, square, products = PEAKS
    found = [
        _measured(copy, keep, "copy", partial(copy_peak, bench.device, copied)),
        _measured(square, keep, f"square {size} {bench.precision}", partial(square_peak, bench, size)),
    ]
    if shape is None:
        why = "the model's config lacks hidden size or intermediate size"
        found.append(unmeasured(products, why))
    else:
        sizes = f"hidden {shape.hidden} intermediate {shape.intermediate} tokens {rounded}"
        measure = partial(products_peak, bench, shape, rounded)
        found.append(_measured(products, keep, f"products {bench.precision} {sizes}", measure))
    release_cached(bench.device)
    return found


def _measured(name: str, keep: Keep, work: str, measure: Callable[[], float]) -> Measurement:
    """Measure a peak; out of memory is a null with a reason, because the trial itself fits."""
    try:
        return measured(name, keep(work, measure))
    except (torch.OutOfMemoryError, MemoryError):
        return unmeasured(name, "there was no memory left to measure it in")
