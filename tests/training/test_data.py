from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.assets.models import ResolvedData
from harness.job import TrialStoppedError
from harness.training.data import load_corpus
from harness.trial import Task

pytestmark = pytest.mark.heavy
HEADER = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"


def folder_data(files: dict[str, Path], layout: str = "glue") -> ResolvedData:
    return ResolvedData.model_validate(
        {
            "requested": "glue/mrpc",
            "name": "MRPC",
            "source": "folder",
            "layout": layout,
            "files": {name: (str(path),) for name, path in files.items()},
        }
    )


@pytest.mark.mrpc
def test_the_real_corpus_in_both_layouts_is_the_same_text(mrpc_dir: Path) -> None:
    glue = folder_data({"train": mrpc_dir / "train.tsv", "validation": mrpc_dir / "dev.tsv"})
    microsoft = folder_data(
        {"train": mrpc_dir / "msr_paraphrase_train.txt", "dev_ids": mrpc_dir / "dev_ids.tsv"}, "microsoft"
    )
    corpus = load_corpus(Task(), glue)
    assert (len(corpus.train), len(corpus.evaluation)) == (3_668, 408)
    assert corpus.majority_share == pytest.approx(279 / 408)
    assert corpus.train.texts[0][0].startswith('Amrozi accused his brother, whom he called "the witness", ')
    other = load_corpus(Task(), microsoft)
    assert sorted(other.train.texts) == sorted(corpus.train.texts)
    assert sorted(other.evaluation.texts) == sorted(corpus.evaluation.texts)


@pytest.mark.mrpc
def test_a_truncated_corpus_is_refused_with_both_counts(mrpc_dir: Path, tmp_path: Path) -> None:
    lines = (mrpc_dir / "train.tsv").read_bytes().split(b"\n")
    (tmp_path / "train.tsv").write_bytes(b"\n".join(lines[:-100]))
    data = folder_data({"train": tmp_path / "train.tsv", "validation": mrpc_dir / "dev.tsv"})
    with pytest.raises(TrialStoppedError, match=r"'train': 3668.*'train': 35\d\d"):
        load_corpus(Task(), data)


def write_rows(path: Path, *rows: str, bom: bool = False, end: str = "\n") -> Path:
    path.write_bytes((("﻿" if bom else "") + end.join([HEADER, *rows, ""])).encode())
    return path


def test_quotes_and_foreign_line_ends_are_text_and_a_byte_order_mark_is_not(tmp_path: Path) -> None:
    rows = ['1\t1\t2\t" open\tb', "0\t3\t4\tc\x85d \x0b e\tf"]
    task = Task(dataset="owner/pairs", config=None)
    for bom, end in ((False, "\n"), (True, "\r\n")):
        path = write_rows(tmp_path / "train.tsv", *rows, bom=bom, end=end)
        corpus = load_corpus(task, folder_data({"train": path, "validation": path}))
        assert corpus.train.texts == [('" open', "b"), ("c\x85d \x0b e", "f")]
        assert corpus.train.labels == [1, 0]


@pytest.mark.parametrize(
    ("row", "expected"),
    [("1\t1\t2\tfour", r"train.tsv:2: expected 5"), ("2\t1\t2\ta\tb", "label 0 or 1")],
)
def test_a_malformed_row_is_named_by_its_line(tmp_path: Path, row: str, expected: str) -> None:
    path = write_rows(tmp_path / "train.tsv", row)
    with pytest.raises(TrialStoppedError, match=expected):
        load_corpus(Task(), folder_data({"train": path, "validation": path}))


def test_bytes_that_are_not_utf8_are_named_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_bytes(b"1\t1\t2\ta\xff\tb\n")
    with pytest.raises(TrialStoppedError, match="byte 7 is not UTF-8"):
        load_corpus(Task(), folder_data({"train": path, "validation": path}))


def write_jsonl(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


GOOD = ({"a": "x", "b": "y", "y": 0}, {"a": "p", "b": "q", "y": 1})
OWN = Task(dataset="owner/pairs", config=None, text=("a", "b"), label="y")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{"a": "x", "y": 1}, {"a": "x", "y": 0}], "no column 'b'; it has a, y"),
        ([{"a": "x", "b": "y", "y": -1}, {"a": "x", "b": "y", "y": 1}], r"labels \[-1\] outside 0 to 1"),
        ([{"a": "x", "b": "y", "y": 0}], "single value"),
    ],
)
def test_what_is_wrong_with_a_data_set_is_said_with_what_was_found(
    tmp_path: Path, rows: list[dict[str, object]], expected: str
) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", *rows)
    with pytest.raises(TrialStoppedError, match=expected):
        load_corpus(OWN, folder_data({"train": path, "validation": path}, "files"))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("validation.jsonl", "", r"split 'validation' \(validation.jsonl\) is empty"),
        ("validation.csv", "a,b,y\n", "split 'validation'.*no data!"),
        ("validation.jsonl", "\0\0", r"split 'validation' \(validation.jsonl\) cannot be read: "),
        ("validation.parquet", "no parquet", r"split 'validation' \(validation.parquet\) cannot be read: "),
    ],
)
def test_an_empty_or_damaged_split_is_said_with_its_file(
    tmp_path: Path, name: str, content: str, expected: str
) -> None:
    train, validation = write_jsonl(tmp_path / "train.jsonl", *GOOD), tmp_path / name
    validation.write_text(content)
    with pytest.raises(TrialStoppedError, match=expected) as caught:
        load_corpus(OWN, folder_data({"train": train, "validation": validation}, "files"))
    assert caught.value.hint


def test_a_missing_split_lists_those_that_are_there(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", *GOOD)
    with pytest.raises(TrialStoppedError, match="no split 'validation'; there are train"):
        load_corpus(OWN, folder_data({"train": path}, "files"))


def test_the_content_hash_changes_with_any_text_label_or_boundary(tmp_path: Path) -> None:
    def sha(*rows: dict[str, object]) -> str:
        path = write_jsonl(tmp_path / "train.jsonl", *rows)
        return load_corpus(OWN, folder_data({"train": path, "validation": path}, "files")).content_sha256

    variants = [
        GOOD,
        ({**GOOD[0], "a": "z"}, GOOD[1]),
        ({**GOOD[0], "y": 1}, {**GOOD[1], "y": 0}),
        ({**GOOD[0], "a": "xy", "b": ""}, GOOD[1]),
    ]
    assert len({sha(*rows) for rows in variants}) == len(variants)
    assert sha(*GOOD) == sha(*GOOD)
