from __future__ import annotations

from harness.model.trial import Trial
from harness.model.values import Padding


def test_a_changed_copy_of_a_trial_does_not_keep_the_first_ones_identity() -> None:
    trial = Trial(checkpoint="a", padding=Padding(strategy="dynamic"), device="cpu")
    before = trial.id, trial.variant_id
    changed = trial.model_copy(update={"checkpoint": "b", "seed": 3})
    assert changed.id != before[0]
    assert changed.variant_id != before[1]
    assert (trial.id, trial.variant_id) == before
