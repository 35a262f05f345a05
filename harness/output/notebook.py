"""A result in a notebook: its page, and the trials, steps and predictions of a report as data frames."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any

from harness.analysis.comparison.models import Comparison
from harness.analysis.gates.cases import GateReport
from harness.errors import UnavailableError
from harness.model.results import Report
from harness.output.builders.comparison_page import comparison_document
from harness.output.builders.gate_report import gates_document
from harness.output.builders.report import report_document
from harness.output.builders.trials import plain_seed, trial_records
from harness.output.document import Document
from harness.output.formats.known_formats import render


def page(result: Report | Comparison | GateReport) -> str:
    """Return the page of a result in a frame, so that its styles do not reach the rest of the notebook."""
    shown = html.escape(render(_document(result), "html"), quote=True)
    return f'<iframe sandbox srcdoc="{shown}" style="width: 100%; height: 40em; border: 0"></iframe>'


def _document(result: Report | Comparison | GateReport) -> Document:
    if isinstance(result, Report):
        return report_document(result, verify=True)
    return comparison_document(result) if isinstance(result, Comparison) else gates_document(result)


def trials(report: Report) -> Any:
    """Return one row a trial, with the columns of the CSV format, in base units."""
    return _frame(trial_records(report, report.results))


def steps(report: Report) -> Any:
    """Return one row a timed step: trial, variant, seed, step from 1, and seconds."""
    return _frame(_steps(report))


def _steps(report: Report) -> Iterator[dict[str, object]]:
    for result in report.results:
        found = result.measurement("train_step_seconds")
        for step, seconds in enumerate(found.values if found is not None else (), start=1):
            yield {
                "trial": result.trial.id,
                "variant": result.trial.variant_id,
                "seed": plain_seed(result.trial.seed),
                "step": step,
                "train_step_seconds": seconds,
            }


def predictions(report: Report) -> Any:
    """Return one row a trial and example: its label, the predicted class, and the logits as a list.

    With several evaluation splits each row has the name of its split.
    """
    return _frame(_predictions(report))


def _predictions(report: Report) -> Iterator[dict[str, object]]:
    for result in report.results:
        if (kept := result.predictions) is None:
            continue
        splits = [split for split, examples in kept.splits.items() for _ in range(examples)]
        examples = zip(kept.example_ids, kept.labels, kept.logits, strict=True)
        for place, (example, label, logits) in enumerate(examples):
            yield {
                "trial": result.trial.id,
                "variant": result.trial.variant_id,
                "seed": plain_seed(result.trial.seed),
                **({"split": splits[place]} if splits else {}),
                "example": example,
                "label": label,
                "predicted": max(range(len(logits)), key=logits.__getitem__),
                "logits": list(logits),
            }


def _frame(rows: Iterable[Mapping[str, object]]) -> Any:
    """Return a pandas DataFrame, or without pandas a pyarrow Table.

    Raises:
        UnavailableError: neither is installed.
    """
    listed = [dict(row) for row in rows]
    for package, make in (("pandas", "DataFrame"), ("pyarrow", "Table")):
        try:
            kind = getattr(import_module(package), make)
        except ImportError:
            continue
        return kind(listed) if package == "pandas" else kind.from_pylist(listed)
    raise UnavailableError(
        "a data frame needs pandas or pyarrow, and neither is installed",
        hint="Install pandas, or the extra `train` of harness, which contains pyarrow.",
    )
