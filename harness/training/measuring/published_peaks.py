"""Dense peaks from the data sheets of NVIDIA's cards, found by a device's whole name."""

from __future__ import annotations

import re
from typing import Final

from harness.model.values import Precision

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
