"""The assets inside the package, which need no network: three small checkpoints and one corpus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

EMBEDDED_DATASET: Final = "embedded/pairs"
EMBEDDED_CHECKPOINTS: Final = ("embedded/bert-uncased", "embedded/bert-cased", "embedded/distilbert")
CORPUS_SPLITS: Final = ("train", "validation", "test")

EMBEDDED_FILES: Final = Path(__file__).parent / "embedded_files"


def checkpoint_folder(name: str) -> Path:
    """Return the folder of an embedded checkpoint, by a name from `EMBEDDED_CHECKPOINTS`."""
    return EMBEDDED_FILES / name.removeprefix("embedded/")


def corpus_files() -> dict[str, tuple[str, ...]]:
    """Return the Parquet files of the embedded corpus, by split."""
    return {split: (str(EMBEDDED_FILES / "pairs" / f"{split}.parquet"),) for split in CORPUS_SPLITS}


def stand_in_for(name: str) -> str | None:
    """Return the embedded checkpoint of the same family, judged by the name alone, or None.

    The families are BERT with an uncased vocabulary, BERT with a cased one, and DistilBERT. RoBERTa, ALBERT,
    DeBERTa and names of no known family have no stand-in.
    """
    last = name.rstrip("/").rsplit("/", 1)[-1].lower()
    if last == "minilm":
        return "embedded/bert-uncased"
    if re.search(r"(^|[-_])distilbert([-_]|$)", last):
        return "embedded/distilbert"
    if re.search(r"(^|[-_])bert([-_]|$)", last):
        for case in ("uncased", "cased"):
            if re.search(rf"(^|[-_]){case}([-_]|$)", last):
                return f"embedded/bert-{case}"
    return None
