"""Published peaks by the names that torch and NVML print for real devices."""

from __future__ import annotations

from typing import Final

import pytest

from harness.training.measuring.peaks import peak_flops

# Dense bf16 TFLOP/s from the data sheet; None where the table has no such card.
BF16: Final[dict[str, float | None]] = {
    "NVIDIA H200": 989.4,
    "NVIDIA H200 NVL": 835.5,
    "NVIDIA H100 80GB HBM3": 989.4,
    "NVIDIA H100 PCIe": 756.5,
    "NVIDIA H100 NVL": 835.5,
    "NVIDIA H100 80GB HBM2e": None,
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb": None,
    "NVIDIA H100 PCIe MIG 3g.40gb": None,
    "NVIDIA H800": None,
    "NVIDIA H20": None,
    "NVIDIA GH200 480GB": None,
    "NVIDIA GH200 144G HBM3e": None,
    "NVIDIA GB200": None,
    "NVIDIA B200": None,
    "NVIDIA A100-SXM4-40GB": 312.0,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "A100-SXM4-40GB": 312.0,
    "NVIDIA A100-PCIE-40GB": 312.0,
    "NVIDIA A100 80GB PCIe": 312.0,
    "NVIDIA A100 80GB PCIe MIG 1g.10gb": None,
    "NVIDIA A100-SXM4-40GB MIG 7g.40gb": None,
    "NVIDIA A100X": None,
    "NVIDIA A800-SXM4-80GB": None,
    "NVIDIA A800 80GB PCIe": None,
    "NVIDIA A40": 149.7,
    "NVIDIA A40-48Q": None,
    "NVIDIA A30": 165.0,
    "NVIDIA A30 MIG 2g.12gb": None,
    "NVIDIA A16": None,
    "NVIDIA A10": 125.0,
    "NVIDIA A10G": None,
    "NVIDIA A10M": None,
    "NVIDIA A2": None,
    "NVIDIA L40S": 362.05,
    "NVIDIA L40": 181.05,
    "NVIDIA L40G": None,
    "NVIDIA L4": 121.0,
    "NVIDIA L20": None,
    "NVIDIA L2": None,
    "Tesla T4": None,
    "NVIDIA T4G": None,
    "NVIDIA T400": None,
    "NVIDIA T400 4GB": None,
    "NVIDIA T1000 8GB": None,
    "Tesla V100-SXM2-16GB": None,
    "Tesla V100-PCIE-32GB": None,
    "Tesla P100-PCIE-16GB": None,
    "Tesla P40": None,
    "Tesla K80": None,
    "NVIDIA RTX A1000": None,
    "NVIDIA RTX A4000": None,
    "NVIDIA RTX A6000": None,
    "NVIDIA RTX 6000 Ada Generation": None,
    "NVIDIA RTX 4000 SFF Ada Generation": None,
    "Quadro RTX 8000": None,
    "Quadro T1000": None,
    "NVIDIA GeForce RTX 3090": None,
    "NVIDIA GeForce RTX 4090": None,
    "NVIDIA GeForce RTX 4090 Laptop GPU": None,
    "NVIDIA GeForce RTX 5090": None,
    "NVIDIA GeForce GTX 1080 Ti": None,
    "NVIDIA TITAN V": None,
    "NVIDIA TITAN RTX": None,
    "AMD Instinct MI300X": None,
    "AMD EPYC": None,
    "Apple M3 Max": None,
    "": None,
}


@pytest.mark.parametrize(("name", "tflops"), BF16.items())
def test_a_peak_belongs_to_the_whole_name_of_a_device(name: str, tflops: float | None) -> None:
    found = peak_flops(name, "bf16")
    if tflops is None:
        assert isinstance(found, str)
        assert name in found
    else:
        assert found == tflops * 1e12


@pytest.mark.parametrize(
    ("name", "tflops"),
    [("Tesla T4", 65.0), ("Tesla V100-SXM2-16GB", 125.0), ("Tesla V100-PCIE-32GB", 112.0)],
)
def test_a_card_has_a_peak_for_the_precisions_that_it_supports(name: str, tflops: float) -> None:
    assert peak_flops(name, "fp16") == tflops * 1e12
    assert peak_flops(name, "bf16") == (
        f"no published peak for {name} at bf16; matmul_peak_share is of the measured one"
    )


def test_the_reason_for_a_slice_names_it() -> None:
    reason = peak_flops("NVIDIA A100 80GB PCIe MIG 1g.10gb", "fp32")
    assert reason == (
        "NVIDIA A100 80GB PCIe MIG 1g.10gb is a MIG slice: the published peak is the whole card's"
    )
