"""Analytic FLOPs of real tokens, and the peaks that vendors publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from harness.trial import LastLayer, Precision

# Dense TFLOP/s by precision, from NVIDIA's data sheets; the first name that a device's name contains counts.
_PEAK_TFLOPS: Final[tuple[tuple[str, dict[Precision, float]], ...]] = (
    ("H200", {"fp32": 67.0, "bf16": 989.4, "fp16": 989.4}),
    ("H100 PCIe", {"fp32": 51.2, "bf16": 756.5, "fp16": 756.5}),
    ("H100 NVL", {"fp32": 60.0, "bf16": 835.5, "fp16": 835.5}),
    ("H100", {"fp32": 66.9, "bf16": 989.4, "fp16": 989.4}),
    ("A100", {"fp32": 19.5, "bf16": 312.0, "fp16": 312.0}),
    ("L40S", {"fp32": 91.6, "bf16": 362.05, "fp16": 362.05}),
    ("L4", {"fp32": 30.3, "bf16": 121.0, "fp16": 121.0}),
    ("A10", {"fp32": 31.2, "bf16": 125.0, "fp16": 125.0}),
    ("T4", {"fp32": 8.1, "fp16": 65.0}),
    ("V100-SXM2", {"fp32": 15.7, "fp16": 125.0}),
)


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """What the FLOPs of a BERT-like encoder depend on; `last_layer` as in a trial."""

    layers: int
    hidden: int
    intermediate: int
    labels: int
    last_layer: LastLayer = "all"

    @classmethod
    def of(cls, config: Any, last_layer: LastLayer = "all") -> Self | None:
        """The shape in a transformers config; None for one that does not say."""
        intermediate = getattr(config, "intermediate_size", None) or getattr(config, "hidden_dim", None)
        layers, hidden = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
        if not (intermediate and layers and hidden):
            return None
        return cls(layers, hidden, intermediate, config.num_labels, last_layer)

    def train_flops(self, lengths: npt.NDArray[np.int64]) -> float:
        """FLOPs of forward and backward over rows of these lengths, a multiply-add counted as two.

        Matrix products alone, as in Kaplan et al. 2020 (arXiv:2001.08361, section 2.1): for a row of n tokens
        a layer's four projections take 8 n h^2, its feed-forward 4 n h i, scores and their sum over values
        4 n^2 h; the pooler or pre-classifier and the head see one position. The backward pass takes twice the
        forward's. A last layer of one position takes keys and values of all n, and the rest for that one.
        """
        n = lengths.astype(np.float64)
        layer = self._layer(n, n)
        last = layer if self.last_layer == "all" else self._layer(np.ones_like(n), n)
        head = 2 * self.hidden**2 + 2 * self.hidden * self.labels
        return float(3 * ((self.layers - 1) * layer + last + head).sum())

    def _layer(self, queries: npt.NDArray[np.float64], n: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """A layer's FLOPs for so many positions out of rows of n tokens."""
        for_each = 4 * self.hidden**2 + 4 * self.hidden * self.intermediate + 4 * n * self.hidden
        return queries * for_each + n * 4 * self.hidden**2


def peak_flops(device_name: str, precision: Precision) -> float | None:
    """The published dense peak of a device in FLOP/s, or None where none is published in the table above."""
    for name, peaks in _PEAK_TFLOPS:
        if name in device_name:
            return peaks[precision] * 1e12 if precision in peaks else None
    return None
