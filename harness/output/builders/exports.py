"""Exported trials as a document: one row each, with its key in the tracker and whether it was added."""

from __future__ import annotations

from collections.abc import Sequence

from harness.output.document import Column, Document, Table
from harness.output.trackers.registry import Exported
from harness.words import count


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
