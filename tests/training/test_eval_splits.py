"""A trial that is evaluated on several splits: each is scored apart, in one pass over all of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.checks.verification import contradictions
from harness.model.tasks import Task
from harness.training.processes.rescoring import rescore
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly, sentence_pairs

pytestmark = pytest.mark.heavy


def test_every_split_has_scores_and_predictions_and_the_first_those_of_one_split(
    make_job: MakeJob, tmp_path: Path
) -> None:
    rows = sentence_pairs(30, seed=7)
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    alone = run_trial(make_job(), quietly)
    job = make_job(task=Task(eval_split=("validation", "other")))
    files = job.data.files | {"other": (str(tmp_path / "other.jsonl"),)}
    result = run_trial(job.model_copy(update={"data": job.data.model_copy(update={"files": files})}), quietly)
    kept = result.predictions
    assert kept is not None
    assert result.data is not None
    assert kept.splits == result.data.eval_splits == {"validation": 24, "other": 30}
    assert result.data.eval_examples == 54
    right = np.argmax(kept.logits, axis=1) == np.array(kept.labels)
    assert list(kept.labels[24:]) == [row["label"] for row in rows]
    assert result.value("eval_accuracy") == pytest.approx(right[:24].mean())
    assert result.value("eval_other_accuracy") == pytest.approx(right[24:].mean())
    assert result.value("eval_loss") == pytest.approx(alone.value("eval_loss"), abs=1e-5)
    assert result.value("eval_other_loss") != pytest.approx(alone.value("eval_loss"), abs=1e-3)
    assert contradictions(result, 2) == ()
    again = rescore(list(kept.labels), [list(row) for row in kept.logits], kept.splits)
    assert again.scores == pytest.approx(result.epochs[-1].scores)
