"""The card of a saved model: its scores, its training, and the digests of what it came from."""

from __future__ import annotations

from harness.analysis.gates.rules import replaced
from harness.analysis.naming import describe
from harness.model.assets import Data
from harness.model.metrics import metric_named
from harness.model.results import Report, TrialResult
from harness.output.document import Column, Document, Table
from harness.output.numbers import amount
from harness.store.saved_models import SavedModel

FRONT_MATTER = "---\nlibrary_name: transformers\npipeline_tag: text-classification\ntags: [harness]\n---\n\n"
"""What the Hub reads at the beginning of a card."""


def model_card(report: Report, result: TrialResult, saved: SavedModel, report_sha256: str) -> Document:
    """Return the card of a completed trial's model; `report_sha256` is the digest of the report's file."""
    checkpoint, data = result.checkpoint, result.data
    assert checkpoint is not None
    assert data is not None
    doubts = [replaced(result), f"it predicts {result.trial.task.collapsed}" if result.degenerate else None]
    return Document(
        kind="report",
        title=f"{checkpoint.name} fine-tuned on {data.name}",
        model=report,
        remarks=tuple(filter(None, doubts)),
        tables=(
            _scores(result),
            Table("Training", pairs=_training(result)),
            Table(
                "Origin",
                pairs=(
                    ("trial", result.trial.id),
                    ("run", f"{report.suite.name} {report.run}, harness {report.harness_version}"),
                    ("report.json, SHA-256", report_sha256),
                    ("weights of this model, SHA-256", saved.weights_sha256),
                    ("checkpoint", f"{checkpoint.name} from {checkpoint.source}"),
                    ("checkpoint commit", checkpoint.revision or "none"),
                    ("checkpoint weights, SHA-256", checkpoint.weights_sha256),
                    ("data", f"{data.name} from {data.source}, {data.revision or 'no revision'}"),
                    ("data content, SHA-256", data.content_sha256),
                ),
            ),
        ),
    )


def _scores(result: TrialResult) -> Table:
    assert result.data is not None
    scores = [
        each
        for each in result.measurements
        if metric_named(each.metric).family == "quality" and each.median is not None
    ]
    return Table(
        "Scores",
        (
            Column("metric", tuple(metric_named(each.metric).label for each in scores), numeric=False),
            Column("value", tuple(amount(each.metric, each.median) for each in scores)),
        ),
        notes=(f"of the last epoch, on {_examples(result.data)}",),
    )


def _examples(data: Data) -> str:
    of_each = ", ".join(f"{split} {examples}" for split, examples in data.eval_splits.items())
    return f"{data.eval_examples} examples{f': {of_each}' if of_each else ''}"


def _training(result: TrialResult) -> tuple[tuple[str, str], ...]:
    trial, checkpoint, data = result.trial, result.checkpoint, result.data
    assert checkpoint is not None
    assert data is not None
    settings = trial.train.model_dump(mode="json", exclude_defaults=True)
    return (
        ("variant", describe(trial)),
        ("seed", str(trial.seed)),
        ("settings", ", ".join(f"{name} {value}" for name, value in settings.items()) or "defaults"),
        ("inputs", ", ".join(checkpoint.columns)),
        ("truncation", f"{data.max_length} tokens"),
        ("classes", ", ".join(data.labels)),
    )
