"""Peaks of a device: those of data sheets, and measured ones, kept for the trials that follow."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from harness.errors import InvalidInputError, StorageError
from harness.model.frozen import Frozen
from harness.model.values import Precision
from harness.store.folders import make_folder
from harness.store.reading import parse_strict, read_bytes
from harness.store.writing import canonical_json, digest_of, to_json, write_atomic

# One that a busy neighbour spoilt must not stay for long, and one seen in a quiet moment is not lost at once.
FRESH: Final = timedelta(minutes=10)
VALID: Final = timedelta(hours=24)

_FORMAT: Final = 1


class Peak(Frozen):
    """The fastest rate seen of one kind of work, in units a second, on the machine with that fingerprint.

    `seen` is when, `measured` when it was last looked for.
    """

    format: Literal[1] = _FORMAT
    fingerprint: str
    work: str
    per_second: Annotated[float, Field(gt=0)]
    seen: AwareDatetime
    measured: AwareDatetime


class SealedPeak(Frozen):
    """The content of a peak's file: the peak and the SHA-256 of its canonical bytes."""

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    peak: Peak


def kept_peak(
    folder: Path,
    fingerprint: str,
    work: str,
    measure: Callable[[], float],
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> float:
    """The peak that a trial of the last minutes left in `folder`, or the faster of that and a new one.

    A rate counts for a day after it was seen. One that cannot be written is a sentence in the trial's log,
    and the next trial measures again.

    Args:
        folder: made where it is missing; trials on other devices may use it at the same time.
        fingerprint: of the environment: processor, device, threads and torch.
        work: the kind of work, in a few words of letters, digits and spaces.
        measure: does it and returns the fastest rate, in units a second.
        now: the time of day.
    """
    file = folder / f"{fingerprint}-{work.replace(' ', '-')}.json"
    before = _read(file, fingerprint, work)
    if before is not None and _within(FRESH, before.measured, now()):
        return before.per_second
    found, moment = measure(), now()
    peak = Peak(fingerprint=fingerprint, work=work, per_second=found, seen=moment, measured=moment)
    if before is not None and before.per_second > found and _within(VALID, before.seen, moment):
        peak = before.model_copy(update={"measured": moment})
    try:
        make_folder(folder)
        write_atomic(file, to_json(SealedPeak(digest=digest_of(canonical_json(peak)), peak=peak)))
    except (StorageError, FileExistsError) as error:
        # A full disk of the cache, or a file that is another user's alone.
        why = error.message if isinstance(error, StorageError) else error
        sys.stderr.write(f"not kept for the trials that follow: {why}\n")
    return peak.per_second


def _within(span: timedelta, then: datetime, now: datetime) -> bool:
    # A clock that was set back proves nothing.
    return timedelta(0) <= now - then < span


def _read(file: Path, fingerprint: str, work: str) -> Peak | None:
    """The peak in the file; None for one that is missing, torn, edited or about something else."""
    try:
        sealed = parse_strict(read_bytes(file, follow=False), SealedPeak, file)
    except (InvalidInputError, StorageError):
        return None
    found = sealed.peak
    if sealed.digest != digest_of(canonical_json(found)):
        return None
    return found if (found.fingerprint, found.work) == (fingerprint, work) else None


Peaks = dict[Precision, float]

# Dense TFLOP/s with fp32 accumulation, from NVIDIA's data sheets. A key matches the whole name that torch and
# NVML report, without its maker: a card of another name has another peak, however similar the names are.
_TFLOPS: Final[dict[str, Peaks]] = {
    r"H200": {"fp32": 67.0, "bf16": 989.4, "fp16": 989.4},
    r"H200 NVL": {"fp32": 60.0, "bf16": 835.5, "fp16": 835.5},
    r"H100 80GB HBM3": {"fp32": 66.9, "bf16": 989.4, "fp16": 989.4},
    r"H100 PCIe": {"fp32": 51.2, "bf16": 756.5, "fp16": 756.5},
    r"H100 NVL": {"fp32": 60.0, "bf16": 835.5, "fp16": 835.5},
    r"A100-(SXM4|PCIE)-40GB|A100-SXM4-80GB|A100 80GB PCIe": {"fp32": 19.5, "bf16": 312.0, "fp16": 312.0},
    r"A40": {"fp32": 37.4, "bf16": 149.7, "fp16": 149.7},
    r"A30": {"fp32": 10.3, "bf16": 165.0, "fp16": 165.0},
    r"A10": {"fp32": 31.2, "bf16": 125.0, "fp16": 125.0},
    r"L40S": {"fp32": 91.6, "bf16": 362.05, "fp16": 362.05},
    r"L40": {"fp32": 90.5, "bf16": 181.05, "fp16": 181.05},
    r"L4": {"fp32": 30.3, "bf16": 121.0, "fp16": 121.0},
    r"T4": {"fp32": 8.1, "fp16": 65.0},
    r"V100-SXM2-(16|32)GB": {"fp32": 15.7, "fp16": 125.0},
    r"V100-PCIE-(16|32)GB": {"fp32": 14.0, "fp16": 112.0},
}
_MAKER: Final = re.compile(r"^(NVIDIA |Tesla )+")
_SLICE: Final = re.compile(r"\bMIG\b")


def peak_flops(device_name: str, precision: Precision) -> float | str:
    """Return the published dense peak of a device in FLOP/s, or the reason why none is known."""
    if _SLICE.search(device_name):
        return f"{device_name} is a MIG slice: the published peak is the whole card's"
    name = _MAKER.sub("", device_name)
    peaks = next((peaks for known, peaks in _TFLOPS.items() if re.fullmatch(known, name)), {})
    if precision in peaks:
        return peaks[precision] * 1e12
    return f"no published peak for {device_name} at {precision}; matmul_peak_share is of the measured one"
