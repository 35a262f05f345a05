"""Score predictions or inspect data in a separate process, so that the caller does not import torch."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from harness.errors import UnavailableError
from harness.machine.requirements import require_extra
from harness.model.inspection import InspectionAnswer, InspectionRequest
from harness.model.quality import Predictions
from harness.programs import ProgramError, run_program
from harness.running.workers.environ import worker_environment

SCORER: Final = "harness.training.rescoring"
"""The module of the scorer, by name: importing it here would import torch."""
INSPECTOR: Final = "harness.training.inspecting"
"""The module that inspects data, by name for the same reason."""
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
    return _answer(scorer, asked, "the scorer of the logits", limit_s)


def inspect_data(
    request: InspectionRequest, inspector: str = INSPECTOR, *, limit_s: float = _SECONDS
) -> InspectionAnswer:
    """Return the inspector's answer, as its docstring describes it; kill it after `limit_s` seconds.

    Raises:
        UnavailableError: The inspector is not installed, or ended without an answer.
    """
    if inspector == INSPECTOR:
        require_extra("train")
    who = "the inspector of the data"
    answer = _answer(inspector, request.model_dump_json(), who, limit_s)
    try:
        return InspectionAnswer.model_validate_json(answer)
    except ValidationError as error:
        raise _silent(who, f"gave no inspection: {answer[:_LONGEST_WORDS]}") from error


def _answer(module: str, asked: str, who: str, limit_s: float) -> str:
    """Return the last line that a module prints for this request on its standard input."""
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        environ = worker_environment(os.environ, threads=1, run_folder=Path(folder))
        environ["TMPDIR"] = folder
        try:
            # -P keeps the current directory out of the import path: a file there must not pass for a library.
            done = run_program(
                [sys.executable, "-P", "-m", module],
                timeout_s=limit_s,
                environ=environ,
                given=asked.encode(),
                cwd=Path(folder),
            )
        except ProgramError as error:
            raise _silent(who, str(error)) from error
    lines = done.stdout.decode("utf-8", "backslashreplace").splitlines()
    if done.code != 0 or not lines:
        words = [
            line for line in done.stderr.decode("utf-8", "backslashreplace").splitlines() if line.strip()
        ]
        reason = f": {words[-1].strip()[:_LONGEST_WORDS]}" if words else ""
        raise _silent(who, f"ended with exit code {done.code}{reason}")
    return lines[-1]


def _silent(who: str, how: str) -> UnavailableError:
    return UnavailableError(
        f"{who} {how}",
        hint="Check the installation: `harness run suites/quickstart.yaml`.",
    )
