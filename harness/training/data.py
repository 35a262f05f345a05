"""Reading a data set: the splits, checked and hashed, whatever they came from."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, concatenate_datasets, load_dataset
from datasets.exceptions import DatasetsError

from harness.assets.models import ResolvedData
from harness.job import TrialStoppedError
from harness.trial import Task

# Split sizes and label names of the published corpus; the test split is not read.
MRPC_EXAMPLES: Final = {"train": 3_668, "validation": 408}
MRPC_LABELS: Final = ("not_equivalent", "equivalent")

_BUILDERS: Final = {".jsonl": "json", ".json": "json", ".csv": "csv", ".tsv": "csv"}


@dataclass(frozen=True, slots=True)
class Split:
    """One split: `texts` has one tuple of one or two texts an example, `labels` its class from 0."""

    texts: list[tuple[str, ...]]
    labels: list[int]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Corpus:
    """The training and the evaluation split, their label names, and the SHA-256 over all of it."""

    train: Split
    evaluation: Split
    label_names: tuple[str, ...]
    content_sha256: str

    @property
    def majority_share(self) -> float:
        """Share of the most frequent label in the evaluation split: what a constant answer scores."""
        return Counter(self.evaluation.labels).most_common(1)[0][1] / len(self.evaluation)


def load_corpus(task: Task, data: ResolvedData) -> Corpus:
    """Read both splits of a task.

    Raises:
        TrialStoppedError: `failed`, for a file, column, label or count that is not what the task says.
    """
    if data.layout == "glue":
        splits = {name: _read_glue(Path(data.files[name][0])) for name in ("train", "validation")}
    elif data.layout == "microsoft":
        splits = _read_microsoft(Path(data.files["train"][0]), Path(data.files["dev_ids"][0]))
    else:
        return _load_generic(task, data)
    return _corpus(task, data, splits["train"], splits["validation"], MRPC_LABELS)


def _corpus(
    task: Task, data: ResolvedData, train: Split, evaluation: Split, names: tuple[str, ...]
) -> Corpus:
    for split_name, split in ((task.train_split, train), (task.eval_split, evaluation)):
        _check_split(data, split_name, split, len(names))
    if task.name == "glue/mrpc" and not data.synthetic:
        found = {"train": len(train), "validation": len(evaluation)}
        if found != MRPC_EXAMPLES:
            raise _wrong(data, f"MRPC has {MRPC_EXAMPLES} examples, here are {found}", "get the files again")
    digest = hashlib.sha256()
    for split in (train, evaluation):
        for texts, label in zip(split.texts, split.labels, strict=True):
            for text in (*texts, str(label)):
                encoded = text.encode()
                digest.update(len(encoded).to_bytes(8, "little"))
                digest.update(encoded)
    return Corpus(train, evaluation, names, digest.hexdigest())


def _check_split(data: ResolvedData, name: str, split: Split, classes: int) -> None:
    if not len(split):
        raise _wrong(data, f"split {name!r} is empty", "give a file with at least one example")
    if wrong := sorted({label for label in split.labels if not 0 <= label < classes}):
        raise _wrong(
            data, f"split {name!r} has labels {wrong} outside 0 to {classes - 1}", "train on a labelled split"
        )


def _read_glue(path: Path) -> Split:
    """GLUE's `train.tsv` and `dev.tsv`: five columns, no quoting, a byte order mark or none."""
    rows = _tab_separated(path)
    return Split([(row[3], row[4]) for row in rows], [int(row[0]) for row in rows])


def _read_microsoft(train: Path, dev_ids: Path) -> dict[str, Split]:
    """Microsoft's one training file; GLUE's development split is listed by the ids of its sentences."""
    held_out = {(row[0], row[1]) for row in _tab_separated(dev_ids, columns=2, header=False)}
    splits = {"train": Split([], []), "validation": Split([], [])}
    for row in _tab_separated(train):
        split = splits["validation" if (row[1], row[2]) in held_out else "train"]
        split.texts.append((row[3], row[4]))
        split.labels.append(int(row[0]))
    return splits


def _tab_separated(path: Path, *, columns: int = 5, header: bool = True) -> list[list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrialStoppedError(
            "failed", f"{path.name}: byte {error.start} is not UTF-8", hint="get the file again"
        ) from error
    # Only "\n" ends a row: a sentence may hold any other of Unicode's line ends, and quotes mean nothing.
    rows = [line.removesuffix("\r").split("\t") for line in text.split("\n") if line.strip("\r")]
    for number, row in enumerate(rows, start=1):
        labelled = columns == 2 or number == 1 or row[0] in ("0", "1")
        if len(row) != columns or not labelled:
            raise TrialStoppedError(
                "failed",
                f"{path.name}:{number}: expected {columns} tab-separated columns with a label 0 or 1 first, "
                f"found {len(row)}",
                hint="the files must be GLUE's or Microsoft's own, unchanged",
            )
    return rows[1:] if header else rows


def _load_generic(task: Task, data: ResolvedData) -> Corpus:
    train, evaluation = (_read_split(data, name) for name in (task.train_split, task.eval_split))
    for name, split in ((task.train_split, train), (task.eval_split, evaluation)):
        if missing := [column for column in (*task.text, task.label) if column not in split.column_names]:
            raise _wrong(
                data,
                f"split {name!r} has no column {', '.join(map(repr, missing))}; "
                f"it has {', '.join(split.column_names)}",
                "name the columns in the suite: task: {text: [...], label: ...}",
            )
    names = _label_names(task, data, train, evaluation)
    return _corpus(task, data, _split(task, train, names), _split(task, evaluation, names), names)


def _read_split(data: ResolvedData, name: str) -> Dataset:
    if name not in data.files:
        raise _wrong(
            data,
            f"there is no split {name!r}; there are {', '.join(data.files)}",
            "set task.train_split or eval_split",
        )
    return concatenate_datasets([_read_part(data, name, Path(part)) for part in data.files[name]])


def _read_part(data: ResolvedData, name: str, path: Path) -> Dataset:
    if not path.stat().st_size:
        raise _wrong(data, f"split {name!r} ({path.name}) is empty", "give a file with at least one example")
    try:
        return _read_file(path)
    except (DatasetsError, ValueError, OSError) as error:
        cause = error.__cause__ or error
        said = str(cause).strip().splitlines() or [""]
        raise _wrong(
            data,
            f"split {name!r} ({path.name}) cannot be read: {type(cause).__name__}: {said[0]}",
            f"it must be a {path.suffix.removeprefix('.')} file with at least one example",
        ) from error


def _read_file(path: Path) -> Dataset:
    if path.suffix == ".parquet":
        # A builder takes 15 ms a file to find that it has prepared it before, and another 5 to name the
        # result by a hash; a whole trial may take 200.
        return Dataset(pq.ParquetFile(path).read(), fingerprint=path.stem)
    options = {"delimiter": "\t"} if path.suffix == ".tsv" else {}
    return load_dataset(_BUILDERS[path.suffix], data_files=str(path), split="train", **options)


def _label_names(task: Task, data: ResolvedData, *splits: Dataset) -> tuple[str, ...]:
    feature = splits[0].features[task.label]
    if isinstance(feature, ClassLabel):
        names = tuple(feature.names)
    else:
        values = sorted({value for split in splits for value in split[task.label][:]}, key=str)
        integers = bool(values) and all(isinstance(value, int) for value in values)
        names = tuple(map(str, range(max(values) + 1))) if integers else tuple(map(str, values))
    if task.name == "glue/mrpc":
        if len(names) == 2 and not isinstance(feature, ClassLabel):
            names = MRPC_LABELS
        if names != MRPC_LABELS:
            raise _wrong(data, f"MRPC's labels are {MRPC_LABELS}, here are {names}", "get the files again")
    if len(names) < 2:
        raise _wrong(data, f"column {task.label!r} has a single value", "classification needs two classes")
    return names


def _split(task: Task, rows: Dataset, names: tuple[str, ...]) -> Split:
    # Without [:] a column gives its values one at a time, which takes twenty times as long.
    texts = list(zip(*(rows[column][:] for column in task.text), strict=True))
    labels = [value if isinstance(value, int) else names.index(str(value)) for value in rows[task.label][:]]
    return Split(texts, labels)


def _wrong(data: ResolvedData, what: str, hint: str) -> TrialStoppedError:
    return TrialStoppedError("failed", f"data set {data.name} ({data.source}): {what}", hint=hint)
