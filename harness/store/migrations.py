"""Migrations of stored JSON: each schema version is turned into the next one before it is validated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Document = dict[str, Any]

_SCORES_OF_1: Final = ("eval_accuracy", "eval_f1", "eval_mcc", "eval_loss")


def migrate(document: Document, version: int, current: int) -> Document:
    """Return a document of schema `version` as one of schema `current`; the original is not changed."""
    for old in range(version, current):
        document = MIGRATIONS[old](document) | {"schema_version": old + 1}
    return document


def _scores_by_metric(document: Document) -> Document:
    """Move the four score fields of each epoch into its `scores`.

    The document is a report, a trial's `result.json`, or a plan, which has no results. An epoch that lacks
    a field is left alone, so that validation refuses it.
    """
    migrated = dict(document)
    for key in ("results", "proofs", "training_proofs"):
        if isinstance(results := document.get(key), list):
            migrated[key] = [_result_of_2(result) for result in results]
    if "result" in document:
        migrated["result"] = _result_of_2(document["result"])
    return migrated


def _result_of_2(result: Any) -> Any:
    if not isinstance(result, dict) or not isinstance(result.get("epochs"), list):
        return result
    return result | {"epochs": [_epoch_of_2(epoch) for epoch in result["epochs"]]}


def _epoch_of_2(epoch: Any) -> Any:
    if not isinstance(epoch, dict) or "scores" in epoch or not epoch.keys() >= set(_SCORES_OF_1):
        return epoch
    kept = {name: value for name, value in epoch.items() if name not in _SCORES_OF_1}
    return kept | {"scores": {metric: epoch[metric] for metric in _SCORES_OF_1}}


# By the version of the stored document. Each function returns it in the next version.
MIGRATIONS: Final[dict[int, Callable[[Document], Document]]] = {1: _scores_by_metric}
