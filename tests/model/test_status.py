from __future__ import annotations

from typing import get_args

import pytest

from harness.model.status import STATUSES, StatusName
from tests.factories import make_report, make_result, make_trial


def test_every_status_is_declared_once() -> None:
    assert list(STATUSES) == list(get_args(StatusName))
    assert all(STATUSES[name].name == name for name in STATUSES)


def test_the_table_is_consistent() -> None:
    for status in STATUSES.values():
        # Without a final result a run is continued, and then the trial has to run.
        assert status.final or status.rerun
        assert (status.junit == "skipped") == (not status.ran)
        assert (status.junit == "passed") == (status.name == "completed")
        assert status.ran or not status.retried


@pytest.mark.parametrize("status", STATUSES)
def test_a_result_is_sound_if_it_completed_and_predicts_several_classes(status: StatusName) -> None:
    result = make_result(make_trial(), status=status)
    assert result.sound == (status == "completed")
    assert not result.model_copy(update={"degenerate": True}).sound


def test_variants_keep_the_order_of_the_plan_and_every_result() -> None:
    trials = [make_trial(padding, seed=seed) for seed in (0, 1) for padding in ("static", "dynamic")]
    report = make_report([make_result(trial) for trial in trials])
    variants = report.variants()
    assert list(variants) == [trials[0].variant_id, trials[1].variant_id]
    assert [[result.trial.seed for result in results] for results in variants.values()] == [[0, 1], [0, 1]]
