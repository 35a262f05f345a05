"""The kept baselines as a document: one row each, a damaged file with its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from harness.model.results import UNSEALED, Report
from harness.output.document import Column, Document, Table
from harness.words import count


@dataclass(frozen=True, slots=True)
class Kept:
    """One file under `baselines`: the day its report was created, what it has, and why it cannot be read."""

    name: str
    created: str | None = None
    content: str | None = None
    damaged: str | None = None


def kept(name: str, report: Report) -> Kept:
    """Return the line of a report that can be read."""
    trials = count(len(report.results), "trial")
    unsealed = ", unsealed" if UNSEALED in report.notes else ""
    return Kept(
        name, f"{report.created:%Y-%m-%d}", f"{report.suite.name}, {trials}, run {report.run}{unsealed}"
    )


def baselines_document(found: Sequence[Kept]) -> Document:
    """One row a baseline."""
    columns = (
        Column("name", tuple(one.name for one in found), numeric=False),
        Column(
            "created",
            tuple(one.created or "damaged:" for one in found),
            numeric=False,
            tones=tuple("bad" if one.damaged else "" for one in found),
        ),
        Column("report", tuple(one.content or one.damaged or "" for one in found), numeric=False),
    )
    return Document(
        kind="list of baselines",
        title=count(len(found), "baseline"),
        model={"baselines": [asdict(one) for one in found]},
        tables=(Table("Baselines", columns),),
        layout="rows",
    )
