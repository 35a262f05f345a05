from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.model.job import TrialStoppedError
from harness.model.values import Padding, PaddingStrategy
from harness.training.checkpoints import load_model
from harness.training.evaluate_modules import classification
from harness.training.evaluation import predict, predictions_of, score
from harness.training.loading import Corpus, Split
from harness.training.padding import Collator
from harness.training.tokenizing.tokens import tokenize
from tests.running.fakes import environ
from tests.training.conftest import sentence_pairs

pytestmark = pytest.mark.heavy


def logits_of(predicted: list[int], classes: int = 2) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[predicted]


@given(pairs=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60))
def test_two_class_metrics_are_those_of_their_definitions(pairs: list[tuple[int, int]]) -> None:
    predicted, actual = (list(side) for side in zip(*pairs, strict=True))
    got = score(logits_of(predicted), np.array(actual))
    tp, fp, fn, tn = (pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0)))
    assert got.scores["eval_accuracy"] == pytest.approx((tp + tn) / len(pairs))
    assert got.scores["eval_f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn) if tp else 0.0)
    spread = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    assert got.scores["eval_mcc"] == pytest.approx((tp * tn - fp * fn) / math.sqrt(spread) if spread else 0.0)
    assert got.degenerate == (len(set(predicted)) == 1)


def test_beyond_two_classes_f1_is_the_macro_average() -> None:
    predicted, actual = [0, 1, 2, 2, 1, 0], [0, 1, 2, 1, 1, 2]
    by_class = [2 / 3, 4 / 5, 1 / 2]
    assert score(logits_of(predicted, 3), np.array(actual)).scores["eval_f1"] == pytest.approx(
        sum(by_class) / 3
    )


def test_a_class_that_nobody_has_is_left_out_of_the_macro_average() -> None:
    assert score(logits_of([0, 2, 2], 3), np.array([0, 2, 2])).scores["eval_f1"] == 1.0


def test_a_constant_answer_on_mrpc_is_degenerate_and_scores_what_is_known() -> None:
    labels = np.array([1] * 279 + [0] * 129)
    got = score(logits_of([1] * 408), labels)
    known = {"eval_accuracy": 0.6838, "eval_f1": 0.8122, "eval_mcc": 0.0}
    assert {metric: round(got.scores[metric], 4) for metric in known} == known
    assert got.degenerate


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_end_a_trial_as_diverged(value: float) -> None:
    logits = logits_of([0, 1, 1])
    logits[1, 0] = value
    with pytest.raises(
        TrialStoppedError, match="logits of 1 of 3 evaluation examples are not finite"
    ) as caught:
        score(logits, np.array([0, 1, 1]))
    assert caught.value.status == "diverged"


@pytest.mark.parametrize("strategy", ["static", "dynamic", "bucketed", "unpadded"])
def test_logits_come_back_in_the_order_of_the_examples(
    strategy: PaddingStrategy, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    rows = sentence_pairs(30, seed=4)
    split = Split([(row["sentence1"], row["sentence2"]) for row in rows], [row["label"] for row in rows])
    tokens = tokenize(Corpus(split, split, ("no", "yes"), "0" * 64), checkpoints["bert"], 64, tmp_path)
    torch.manual_seed(0)
    loaded = load_model(checkpoints["bert"], labels=("no", "yes"), attention="sdpa", token_type_ids="auto")
    collator = Collator(tokens.evaluation, Padding(strategy=strategy), loaded.columns, tokens.longest, 0)
    logits = predict(loaded.model, collator, 7, "fp32")
    assert all(module.training for module in loaded.model.modules())
    one_by_one = np.concatenate([predict_one(loaded.model, collator, row) for row in range(30)])
    np.testing.assert_allclose(logits, one_by_one, atol=1e-6)
    kept = predictions_of(logits, collator)
    assert kept.example_ids == tuple(range(30))
    assert kept.labels == tuple(row["label"] for row in rows)
    assert kept.logits[3] == tuple(logits[3].tolist())


def predict_one(model: torch.nn.Module, collator: Collator, row: int) -> np.ndarray:
    model.train(mode=False)
    batch = collator([row])
    del batch["labels"]
    with torch.no_grad():
        logits: torch.Tensor = model(**batch).logits
    model.train()
    return logits.numpy()


def test_no_folder_of_the_current_directory_is_taken_for_the_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("glue", "classification"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text("raise SystemExit('planted code was run')")
    monkeypatch.chdir(tmp_path)
    assert score(logits_of([0, 1]), np.array([0, 1])).scores["eval_accuracy"] == 1.0


LEAVES_A_COPY = """\
import os, sys
from pathlib import Path
import evaluate

if (child := os.fork()) == 0:
    evaluate.load(sys.argv[1])
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
(copy,) = Path(os.environ["HF_HOME"]).rglob("classification.py")
# Another size, without which Python would take the compiled copy.
copy.write_text(copy.read_text().replace("float(", "0 * float(", 1) + "\\n")

import numpy as np
from harness.training.evaluation import score

logits = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]
print(score(logits, np.array([0, 0, 1, 1])).scores["eval_f1"])
"""


def test_a_copy_of_the_metric_that_evaluate_left_in_the_hub_cache_is_never_run(tmp_path: Path) -> None:
    scored = subprocess.run(
        [sys.executable, "-c", LEAVES_A_COPY, str(classification.__file__)],
        env=environ(HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(scored.stdout) == pytest.approx(2 / 3)
