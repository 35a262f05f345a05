"""The example with own data: a suite and a metric that need no network."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.store.reading import load_report
from tests.running.fakes import environ
from tools.headlines import FOLDER, ROWS, write


def test_the_data_of_the_example_are_reproducible(tmp_path: Path) -> None:
    write(tmp_path)
    for split in ROWS:
        assert (tmp_path / f"{split}.csv").read_bytes() == (FOLDER / f"{split}.csv").read_bytes()


@pytest.mark.heavy
def test_the_suite_with_own_data_runs_on_a_stand_in_without_a_network(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "examples" / "own-data")
    suite = FOLDER / "suite.yaml"
    (command,) = re.findall(r"^# +harness (run .*)$", suite.read_text(), re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "harness", *shlex.split(command)],
        cwd=tmp_path,
        env=environ(HARNESS_CACHE_DIR=str(tmp_path / "cache"), HF_HUB_OFFLINE="1", NO_COLOR="1"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stand-in embedded/bert-uncased" in done.stdout + done.stderr
    (file,) = tmp_path.glob("reports/*/*/report.json")
    report = load_report(file)
    (own,) = report.own_metrics
    code = (FOLDER / "balanced_accuracy.py").read_bytes()
    assert own.version == f"balanced_accuracy.py sha256:{hashlib.sha256(code).hexdigest()}"
    for result in report.results:
        assert result.predictions is not None
        labels, logits = np.array(result.predictions.labels), np.array(result.predictions.logits)
        right = logits.argmax(axis=1) == labels
        recalls = [right[labels == label].mean() for label in range(3)]
        assert own.scores[result.trial.id].value == pytest.approx(np.mean(recalls))
        assert result.data is not None
        assert (result.data.name, result.data.source, result.data.synthetic) == ("headlines", "folder", False)
        assert result.data.labels == ("business", "crime", "sport")
        assert (result.data.train_examples, result.data.eval_examples) == (ROWS["train"], ROWS["validation"])
        accuracy = result.value("eval_accuracy")
        assert accuracy is not None
        assert accuracy > result.data.eval_majority_share + 0.2
