"""Small data sets in every format, and reading them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.data.corpus import Corpus
from harness.data.splits import read_corpus
from harness.model.assets import ResolvedData
from harness.model.tasks import Task

HEADER = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
OWN = Task(dataset="owner/pairs", config=None, text=("a", "b"), label="y")
GOOD = ({"a": "x", "b": "y", "y": 0}, {"a": "p", "b": "q", "y": 1})


def resolved(files: Mapping[str, Path | Sequence[Path]], layout: str = "files") -> ResolvedData:
    return ResolvedData.model_validate(
        {
            "requested": "owner/pairs",
            "name": "owner/pairs",
            "source": "folder",
            "layout": layout,
            "files": {
                name: (str(parts),) if isinstance(parts, Path) else tuple(map(str, parts))
                for name, parts in files.items()
            },
        }
    )


def write_jsonl(path: Path, *rows: Mapping[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_mrpc(path: Path, *rows: str, bom: bool = False, end: str = "\n") -> Path:
    path.write_bytes((("\ufeff" if bom else "") + end.join([HEADER, *rows, ""])).encode())
    return path


def read_rows(
    folder: Path,
    train: Sequence[Mapping[str, object]],
    evaluation: Sequence[Mapping[str, object]] | None = None,
    **task: object,
) -> Corpus:
    """The corpus of these rows as JSON Lines; evaluation on the training rows unless others are given."""
    files = {
        "train": write_jsonl(folder / "train.jsonl", *train),
        "validation": write_jsonl(
            folder / "validation.jsonl", *(train if evaluation is None else evaluation)
        ),
    }
    return read_corpus(OWN.model_copy(update=task), resolved(files))


def labelled(*labels: object) -> list[dict[str, object]]:
    """A row of different texts for each label."""
    return [{"a": f"a{at}", "b": f"b{at}", "y": label} for at, label in enumerate(labels)]
