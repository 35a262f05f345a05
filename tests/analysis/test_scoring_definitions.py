"""The scores against their definitions: counted one example at a time, and in exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.stats.scoring import scores

Pairs = list[tuple[int, int]]


def f1_of(pairs: Pairs, each: int) -> Fraction:
    """F1 of one class from (predicted, actual) pairs; 0 where it is undefined."""
    right = pairs.count((each, each))
    involved = sum(one == each for one, _ in pairs) + sum(other == each for _, other in pairs)
    return Fraction(2 * right, involved) if involved else Fraction(0)


def f1_by_definition(pairs: Pairs) -> Fraction:
    present = sorted({each for pair in pairs for each in pair})
    if max(present) <= 1:
        return f1_of(pairs, 1)
    return sum((f1_of(pairs, each) for each in present), Fraction(0)) / len(present)


def mcc_by_definition(pairs: Pairs) -> float:
    """The correlation of the one-hot indicators of both sides (Gorodkin 2004)."""
    classes = range(max(max(pair) for pair in pairs) + 1)
    columns = zip(*pairs, strict=True)
    sides = [np.array([[one == each for each in classes] for one in column], float) for column in columns]
    centered = [side - side.mean(axis=0) for side in sides]
    spread = math.sqrt((centered[0] ** 2).sum() * (centered[1] ** 2).sum())
    return float((centered[0] * centered[1]).sum() / spread) if spread > 1e-9 else 0.0


@pytest.mark.parametrize("classes", [2, 3, 5])
@given(data=st.data())
def test_scores_equal_their_definitions(classes: int, data: st.DataObject) -> None:
    one = st.integers(0, classes - 1)
    pairs = data.draw(st.lists(st.tuples(one, one), min_size=1, max_size=50))
    predicted, actual = (np.array(side) for side in zip(*pairs, strict=True))
    found = {
        metric: float(scores(metric, actual, predicted[None])[0])
        for metric in ("eval_accuracy", "eval_f1", "eval_mcc")
    }
    assert found["eval_accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs), abs=1e-12)
    assert found["eval_f1"] == pytest.approx(float(f1_by_definition(pairs)), abs=1e-12)
    assert found["eval_mcc"] == pytest.approx(mcc_by_definition(pairs), abs=1e-9)
