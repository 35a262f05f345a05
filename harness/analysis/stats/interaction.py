"""Interaction of recipe and examples: the uneven spread of an effect that has not been observed yet.

Examples that every seed classifies the same way hardly react to a small change of the recipe; examples that
seeds classify differently do. So an effect adds an interaction of recipe and examples: a variance that more
seeds do not reduce and that is zero for equal recipes. A detection limit that omits it is too small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# For examples with any probability of being right between 0 and 1, as likely as their mean discordance
# allows, a change of all logits or probits by the same amount affects this multiple of the discordance.
_SENSITIVE: Final = 3.0


@dataclass(frozen=True, slots=True)
class Interaction:
    """The variance that an effect adds because it is spread unevenly over the examples.

    `discordance` is the share of examples that exactly one of two seeds of a recipe classifies correctly,
    `unit` the change of the score for a change of 1 in accuracy, and `examples` the number of examples.
    """

    discordance: float
    unit: float
    examples: int

    def variance(self, effect: float) -> float:
        """Return the variance of a score difference, in squared units, due to examples at this effect.

        The effect is spread over the sensitive examples. A large effect flips some of them entirely and also
        affects examples that seeds agree on, so its size is added to their share.

        >>> round(408 * Interaction(0.08, 1.0, 408).variance(0.05), 4)
        0.0061
        """
        change = abs(effect) / self.unit
        if change == 0:
            return 0.0
        share = min(_SENSITIVE * self.discordance + change, 1.0)
        return self.unit**2 * change * (change / share) * (1 - share) / self.examples


def interaction(right: Sequence[NDArray[np.bool_]], scores: Sequence[NDArray[Any]]) -> Interaction | None:
    """Estimate the interaction from recipes with several seeds; None if all seeds agree.

    Args:
        right: for each recipe which examples each seed got right, (S, N).
        scores: for each recipe the scores of each seed in resamples of the examples, (S, R).
    """
    several = [place for place, each in enumerate(right) if len(each) > 1]
    if not several:
        return None
    examples = right[0].shape[1]
    of_accuracy = float(np.mean([right[place].var(axis=0, ddof=1).mean() for place in several])) / examples
    of_score = float(np.mean([_residual(scores[place]) for place in several]))
    if of_accuracy == 0 or of_score == 0:
        return None
    return Interaction(2 * of_accuracy * examples, float(np.sqrt(of_score / of_accuracy)), examples)


def _residual(drawn: NDArray[Any]) -> float:
    """Return the mean variance over resamples of the deviations from the mean over seeds; drawn (S, R)."""
    seeds = len(drawn)
    return float((drawn - drawn.mean(axis=0)).var(axis=1).mean()) * seeds / (seeds - 1)
