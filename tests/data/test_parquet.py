"""Parquet: typed columns, the class names that `datasets` stores, and what happens without pyarrow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.data.checking import check_data, plan_data
from harness.data.data_problems import InvalidDataError
from harness.data.splits import read_corpus
from tests.data.sets import OWN, resolved

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path: Path, labels: Any, names: tuple[str, ...] = (), **columns: Any) -> Path:
    texts = {name: [f"{name}{at}" for at in range(len(labels))] for name in ("a", "b")}
    table = pa.table({**texts, **columns, "y": labels})
    if names:
        feature = {"names": list(names), "_type": "ClassLabel"}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": {"y": feature}}})}
        )
    pq.write_table(table, path)
    return path


def test_declared_classes_name_the_ids_and_may_be_absent_from_both_splits(tmp_path: Path) -> None:
    names = ("no", "maybe", "yes", "never")
    files = {split: write(tmp_path / f"{split}.parquet", [2, 0], names) for split in ("train", "validation")}
    corpus = read_corpus(OWN, resolved(files, "parquet"))
    assert (corpus.label_names, corpus.train.labels) == (names, [2, 0])


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (pa.array([0, 1, None]), (), r"train\.parquet:3: column 'y': the label is null"),
        (pa.array([0.0, 3.8]), (), r"train\.parquet:1: column 'y': the label 0\.0 is no integer"),
        (pa.array([True, False]), (), r"train\.parquet:1: column 'y': the label is true"),
        (pa.array([0, -1]), ("a", "b"), r"train\.parquet:2: column 'y': the label -1 is negative"),
        (
            pa.array([0, 2]),
            ("a", "b"),
            r"train\.parquet:2: .* 2 is none of the data set's 2 classes \(a, b\)",
        ),
        (pa.array([[0], [1]]), (), r"train\.parquet:1: column 'y': the label is a list"),
        (pa.array([b"x", b"y"]), (), r"train\.parquet:1: column 'y': the label is bytes"),
    ],
)
def test_a_label_that_is_no_class_is_named_with_its_row(
    tmp_path: Path, labels: Any, names: tuple[str, ...], expected: str
) -> None:
    train = write(tmp_path / "train.parquet", labels, names)
    with pytest.raises(InvalidDataError, match=expected):
        read_corpus(OWN, resolved({"train": train, "validation": train}))


def test_a_text_that_is_null_or_a_number_is_named_with_its_row(tmp_path: Path) -> None:
    train = write(tmp_path / "train.parquet", [0, 1], a=["x", None], b=[1, 2])
    with pytest.raises(InvalidDataError) as caught:
        read_corpus(OWN, resolved({"train": train, "validation": train}))
    assert "train.parquet:2: column 'a': expected a text, found null" in caught.value.problems[0]
    assert "train.parquet:1: column 'b': expected a text, found the int 1" in caught.value.problems[1]


def test_splits_that_declare_different_classes_are_refused(tmp_path: Path) -> None:
    files = {
        "train": write(tmp_path / "train.parquet", [0, 1], ("no", "yes")),
        "validation": write(tmp_path / "validation.parquet", [0, 1], ("yes", "no")),
    }
    with pytest.raises(InvalidDataError, match=r"declare different classes: \(no, yes\) and \(yes, no\)"):
        read_corpus(OWN, resolved(files))


def test_a_column_that_is_missing_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"], "y": [0]}), tmp_path / "train.parquet")
    data = resolved(dict.fromkeys(("train", "validation"), tmp_path / "train.parquet"))
    with pytest.raises(InvalidDataError, match=r"train\.parquet has no column 'a', 'b'; it has text, y"):
        read_corpus(OWN, data)


def test_without_pyarrow_the_plan_and_the_preflight_report_that_nothing_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "validation"):
        write(tmp_path / f"{split}.parquet", [0.5, 1.0])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    task = OWN.model_copy(update={"data_dir": str(tmp_path)})
    assert plan_data(task, "auto").endswith(
        "layout files, not checked: train.parquet: pyarrow is not installed"
    )
    notes: list[str] = []
    check_data(
        task,
        resolved({split: tmp_path / f"{split}.parquet" for split in ("train", "validation")}),
        note=notes.append,
    )
    assert notes == ["owner/pairs: not checked before the run: train.parquet: pyarrow is not installed"]
