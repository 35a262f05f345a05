from __future__ import annotations

from pathlib import Path

import pytest

from harness.job import TrialStoppedError
from harness.training.data import load_corpus
from tests.data.sets import GOOD, OWN, resolved, write_jsonl

pytestmark = pytest.mark.heavy


def test_wrong_data_fails_the_trial_with_every_problem_on_one_line(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", *GOOD, {"a": None, "b": "y", "y": 0.5})
    with pytest.raises(TrialStoppedError) as caught:
        load_corpus(OWN, resolved({"train": path, "validation": path}))
    assert caught.value.status == "failed"
    assert "train.jsonl:3: column 'a'" in caught.value.message
    assert "train.jsonl:3: column 'y'" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
