"""Whether a run is finished, known without reading its report into memory.

`ended.json` lies next to `report.json` and records for exactly those bytes whether every trial of the plan
has ended. It is a cache, not evidence: if it is missing, damaged, or about another report or plan, the report
is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from harness.assets.digest import file_sha256
from harness.assets.places import Note
from harness.errors import InvalidInputError, StorageError
from harness.model.frozen import Frozen
from harness.model.results import Report
from harness.model.status import STATUSES
from harness.store.folders import is_there
from harness.store.plan_file import Plan
from harness.store.reading import NewerSchemaError, load_report, parse_strict, read_bytes
from harness.store.writing import Files, to_json, write_atomic


class Ended(Frozen):
    """Whether the plan with this digest ended, as of the report whose file has this SHA-256."""

    plan_digest: str
    report_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    finished: bool


def write_ending(folder: Path, report: Report, sha256: str, plan: Plan, files: Files) -> None:
    """Note whether the report, whose file will have that SHA-256, ends the run of this plan.

    It comes before the report, so that a run without space for it is not finished yet and can be resumed.

    Raises:
        StorageError: The operating system refused a step.
    """
    ended = Ended(
        plan_digest=plan.digest,
        report_sha256=sha256,
        finished=_ends(report, plan),
    )
    write_atomic(folder / "ended.json", to_json(ended), files=files)


def is_finished(folder: Path, plan: Plan, note: Note = lambda _sentence: None) -> bool:
    """Whether the run's report has a final row for every trial of the plan, or took the last look.

    `note` is told why a report that is there does not count.

    Raises:
        NewerSchemaError: A newer harness wrote the report.
        StorageError: The report cannot be read.
    """
    if (noted := _noted(folder, plan)) is not None:
        return noted
    try:
        report = load_report(folder / "report.json", allow_unsealed=True)
    except NewerSchemaError:
        raise
    except InvalidInputError as error:
        # Missing or damaged: read the stored results, and write the report again.
        if is_there(folder / "report.json"):
            note(error.message)
        return False
    return _ends(report, plan)


def _noted(folder: Path, plan: Plan) -> bool | None:
    file = folder / "ended.json"
    try:
        ended = parse_strict(read_bytes(file, follow=False), Ended, file)
        about = (plan.digest, file_sha256(folder / "report.json"))
    except (InvalidInputError, StorageError, OSError):
        return None
    return ended.finished if (ended.plan_digest, ended.report_sha256) == about else None


def _ends(report: Report, plan: Plan) -> bool:
    done = {result.trial.id for result in report.results if STATUSES[result.status].final}
    if report.looks is not None and report.looks.finished:
        return done.issuperset(result.trial.id for result in report.results)
    return done.issuperset(plan.trial_ids)
