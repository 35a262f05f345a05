from __future__ import annotations

import pytest

from harness.analysis.gates.drops import gate_warnings
from harness.model.trial import Trial
from harness.suite.gate_files import parse_gate
from tests.factories import make_trial


def trials(seeds: int) -> list[Trial]:
    return [make_trial(seed=seed) for seed in range(seeds)]


def warnings(rule: str, seeds: int) -> list[str]:
    return gate_warnings([parse_gate(rule)], trials(seeds))


def test_a_drop_gate_with_too_few_seeds_is_under_powered_and_names_how_many_decide() -> None:
    (found,) = warnings("eval_accuracy drop<=0.02", 3)
    assert found.startswith("eval_accuracy drop <= 0.02: under-powered: 3 seeds usually detect drops of ")
    assert "seeds would detect 4 points" in found


def test_one_seed_decides_nothing() -> None:
    (found,) = warnings("eval_accuracy drop<=0.5", 1)
    assert "one seed a side decides nothing; add seeds: -s 'matrix.seed=[0, 1, 2, 3, 4]'" in found


def test_speed_between_runs_is_decided_by_ab_or_a_calibrated_machine() -> None:
    (found,) = warnings("train_real_tokens_per_second drop<=25%", 10)
    assert "harness ab decides it anywhere" in found


@pytest.mark.parametrize(
    ("rule", "seeds"),
    [
        ("eval_accuracy>=0.8", 1),
        ("eval_accuracy drop<=0.2", 5),
        ("eval_accuracy drop<=0.05", 20),
        ("peak_memory_host_bytes drop<=5%", 1),
        ("eval_accuracy drop<=2%", 1),
        ("eval_loss drop<=0.1", 1),
    ],
)
def test_a_gate_that_can_be_decided_gets_no_warning(rule: str, seeds: int) -> None:
    assert warnings(rule, seeds) == []
