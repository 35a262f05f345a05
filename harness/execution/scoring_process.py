"""Scoring in a process of its own, so that whoever asks for it imports nothing that trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.errors import UnavailableError
from harness.execution.requirements import require_extra
from harness.execution.worker_environment import worker_environment
from harness.results.models import Predictions

SCORER: Final = "harness.training.rescoring"
"""What scores, by name: importing it here would import torch."""
_SECONDS: Final = 1_800.0
_LONGEST_WORDS: Final = 500


def score_again(predictions: Sequence[Predictions], scorer: str = SCORER) -> str:
    """The scores of these predictions, as the line of JSON that the scorer's docstring describes.

    Raises:
        UnavailableError: What scores is not installed, or ended without an answer.
    """
    if scorer == SCORER:
        require_extra("train")
    asked = json.dumps([{"labels": each.labels, "logits": each.logits} for each in predictions])
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        environ = worker_environment(os.environ, threads=1, run_folder=Path(folder))
        try:
            # -P keeps the current directory out of the import path: a file there must not pass for a library.
            done = subprocess.run(  # noqa: S603 - our own module, under this interpreter
                [sys.executable, "-P", "-m", scorer],
                input=asked,
                capture_output=True,
                encoding="utf-8",
                errors="backslashreplace",
                cwd=folder,
                env=environ,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise _silent(f"took longer than {_SECONDS:,.0f} s") from None
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        words = [line for line in done.stderr.splitlines() if line.strip()]
        said = f": {words[-1].strip()[:_LONGEST_WORDS]}" if words else ""
        raise _silent(f"ended with exit code {done.returncode}{said}")
    return lines[-1]


def _silent(how: str) -> UnavailableError:
    return UnavailableError(
        f"what scores the logits {how}", hint="Check the installation: `harness run suites/quickstart.yaml`."
    )
