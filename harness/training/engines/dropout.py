"""Dropout on the CPU whose masks cost next to nothing.

torch draws one random number an element, one after the other, a sixth of a step of a small BERT in bf16. Here
an element takes sixteen bits of a generator that gives 64 at a time (SFC64, as in numpy): the same
distribution, but for p rounded to 1/65536, by which the scale is exact again.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import torch
from torch import nn

_LEVELS: Final = 2**16


class DrawMask(Protocol):
    """What draws a dropout mask."""

    def __call__(self, like: torch.Tensor, p: float) -> torch.Tensor:
        """Numbers of the shape and type of `like`: 0 with probability `p`, else what keeps the mean."""


class RandomBits:
    """A source of dropout masks, the same for the same seed."""

    def __init__(self, seed: int | tuple[int, int]) -> None:
        self._generator = np.random.SFC64(seed)

    @property
    def state(self) -> list[int]:
        """The state of the generator, which decides every later mask."""
        found: list[int] = self._generator.state["state"]["state"].tolist()
        return found

    @state.setter
    def state(self, words: list[int]) -> None:
        whole = self._generator.state
        whole["state"]["state"] = np.array(words, dtype=np.uint64)
        self._generator.state = whole

    def __call__(self, like: torch.Tensor, p: float) -> torch.Tensor:
        """Return a mask: see `DrawMask`."""
        dropped = round(p * _LEVELS)
        count = like.numel()
        bits = self._generator.random_raw(-(-count // 4)).view(np.int16)[:count]
        # A comparison into bools takes torch seven times as long.
        kept = torch.from_numpy(bits).view(like.shape).ge_(dropped - _LEVELS // 2)
        return kept.to(like.dtype).mul_(_LEVELS / (_LEVELS - dropped))


class Dropout(nn.Dropout):
    """Dropout with masks from `draw`."""

    def __init__(self, p: float, draw: DrawMask) -> None:
        super().__init__(p)
        self.draw = draw

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - as torch names it
        """The input with elements dropped while training, the input itself otherwise."""
        if not self.training or self.p == 0.0:
            return input
        return input * self.draw(input, self.p)


def replace_dropout(model: nn.Module, draw: DrawMask) -> None:
    """Put a `Dropout` in the place of each of the model's dropout modules."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p, draw).train(child.training))
