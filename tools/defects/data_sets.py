"""Small data sets of every layout, written into a folder, so that defects of reading show in a trial."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import datasets

from harness.assets.embedded import checkpoint_folder
from harness.model.tasks import Limit, Task
from harness.model.values import Tokenization
from tools.defects.catalogue import Variant

_WORDS: Final = (
    "the company said shares of Acme rose after profit fell in March while Berlin officials met near old "
    "river bridges and asked why Markets closed early for summer fairs"
)
_NAMES: Final = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True, slots=True)
class Run:
    """A training on the data set that `write` writes into a folder; `axes` are those of its trial.

    With `lowers` false it starts from a checkpoint that differs from the embedded one in this alone.
    """

    write: Callable[[Path], Task]
    axes: Mapping[str, Any] = field(default_factory=dict)
    max_length: int | None = None
    lowers: bool = True


def _texts(seed: int, count: int, most: int = 20) -> Iterator[tuple[str, str, int]]:
    """Yield pairs of texts, each with a number from 0 to 2."""
    draw = random.Random(seed)  # noqa: S311 - sentences, not secrets
    words = _WORDS.split()
    for _ in range(count):
        one, other = (" ".join(draw.choices(words, k=draw.randint(4, most))) for _ in range(2))
        yield one, other, draw.randrange(3)


def write_csv(folder: Path) -> Task:
    """Write quotes, line breaks, columns in another order, two parts, and names out of their order."""
    names = ("train-00000-of-00002.csv", "train-00001-of-00002.csv", "validation.csv")
    for seed, name in enumerate(names):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["answer", "note", "question", "label"])
            for at, (one, other, label) in enumerate(_texts(seed, 40)):
                quoted = f'"{one}" he said' if at % 5 == 0 else one
                answer = f"{other},\nthen  more" if at % 7 == 0 else other
                rows.writerow([answer, at, quoted, ("yes", "maybe", "no")[label]])
    return _own(folder, ("question", "answer"))


def write_csv_again(folder: Path) -> Task:
    """Write the same labels and questions with other answers of the evaluation split."""
    task = write_csv(folder)
    path = folder / "validation.csv"
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *(["old river bridges", *row[1:]] for row in rows)])
    return task


def write_long(folder: Path) -> Task:
    """Write rows of up to 120 words."""
    for seed, name in enumerate(("train", "validation")):
        rows = [f"{one},{other},{label % 2}" for one, other, label in _texts(seed, 48, most=60)]
        (folder / f"{name}.csv").write_text("\n".join(["one,other,label", *rows]), encoding="utf-8")
    return _own(folder, ("one", "other"))


def write_jsonl(folder: Path) -> Task:
    """Write single texts with spaces at their ends, and classes from 1."""
    for seed, name in enumerate(("train", "validation")):
        rows = [
            json.dumps({"label": label + 1, "text": f"{one}\u2028{other} "}, ensure_ascii=False)
            for one, other, label in _texts(seed, 64)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return _own(folder, ("text",))


def write_parquet(folder: Path) -> Task:
    """Write two parts with declared classes out of the order of their names, and limit both splits."""
    text = datasets.Value("string")
    features = datasets.Features(
        {"one": text, "other": text, "label": datasets.ClassLabel(names=["same", "apart", "near"])}
    )
    names = ("train-00000-of-00002", "train-00001-of-00002", "validation")
    for seed, name in enumerate(names):
        columns = dict(zip(features, map(list, zip(*_texts(seed, 40), strict=True)), strict=True))
        datasets.Dataset.from_dict(columns, features=features).to_parquet(folder / f"{name}.parquet")
    return _own(folder, ("one", "other")).model_copy(update={"limit": Limit(train=50, eval=30)})


def write_mnli(folder: Path) -> Task:
    """Write GLUE's MNLI: two evaluation splits, and a label of one annotator beside that of most."""
    for seed, name in enumerate(("train", "dev_matched", "dev_mismatched")):
        rows = [
            f"{at}\t{one}\t{other}\t{_NAMES[at % 3]}\t{_NAMES[label]}"
            for at, (one, other, label) in enumerate(_texts(seed, 60 - 20 * bool(seed) - seed))
        ]
        header = "index\tsentence1\tsentence2\tlabel1\tgold_label"
        (folder / f"{name}.tsv").write_text("\n".join([header, *rows]), encoding="utf-8")
    splits = ("validation_matched", "validation_mismatched")
    return Task(config="mnli", text=("premise", "hypothesis"), eval_split=splits, data_dir=str(folder))


def write_cola(folder: Path) -> Task:
    """Write GLUE's CoLA, whose labelled files have no header."""
    for seed, name in enumerate(("train", "dev")):
        rows = [f"gj04\t{label % 2}\t*\t{one}" for one, _, label in _texts(seed, 48)]
        (folder / f"{name}.tsv").write_text("\n".join(rows), encoding="utf-8")
    return Task(config="cola", text=("sentence",), data_dir=str(folder))


def write_similarity(folder: Path) -> Task:
    """Write GLUE's STS-B, whose labels are numbers."""
    for seed, name in enumerate(("train", "dev")):
        rows = [
            f"{at}\t{one}\t{other}\t{label + at % 10 / 10:.3f}"
            for at, (one, other, label) in enumerate(_texts(seed, 48))
        ]
        (folder / f"{name}.tsv").write_text(
            "\n".join(["index\tsentence1\tsentence2\tscore", *rows]), encoding="utf-8"
        )
    return Task(config="stsb", kind="regression", data_dir=str(folder))


def _own(folder: Path, text: tuple[str, ...]) -> Task:
    return Task(dataset="owner/data", config=None, text=text, data_dir=str(folder))


def write_twin(folder: Path) -> Path:
    """Write the embedded checkpoint with a tokenizer that keeps capital letters, and the same config."""
    shutil.copytree(checkpoint_folder("embedded/bert-uncased"), folder)
    for name, key in (("tokenizer.json", "lowercase"), ("tokenizer_config.json", "do_lower_case")):
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        (content["normalizer"] if name == "tokenizer.json" else content)[key] = False
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


RUNS: Final[dict[Variant, tuple[Run, ...]]] = {
    "csv run": (Run(write_csv),),
    "jsonl run": (Run(write_jsonl),),
    "parquet run": (Run(write_parquet),),
    "mnli run": (Run(write_mnli),),
    "cola run": (Run(write_cola),),
    "similarity run": (Run(write_similarity),),
    "cut run": (Run(write_long, max_length=48),),
    "tokenizing run": (Run(write_csv, {"tokenization": Tokenization(method="map_batched")}),),
    # These share a cache of tokens.
    "runs of two lengths": (Run(write_long, max_length=48), Run(write_long)),
    "runs of two tokenizers": (Run(write_csv), Run(write_csv, lowers=False)),
    "runs of two data sets": (Run(write_csv), Run(write_csv_again)),
}
"""Variants that are trained on data of their own, one training after the other."""
