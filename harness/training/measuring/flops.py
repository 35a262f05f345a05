"""Analytic FLOPs of real tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from harness.model.values import LastLayer

UNKNOWN_SHAPE: Final = "the model's config lacks layers, hidden size or intermediate size"


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """The sizes that determine the FLOPs of a BERT-like encoder; `last_layer` as in a trial."""

    layers: int
    hidden: int
    intermediate: int
    labels: int
    last_layer: LastLayer = "all"

    @classmethod
    def of(cls, config: Any, last_layer: LastLayer = "all") -> Self | None:
        """Return the shape from a transformers config; None if sizes are missing."""
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
