"""The other embedded corpora: single sentences, pairs in three classes, and pairs with a number.

They have the columns and splits of GLUE's SST-2 (and CoLA), MNLI and STS-B, and are made of the events of
`tools.embedded.corpus` by a seed. A sentence is of class 1 if its event happened, and 0 if its opposite did.
A hypothesis follows from a premise about the same event, contradicts one in which facts differ, and is
neutral to one about another event. The similarity of a pair, from 0 to 5, falls with the number of different
facts, and is lowest for two events. A share of the labels (`DISAGREEMENT`) is drawn at random.

`python -m tools.embedded.shapes FOLDER` writes a folder for each, with its splits as Parquet files.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tools.embedded.corpus import (
    DISAGREEMENT,
    draw_event,
    facts_to_change,
    tell,
    with_changes,
    with_less,
)

SHAPES_VERSION: Final = "1"
TRAIN, VALIDATION = 600, 150
# In facts that differ: none, one, two, three, and another event. STS-B's scores are means over annotators.
_SIMILARITY: Final = (4.6, 3.4, 2.8, 2.2, 0.6)
_SPREAD: Final = 0.4

Row = tuple[str | int | float, ...]
Draw = Callable[[random.Random], Row]


def _sentence(stream: random.Random) -> Row:
    told = draw_event(stream)
    agrees = stream.random() >= DISAGREEMENT
    return tell(stream, told), int(told.happened == agrees)


def _entailment(stream: random.Random) -> Row:
    label = stream.randrange(3)
    kind = label if stream.random() >= DISAGREEMENT else stream.randrange(3)
    premise = draw_event(stream)
    different = facts_to_change(stream, premise) if kind == 2 else set()
    second = draw_event(stream) if kind == 1 else with_changes(stream, premise, different)
    return tell(stream, premise), tell(stream, with_less(stream, second, different)), label


def _similarity(stream: random.Random) -> Row:
    first = draw_event(stream)
    kind = stream.randrange(3)
    different = facts_to_change(stream, first) if kind == 1 else set()
    second = draw_event(stream) if kind == 2 else with_changes(stream, first, different)
    score = _SIMILARITY[-1 if kind == 2 else len(different)] + stream.gauss(0, _SPREAD)
    if stream.random() < DISAGREEMENT:
        score = stream.uniform(0, 5)
    texts = tell(stream, first), tell(stream, with_less(stream, second, different))
    return *texts, round(min(max(score, 0.0), 5.0), 1)


_PAIR: Final = ("sentence1", "sentence2", "label")
# By folder: the columns, how a row is drawn, and the rows of each split.
SHAPES: Final[Mapping[str, tuple[tuple[str, ...], Draw, Mapping[str, int]]]] = {
    "sentences": (("sentence", "label"), _sentence, {"train": TRAIN, "validation": VALIDATION}),
    "entailment": (
        ("premise", "hypothesis", "label"),
        _entailment,
        {"train": TRAIN, "validation_matched": VALIDATION, "validation_mismatched": VALIDATION},
    ),
    "similarity": (_PAIR, _similarity, {"train": TRAIN, "validation": VALIDATION}),
}


def generate(shape: str, seed: int = 0) -> dict[str, list[Row]]:
    """Return the rows of each split; no texts occur twice."""
    _, draw, splits = SHAPES[shape]
    stream = random.Random(f"{SHAPES_VERSION}:{shape}:{seed}")  # noqa: S311 - sentences, not secrets
    rows = _distinct(draw, stream)
    return {split: [next(rows) for _ in range(count)] for split, count in splits.items()}


def _distinct(draw: Draw, stream: random.Random) -> Iterator[Row]:
    seen: set[Row] = set()
    while True:
        row = draw(stream)
        texts = row[:-1]
        if texts not in seen and len(set(texts)) == len(texts):
            seen.add(texts)
            yield row


def write(folder: Path) -> None:
    """Write every corpus below a folder, in the schema of its task of GLUE."""
    import pyarrow as pa  # noqa: PLC0415 - only needed to build the corpora
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    for shape, (names, _, _) in SHAPES.items():
        (folder / shape).mkdir(parents=True, exist_ok=True)
        for split, rows in generate(shape).items():
            *texts, labels = (list(column) for column in zip(*rows, strict=True))
            kind = pa.float32() if shape == "similarity" else pa.int64()
            columns = {
                **dict(zip(names, texts, strict=False)),
                "label": pa.array(labels, kind),
                "idx": pa.array(range(len(rows)), pa.int32()),
            }
            pq.write_table(pa.table(columns), folder / shape / f"{split}.parquet", compression="zstd")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
