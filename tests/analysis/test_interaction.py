from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from harness.analysis.stats.components import Interaction, interaction
from harness.analysis.stats.quality_tests import compare_quality
from harness.analysis.stats.resampling import Case
from tools.simulate.worlds import LABELS, QualityWorld


@given(st.floats(0, 0.5), st.floats(0.0, 1.0), st.floats(0.1, 5.0))
def test_the_variance_lies_between_an_even_spread_and_flipping_whole_examples(
    discordance: float, change: float, unit: float
) -> None:
    found = Interaction(discordance, unit, 1).variance(unit * change)
    assert -1e-12 <= found <= unit**2 * (change - change**2) + 1e-12
    assert found == Interaction(discordance, unit, 1).variance(-unit * change)


@pytest.mark.parametrize("discordance", [0.04, 0.08, 0.12])
@pytest.mark.parametrize("effect", [0.02, 0.05])
def test_it_is_the_interaction_of_simulated_classifiers(discordance: float, effect: float) -> None:
    world = QualityWorld(discordance=discordance)
    before = special.ndtr(world.scores)
    true = [
        float((special.ndtr(world.scores + world.shift(each)) - before).var()) for each in (effect, -effect)
    ]
    assert Interaction(discordance, 1.0, 1).variance(effect) == pytest.approx(np.mean(true), rel=0.3)


@pytest.mark.parametrize(("metric", "unit"), [("eval_accuracy", 1.0), ("eval_f1", 0.73), ("eval_mcc", 2.26)])
@pytest.mark.parametrize("paired", [True, False])
def test_it_is_estimated_from_the_seeds_of_either_side(metric: str, unit: float, paired: bool) -> None:
    before, after = QualityWorld().draw(np.random.default_rng(0), 10, 10 if paired else 1)
    (effect,) = compare_quality([Case(metric, LABELS, before, after, paired=paired)], resamples=1_000)
    assert effect.components is not None
    found = effect.components.interaction
    assert found is not None
    assert found.examples == 408
    assert found.discordance == pytest.approx(0.08, rel=0.25)
    assert found.unit == pytest.approx(unit, rel=0.15)


def test_variants_that_differ_from_each_other_are_no_seeds() -> None:
    random = np.random.default_rng(1)
    sides = [QualityWorld().draw(random, 5, 5) for _ in range(3)]
    before, after = (np.concatenate([side[place] for side in sides]) for place in (0, 1))
    (effect,) = compare_quality([Case("eval_accuracy", LABELS, before, after, variants=3)], resamples=1_000)
    assert effect.components is not None
    assert effect.components.interaction is not None
    assert effect.components.interaction.unit == pytest.approx(1.0, rel=0.1)


def test_seeds_that_agree_on_every_example_tell_nothing() -> None:
    assert interaction([np.ones((3, 5), dtype=bool)], lambda _recipe: np.ones((3, 7))) is None
    assert interaction([np.ones((1, 5), dtype=bool)], lambda _recipe: np.ones((1, 7))) is None
