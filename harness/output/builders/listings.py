"""Lists as documents: the runs in a folder and what `clean` does, kept baselines, and exported trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.analysis.rows import Row
from harness.analysis.summary import summarize
from harness.model.metrics import METRICS
from harness.model.results import UNSEALED, Report
from harness.output.builders.report_parts.remarks import doubt
from harness.output.document import Column, Document, Table, Tone
from harness.output.numbers import NOTHING, amount, rate, size
from harness.output.trackers.known_trackers import Exported
from harness.store.listing import Fate, StoredRun
from harness.words import count

_SCORE = "eval_accuracy"

Model = dict[str, Any]
"""A run, as JSON has it."""


def runs_document(runs: Sequence[StoredRun], now: datetime, *, missing: Path | None = None) -> Document:
    """Return one row a run; `missing` is their folder where it does not exist."""
    total = sum(run.size_bytes for run in runs)
    found = [_model(run) for run in runs]
    return Document(
        kind="list of runs",
        title=f"{count(len(runs), 'run')}, {size(total)}",
        model={"runs": found},
        tables=(Table("Runs", _columns(runs, found, now)),),
        notes=_missing(missing),
        layout="lines",
    )


def _missing(folder: Path | None) -> tuple[str, ...]:
    return () if folder is None else (f"the folder {folder} does not exist",)


def cleaning_document(
    fates: Sequence[Fate],
    now: datetime,
    *,
    dry: bool,
    missing: Path | None = None,
) -> Document:
    """Return one row a run, with what became of it, or with `dry` would.

    Args:
        fates: what became of every run, or would.
        now: the time that ages are counted to.
        dry: nothing was removed.
        missing: the folder of the runs where it does not exist.
    """
    gone = [fate.run for fate in fates if not fate.kept]
    done = "would be removed" if dry else "removed"
    words = [f"kept: {fate.kept}" if fate.kept else done for fate in fates]
    outcome = Column("outcome", tuple(words), numeric=False)
    freed = size(sum(run.size_bytes for run in gone))
    found = [_model(fate.run) for fate in fates]
    return Document(
        kind="list of runs",
        title=f"{count(len(gone), 'run')} {done}, {freed}; {len(fates) - len(gone)} kept",
        model={
            "dry_run": dry,
            "runs": [each | {"outcome": word} for each, word in zip(found, words, strict=True)],
        },
        tables=(Table("Runs", (*_columns([fate.run for fate in fates], found, now), outcome)),),
        notes=_missing(missing),
        layout="lines",
    )


def _columns(runs: Sequence[StoredRun], found: Sequence[Model], now: datetime) -> tuple[Column, ...]:
    tones: tuple[Tone, ...] = tuple("bad" if run.state == "unreadable" else "" for run in runs)
    return (
        Column("run", tuple(str(run.path) for run in runs), numeric=False),
        Column("suite", tuple(run.suite for run in runs), numeric=False),
        Column("state", tuple(map(_state, runs)), numeric=False, tones=tones),
        Column("age", tuple(_age(run.started, now) for run in runs)),
        Column("size", tuple(size(run.size_bytes) for run in runs)),
        Column("highest score", tuple(each["highest_score"] for each in found), numeric=False),
        Column("highest speed", tuple(each["highest_speed"] for each in found), numeric=False),
        Column("problem", tuple(run.problem for run in runs), numeric=False, below=True),
    )


def _state(run: StoredRun) -> str:
    if run.state in ("unfinished", "running") and run.trials is not None:
        return f"{run.state}, {run.done} of {run.trials}"
    return run.state


def _age(started: datetime | None, now: datetime) -> str:
    """Return the time since the start in its largest unit: `40 min`, `5 h`, `12 d`."""
    if started is None:
        return NOTHING
    minutes = max(0, int((now - started).total_seconds() // 60))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"


def _eligible(report: Report) -> tuple[Row, ...]:
    """Return the variants whose numbers count: a wrong function or training has no rank."""
    return tuple(
        row
        for row in summarize(report)
        if not (row.fails_parity or row.fails_training or row.unmoved or row.mixed)
    )


def _highest_score(rows: Sequence[Row]) -> str:
    """Return the highest score, which no test shows to be better than the others."""
    scored = [(found.mean, _marked(row)) for row in rows if (found := row.quality.get(_SCORE)) is not None]
    if not scored:
        return NOTHING
    mean, label = max(scored, key=lambda each: each[0])
    return f"{METRICS[_SCORE].label} {amount(_SCORE, mean)} {label}"


def _marked(row: Row) -> str:
    marks = doubt(row)
    return f"{row.label} ({marks})" if marks else row.label


def _highest_speed(rows: Sequence[Row]) -> str:
    """Return the highest speed, which may be one trial's or tied."""
    timed = [
        (speed, _marked(row)) for row in rows if (speed := row.real_tokens_per_second) and row.concurrent == 1
    ]
    if not timed:
        return NOTHING
    speed, label = max(timed, key=lambda each: each[0])
    return f"{rate(speed, 'tokens/s')} {label}"


def _model(run: StoredRun) -> Model:
    rows = () if run.report is None else _eligible(run.report)
    return {
        "path": str(run.path),
        "suite": run.suite,
        "state": run.state,
        "started": None if run.started is None else run.started.isoformat(),
        "size_bytes": run.size_bytes,
        "trials": run.trials,
        "done": run.done,
        "highest_score": _highest_score(rows),
        "highest_speed": _highest_speed(rows),
        "problem": run.problem,
    }


@dataclass(frozen=True, slots=True)
class Kept:
    """One file under `baselines`: the day its report was created, what it has, and why it cannot be read."""

    name: str
    created: str | None = None
    content: str | None = None
    unreadable: str | None = None


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
            tuple(one.created or "unreadable:" for one in found),
            numeric=False,
            tones=tuple("bad" if one.unreadable else "" for one in found),
        ),
        Column("report", tuple(one.content or one.unreadable or "" for one in found), numeric=False),
    )
    return Document(
        kind="list of baselines",
        title=count(len(found), "baseline"),
        model={"baselines": [asdict(one) for one in found]},
        tables=(Table("Baselines", columns),),
        layout="rows",
    )


def exports_document(exported: Sequence[Exported], tracker: str, folder: str) -> Document:
    """Return one row a trial; `folder` is that of the tracker's store."""
    added = sum(each.added for each in exported)
    words = tuple("added" if each.added else "already there" for each in exported)
    return Document(
        kind="list of exports",
        title=f"{count(added, 'trial')} added to {tracker} in {folder}, {len(exported) - added} there before",
        model={
            "tracker": tracker,
            "folder": folder,
            "trials": [
                {"key": each.run.key, "name": each.run.name, "run": each.run.group, "added": each.added}
                for each in exported
            ],
        },
        tables=(
            Table(
                "Trials",
                (
                    Column("trial", tuple(each.run.name for each in exported), numeric=False),
                    Column("key", tuple(each.run.key for each in exported), numeric=False),
                    Column(
                        "status", tuple(each.run.tags["harness.status"] for each in exported), numeric=False
                    ),
                    Column("export", words, numeric=False),
                ),
            ),
        ),
        layout="lines",
    )
