"""The files in a trial's folder, beside its result: what parent and worker agree on."""

from __future__ import annotations

from typing import Final

JOB: Final = "job.json"
PROGRESS: Final = "progress.jsonl"
LOG: Final = "log"
RESULT: Final = "result.json"
