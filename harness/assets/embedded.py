"""The files inside the package, which need no network: three small checkpoints and a corpus of each shape.

`SHA256SUMS` lists their digests; `python -m harness.assets.embedded` rewrites it after they change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from harness.assets.digest import file_sha256
from harness.errors import UnavailableError
from harness.model.tasks import GLUE, Task, glue_task

EMBEDDED_DATASET: Final = "embedded/pairs"
"""The corpus of MRPC's shape."""
EMBEDDED_CHECKPOINTS: Final = ("embedded/bert-uncased", "embedded/bert-cased", "embedded/distilbert")
EMBEDDED_CORPORA: Final = {
    EMBEDDED_DATASET: ("train", "validation", "test"),
    "embedded/sentences": ("train", "validation"),
    "embedded/entailment": ("train", "validation_matched", "validation_mismatched"),
    "embedded/similarity": ("train", "validation"),
}
"""The splits of each embedded corpus, by its name."""
# By GLUE's names: each has the splits and the number of classes of its stand-in.
_STAND_INS: Final = {
    "mrpc": EMBEDDED_DATASET,
    "qqp": EMBEDDED_DATASET,
    "qnli": EMBEDDED_DATASET,
    "rte": EMBEDDED_DATASET,
    "wnli": EMBEDDED_DATASET,
    "cola": "embedded/sentences",
    "sst2": "embedded/sentences",
    "mnli": "embedded/entailment",
    "stsb": "embedded/similarity",
}

EMBEDDED_FILES: Final = Path(__file__).parent / "embedded_files"


def checkpoint_folder(name: str) -> Path:
    """Return the folder of an embedded checkpoint, by a name from `EMBEDDED_CHECKPOINTS`."""
    return EMBEDDED_FILES / name.removeprefix("embedded/")


def corpus_files(name: str = EMBEDDED_DATASET) -> dict[str, tuple[str, ...]]:
    """Return the Parquet files of an embedded corpus, by split."""
    folder = EMBEDDED_FILES / name.removeprefix("embedded/")
    return {split: (str(folder / f"{split}.parquet"),) for split in EMBEDDED_CORPORA[name]}


def stand_in_corpus(task: Task) -> str | None:
    """Return the embedded corpus in the shape of a task of GLUE, or None.

    >>> stand_in_corpus(Task(config="sst2"))
    'embedded/sentences'
    """
    return None if glue_task(task) is None else _STAND_INS.get(task.config or "")


def columns_of_stand_in(corpus: str, task: Task) -> dict[str, str]:
    """Return the column of an embedded corpus by that of the task it replaces, for those with other names.

    >>> columns_of_stand_in("embedded/pairs", Task(config="qnli", text=("question", "sentence")))
    {'question': 'sentence1', 'sentence': 'sentence2'}
    """
    known = glue_task(task)
    if corpus != EMBEDDED_DATASET or known is None or task.text != known.text:
        return {}
    pairs = zip(known.text, GLUE["mrpc"].text, strict=True)
    return {name: found for name, found in pairs if name != found}


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


SUMS: Final = "SHA256SUMS"
_NAMED: Final = 3


def damage(folder: Path, sums: Mapping[str, str]) -> str | None:
    """Describe the first missing, unreadable, changed or unlisted files below `folder`; None if intact.

    `sums` maps paths below `folder` to SHA-256 digests. An unlisted file is damage because a library may read
    it: an adapter, a second vocabulary, a chat template. Hidden files are ignored, as libraries ignore them.
    """
    differences = (_difference(name, folder / name, expected) for name, expected in sums.items())
    clauses = [clause for clause in differences if clause]
    clauses += [
        f"{name} is an unexpected file: remove it" for name in _files_below(folder) if name not in sums
    ]
    more = [f"and {len(clauses) - _NAMED} more"] if len(clauses) > _NAMED else []
    return "; ".join([*clauses[:_NAMED], *more]) or None


def embedded_damage(part: str = "", folder: Path = EMBEDDED_FILES) -> str | None:
    """Describe the damage to the embedded files, or only to their folder `part`, such as `bert-cased`."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        return f"{SUMS} cannot be read ({error})"
    below = f"{part}/" if part else ""
    listed = {name: total for total, _, name in (line.partition("  ") for line in lines)}
    sums = {name.removeprefix(below): total for name, total in listed.items() if name.startswith(below)}
    return damage(folder / part, sums) if sums else f"{SUMS} lists no files of {part or 'the package'}"


def require_embedded(name: str) -> None:
    """Check that the files of `embedded/<part>` have their pinned digests.

    Raises:
        UnavailableError: files differ; the message names the first of them.
    """
    if found := embedded_damage(name.removeprefix("embedded/")):
        raise UnavailableError(f"{name} is damaged: {found}", hint="Install harness again.")


def write_sums(folder: Path = EMBEDDED_FILES) -> None:
    """Write the digests of all files in `folder`."""
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in _files_below(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def _difference(name: str, file: Path, expected: str) -> str | None:
    try:
        found = file_sha256(file)
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"
    return None if found == expected else f"{name} has SHA-256 {found}, expected {expected}"


def _files_below(folder: Path) -> list[str]:
    """Return the sorted paths of all files below `folder`, without hidden files and `SHA256SUMS`."""
    return sorted(
        path.as_posix() for path in _relative(folder) if path.name != SUMS and not path.name.startswith(".")
    )


def _relative(folder: Path) -> Iterable[Path]:
    for entry in folder.rglob("*"):
        if entry.is_symlink() or not entry.is_dir():
            yield entry.relative_to(folder)


if __name__ == "__main__":
    write_sums()
