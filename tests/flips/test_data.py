"""Damage to a data set's file before a run: refused by name, or another data set by its digests."""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from harness.data.corpus import Corpus
from harness.data.splits import read_corpus
from harness.errors import HarnessError
from harness.model.tasks import Task
from harness.running.preflight import RealAssets
from tests.flips.damage import Outcome, damage_each

Flips = Callable[[float], range]
Count = Callable[[str, Outcome], None]

SPLITS: Final = {"train": 24, "validation": 16}


def rows(count: int) -> list[dict[str, Any]]:
    return [{"text": f'sentence {at}, "quoted" ß é', "label": at % 2} for at in range(count)]


def write_jsonl(file: Path, content: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content))


def write_delimited(file: Path, content: list[dict[str, Any]]) -> None:
    with file.open("w", newline="") as opened:
        delimiter = "\t" if file.suffix == ".tsv" else ","
        writer = csv.DictWriter(opened, ("text", "label"), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(content)


def write_parquet(file: Path, content: list[dict[str, Any]]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").Table.from_pylist(content)
    parquet.write_table(table, file)


WRITERS: Final = {
    "jsonl": write_jsonl,
    "csv": write_delimited,
    "tsv": write_delimited,
    "parquet": write_parquet,
}


def read(task: Task) -> tuple[str | None, Corpus]:
    """What a run reads: the digest of the files and the corpus."""
    found = RealAssets("auto").data(task, lambda _note: None)
    return found.files_sha256, read_corpus(task, found)


def damage_data(
    name: str, task: Task, intact: Path, folder: Path, numbers: range, count: Callable[[str, Outcome], None]
) -> None:
    def restore() -> list[Path]:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(intact, folder)
        return sorted(folder.iterdir())

    def look(file: Path, draw: random.Random) -> Outcome:
        refusal: HarnessError | None = None
        try:
            digest, corpus = read(task)
        except HarnessError as error:
            refusal = error
        if refusal is not None:
            assert file.name in refusal.message, refusal.message
            outcome: Outcome = "refused"
        else:
            assert digest != wanted[0]
            same = (corpus.train, corpus.evaluation) == (wanted[1].train, wanted[1].evaluation)
            assert same == (corpus.content_sha256 == wanted[1].content_sha256)
            outcome = "no effect" if same else "another input"
        if draw.random() < 0.1:
            restore()
            assert read(task) == wanted
        return outcome

    restore()
    wanted = read(task)
    damage_each(name, numbers, restore, look, count)


@pytest.mark.parametrize("ending", WRITERS)
def test_a_damaged_file_of_a_folder_is_refused_or_another_data_set(
    ending: str, tmp_path: Path, flips: Flips, tally: Count
) -> None:
    (tmp_path / "intact").mkdir()
    for split, examples in SPLITS.items():
        WRITERS[ending](tmp_path / "intact" / f"{split}.{ending}", rows(examples))
    folder = tmp_path / "data"
    task = Task(dataset="sentences", config=None, data_dir=str(folder), text=("text",), max_length=16)
    damage_data("data", task, tmp_path / "intact", folder, flips(0.02), tally)


@pytest.mark.mrpc
def test_a_damaged_file_of_mrpc_is_refused_or_another_data_set(
    tmp_path: Path, mrpc_dir: Path, flips: Flips, tally: Count
) -> None:
    (tmp_path / "intact").mkdir()
    for name in ("train.tsv", "dev.tsv"):
        shutil.copyfile(mrpc_dir / name, tmp_path / "intact" / name)
    task = Task(data_dir=str(tmp_path / "data"))
    damage_data("mrpc", task, tmp_path / "intact", tmp_path / "data", flips(0.02), tally)
