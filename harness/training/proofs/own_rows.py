"""Checks that a trial trains and evaluates on the rows of its files, and on the tokens of these.

A proof trains on generated rows. Here every text, label and split is read from the files once more by other
code, some rows are tokenised again, and the numbers that describe the data are counted again.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from transformers import AutoTokenizer

from harness.model.assets import Data, ResolvedData
from harness.model.job import Job, TrialStoppedError
from harness.model.tasks import Task, glue_task
from harness.training.input_files import verify_inputs
from harness.training.loading import Corpus
from harness.training.proofs.file_rows import Cells, declared_names, name_problems, rows_of
from harness.training.proofs.function import spread
from harness.training.proofs.token_arrays import wrong_rows
from harness.training.tokenizing.tokens import Tokenized, TokenizedSplit

_MOST_NAMED: Final = 3
_ROWS_BY_LENGTH: Final = 8
_ROWS_BY_PLACE: Final = 9
# Rows that `Dataset.map` tokenises together.
_BATCH: Final = 1000
_MOST_AT_LIMIT: Final = 128
_DIGITS: Final = 12


def check_rows(job: Job, corpus: Corpus, tokens: Tokenized, described: Data) -> None:
    """Compare a trial's rows, tokens and description of its data with its files.

    Args:
        job: of the trial.
        corpus: the rows as the trial has read them.
        tokens: their tokens, perhaps from the cache.
        described: the data as the result keeps it.

    Raises:
        TrialStoppedError: `failed`, naming the first differences, or the file that changed meanwhile.
    """
    found = _Counted(corpus.label_names)
    problems = list(islice(_row_problems(job.trial.task, job.data, corpus, found), _MOST_NAMED))
    if not problems:
        problems = list(islice(_token_problems(job, corpus, tokens), _MOST_NAMED))
    if not problems:
        problems = list(islice(_described_problems(job.data, described, found, tokens), _MOST_NAMED))
    if problems:
        verify_inputs(job)
        raise TrialStoppedError(
            "failed",
            f"the trial has other data than its files: {'; '.join(problems)}",
            hint="the reading is at fault, not the files: run the suite again with an empty cache, and "
            "report it if it fails again",
        )


@dataclass(slots=True)
class _Counted:
    """Counts of rows by split and of repeated texts while files are read, and a digest of all rows."""

    labels: Sequence[str]
    digest: Any = field(default_factory=hashlib.sha256)
    train: set[tuple[object, ...]] = field(default_factory=set)
    rows: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    leaked: int = 0
    majority: float = 0.0

    def read(self, rows: Iterator[tuple[tuple[object, ...], int | float]]) -> Iterator[object]:
        """Yield the rows of the next split, and count them; the first one is the training split."""
        seen: set[tuple[object, ...]] = set()
        classes: Counter[float] = Counter()
        for texts, label in rows:
            for part in (*texts, label):
                content = str(part).encode()
                self.digest.update(len(content).to_bytes(8, "little"))
                self.digest.update(content)
            seen.add(texts)
            classes[label] += 1
            self.leaked += bool(self.rows) and texts in self.train
            yield texts, label
        count = classes.total()
        if not self.rows:
            self.train = seen
        elif len(self.rows) == 1:
            self.majority = max(classes.values(), default=0) / max(count, 1)
        self.rows.append(count)
        self.repeated.append(count - len(seen))


def _row_problems(task: Task, data: ResolvedData, corpus: Corpus, found: _Counted) -> Iterator[str]:
    """Yield the first difference of each split."""
    yield from name_problems(task, data)
    names, numbers = _classes(task, data)
    if names != corpus.label_names:
        yield f"the labels are {', '.join(corpus.label_names)}, due {', '.join(names)}"
        return
    limit = (None, None) if task.limit is None else (task.limit.train, task.limit.eval)
    evaluated = zip(corpus.evaluation.texts, corpus.evaluation.labels, strict=True)
    for at, split in enumerate((task.train_split, *task.eval_splits)):
        due = _labelled(islice(rows_of(task, data, split), limit[min(at, 1)]), numbers)
        given: Iterator[object] = iter(zip(corpus.train.texts, corpus.train.labels, strict=True))
        if at:
            count = corpus.splits.get(split) if corpus.splits else None
            given = islice(evaluated, count)
        for row, (one, other) in enumerate(zip_longest(given, found.read(due)), start=1):
            if one != other:
                yield f"row {row} of split {split!r} {_apart(one, other)}"
                return
    if list(corpus.splits) != ([*task.eval_splits] if len(task.eval_splits) > 1 else []):
        yield f"the evaluation splits are {', '.join(corpus.splits)}, due {', '.join(task.eval_splits)}"


def _apart(one: object, other: object) -> str:
    if one is None or other is None:
        return f"is {'missing' if one is None else 'not in the files'}"
    assert isinstance(one, tuple)
    assert isinstance(other, tuple)
    return f"has {'another label' if one[0] == other[0] else 'other texts'} than its file gives"


def _classes(task: Task, data: ResolvedData) -> tuple[tuple[str, ...], dict[object, int] | None]:
    """Return the names of the outputs, and the class of each label; None of a regression."""
    if task.kind == "regression":
        return (task.label,), None
    known = glue_task(task)
    names = known.labels if known is not None else declared_names(task, data)
    limit = None if task.limit is None else task.limit.train
    labels = {row[-1] for row in islice(rows_of(task, data, task.train_split), limit)}
    texts = any(isinstance(label, str) for label in labels)
    if names:
        return names, {name if texts else at: at for at, name in enumerate(names)}
    ordered = sorted(labels, key=str if texts else lambda label: int(str(label)))
    return tuple(map(str, ordered)), {label: at for at, label in enumerate(ordered)}


def _labelled(
    rows: Iterator[Cells], numbers: dict[object, int] | None
) -> Iterator[tuple[tuple[object, ...], int | float]]:
    for *texts, label in rows:
        yield (
            tuple(texts),
            float(np.float32(str(label))) if numbers is None else numbers.get(label, -1),
        )


def _token_problems(job: Job, corpus: Corpus, tokens: Tokenized) -> Iterator[str]:
    """Yield how many of some rows have other tokens than their texts give, and counts that are not theirs."""
    folder, splits = Path(job.checkpoint.path), []
    for split, arrays in ((corpus.train, tokens.train), (corpus.evaluation, tokens.evaluation)):
        if len(arrays.offsets) != len(split) + 1:
            yield f"{len(arrays.offsets) - 1:,} rows have tokens, due {len(split):,}"
            return
        splits.append((split, arrays, _places(arrays)))
    if wrong := wrong_rows(folder, tokens.max_length, splits):
        looked = sum(len(rows) for _, _, rows in splits)
        yield f"{wrong} of {looked} rows have other tokens or labels than their texts give"
    cut = [(split, _at_limit(arrays, tokens.max_length)) for split, arrays, _ in splits]
    at_limit = sum(len(rows) for _, rows in cut)
    if tokens.truncated > at_limit:
        yield f"{tokens.truncated:,} rows count as truncated, and {at_limit:,} are as long as the limit"
    elif 0 < at_limit <= _MOST_AT_LIMIT:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        longer = sum(
            len(tokenizer(*split.texts[row], verbose=False)["input_ids"]) > tokens.max_length
            for split, rows in cut
            for row in rows
        )
        if longer != tokens.truncated:
            yield f"{tokens.truncated:,} rows count as truncated, due {longer:,}"


def _places(split: TokenizedSplit) -> list[int]:
    """Return rows of all lengths and all places, those at the edges of tokenised batches among them."""
    last = len(split) - 1
    edges = [0, 1, _BATCH - 1, _BATCH, last - 1, last]
    even = np.linspace(0, last, _ROWS_BY_PLACE).round().astype(int).tolist()
    by_length = spread(split.lengths, min(_ROWS_BY_LENGTH, len(split))).tolist()
    return sorted({row for row in (*edges, *even, *by_length) if 0 <= row <= last})


def _at_limit(split: TokenizedSplit, max_length: int) -> list[int]:
    found: list[int] = np.flatnonzero(_lengths(split) == max_length).tolist()
    return found


def _lengths(split: TokenizedSplit) -> npt.NDArray[np.int64]:
    return split.offsets[1:] - split.offsets[:-1]


def _described_problems(
    data: ResolvedData, described: Data, found: _Counted, tokens: Tokenized
) -> Iterator[str]:
    """Yield each number of a result's data that is not the one of the files and tokens."""
    train, evaluation = _lengths(tokens.train), _lengths(tokens.evaluation)
    repeated = described.duplicates
    splits = found.rows[1:]
    for name, given, due in (
        ("content_sha256", described.content_sha256[:_DIGITS], found.digest.hexdigest()[:_DIGITS]),
        ("files_sha256", (described.files_sha256 or "")[:_DIGITS], _digest_of_files(data)[:_DIGITS]),
        ("labels", tuple(described.labels), tuple(found.labels)),
        ("train_examples", described.train_examples, found.rows[0]),
        ("eval_examples", described.eval_examples, sum(splits)),
        ("eval_splits", [*described.eval_splits.values()], splits if len(splits) > 1 else []),
        ("eval_majority_share", described.eval_majority_share, found.majority),
        (
            "duplicates",
            repeated and (repeated.train, repeated.evaluation, repeated.leaked),
            (found.repeated[0], sum(found.repeated[1:]), found.leaked),
        ),
        ("longest", described.longest, int(max(train.max(), evaluation.max()))),
        ("mean_length", described.mean_length, float(train.sum() / len(train))),
        ("truncated", described.truncated, tokens.truncated),
        ("max_length", described.max_length, tokens.max_length),
    ):
        close = isinstance(given, float) and isinstance(due, float) and math.isclose(given, due, rel_tol=1e-9)
        if given != due and not close:
            yield f"{name} is {given}, due {due}"


def _digest_of_files(data: ResolvedData) -> str:
    """Return the SHA-256 of a line for each file, its digest and its split, in the order of the splits."""
    lines = []
    for split, parts in sorted(data.files.items()):
        for part in parts:
            with Path(part).open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {split}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()
