"""Drop gates: the error of an effect at the limit decides, and its interval agrees with the verdict."""

from __future__ import annotations

import pytest

from harness.analysis.comparison.models import ComparisonRow, Side
from harness.analysis.gates.drops import Drop, judge_drops
from harness.analysis.stats.components import Components, Interaction, Part
from harness.analysis.stats.tests import Effect
from harness.model.suite import Gate

LIMIT = 0.05


def drop(center: float, interaction: Interaction | None) -> Drop:
    """A drop of accuracy, over twenty seeds, that was even over the examples by chance."""
    components = Components(
        Part(7.5e-5, 19),
        (Part(1e-6, 407),),
        floor=4e-5,
        least=2e-5,
        interaction=interaction,
    )
    row = ComparisonRow(
        variant="bert",
        metric="eval_accuracy",
        unit="ratio",
        goal="max",
        verdict="unsure",
        baseline=Side(name="baseline", value=0.84),
        candidate=Side(name="candidate", value=0.84 + center),
        kind="difference",
        effect=center,
    )
    effect = Effect(center, center=center, components=components, trials=20)
    return Drop(Gate(metric="eval_accuracy", max_drop=LIMIT), row, effect, 0.84)


def test_a_drop_near_the_limit_passes_only_with_the_error_of_an_effect_at_the_limit() -> None:
    uneven = Interaction(discordance=0.04, unit=1.0, examples=408)
    (even,), (case,) = judge_drops([drop(-0.0305, None)]), judge_drops([drop(-0.0305, uneven)])
    assert (even.verdict, case.verdict) == ("passed", "unsure")
    assert even.interval is not None
    assert case.interval is not None
    assert even.interval[1] < LIMIT < case.interval[1]


@pytest.mark.parametrize("center", [-0.1, -0.06, -0.045, -0.0305, -0.02, -0.01, 0.0])
def test_the_interval_of_a_drop_agrees_with_its_verdict(center: float) -> None:
    (case,) = judge_drops([drop(center, Interaction(discordance=0.04, unit=1.0, examples=408))])
    assert case.interval is not None
    low, high = case.interval
    assert case.verdict == ("failed" if low > LIMIT else "passed" if high < LIMIT else "unsure")
