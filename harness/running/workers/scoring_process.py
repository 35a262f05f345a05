"""Score predictions in a separate process, so that the caller does not import torch."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.errors import UnavailableError
from harness.machine.requirements import require_extra
from harness.model.quality import Predictions
from harness.programs import ProgramError, run_program
from harness.running.workers.environ import worker_environment

SCORER: Final = "harness.training.rescoring"
"""The module of the scorer, by name: importing it here would import torch."""
_SECONDS: Final = 1_800.0
_LONGEST_WORDS: Final = 500


def score_again(
    predictions: Sequence[Predictions], scorer: str = SCORER, *, limit_s: float = _SECONDS
) -> str:
    """The scores of these predictions, as the line of JSON that the scorer's docstring describes.

    A scorer that takes longer than `limit_s` seconds is killed, with all that it started.

    Raises:
        UnavailableError: The scorer is not installed, or ended without an answer.
    """
    if scorer == SCORER:
        require_extra("train")
    asked = json.dumps([{"labels": each.labels, "logits": list(each.logits)} for each in predictions])
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        environ = worker_environment(os.environ, threads=1, run_folder=Path(folder))
        environ["TMPDIR"] = folder
        try:
            # -P keeps the current directory out of the import path: a file there must not pass for a library.
            done = run_program(
                [sys.executable, "-P", "-m", scorer],
                timeout_s=limit_s,
                environ=environ,
                given=asked.encode(),
                cwd=Path(folder),
            )
        except ProgramError as error:
            raise _silent(str(error)) from error
    lines = done.stdout.decode("utf-8", "backslashreplace").splitlines()
    if done.code != 0 or not lines:
        words = [
            line for line in done.stderr.decode("utf-8", "backslashreplace").splitlines() if line.strip()
        ]
        reason = f": {words[-1].strip()[:_LONGEST_WORDS]}" if words else ""
        raise _silent(f"ended with exit code {done.code}{reason}")
    return lines[-1]


def _silent(how: str) -> UnavailableError:
    return UnavailableError(
        f"the scorer of the logits {how}",
        hint="Check the installation: `harness run suites/quickstart.yaml`.",
    )
