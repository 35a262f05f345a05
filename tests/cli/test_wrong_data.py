"""Wrong data ends `harness plan` and `harness run` with 2 before any trial, naming file, row and column."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main

Row = Mapping[str, Any]
GOOD: Sequence[Row] = tuple({"a": f"a{at}", "b": f"b{at}", "y": at % 2} for at in range(4))


def jsonl(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def delimited(delimiter: str) -> Callable[[Sequence[Row]], bytes]:
    """Rows as CSV: None is an empty cell without quotes, everything else is quoted text."""

    def write(rows: Sequence[Row]) -> bytes:
        text = io.StringIO()
        for row in ({"a": "a", "b": "b", "y": "y"}, *rows):
            cells = ["" if row.get(name) is None else f'"{row[name]}"' for name in ("a", "b", "y")]
            text.write(delimiter.join(cells) + "\n")
        return text.getvalue().encode()

    return write


def parquet(rows: Sequence[Row]) -> bytes:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    sink = io.BytesIO()
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in ("a", "b", "y")}), sink)
    return sink.getvalue()


FORMATS = {"jsonl": jsonl, "csv": delimited(","), "tsv": delimited("\t"), "parquet": parquet}
TYPED = ("jsonl", "parquet")
TEXTUAL = ("csv", "tsv")
# The line of the third row: Parquet and JSON Lines have no header.
THIRD = {"jsonl": 3, "parquet": 3, "csv": 4, "tsv": 4}


def with_third(**cells: Any) -> list[Row]:
    """The good rows, the third of them changed."""
    return [row | cells if at == 2 else row for at, row in enumerate(map(dict, GOOD))]


def with_labels(*labels: Any) -> list[Row]:
    return [{"a": f"a{at}", "b": f"b{at}", "y": label} for at, label in enumerate(labels)]


# Formats, the rows of the training split, and words of the error.
DEFECTS: dict[str, tuple[Sequence[str], list[Row], str]] = {
    "null text": ((*TYPED, *TEXTUAL), with_third(b=None), "{file}:{third}: column 'b': "),
    "null label": ((*TYPED, *TEXTUAL), with_third(y=None), "{file}:{third}: column 'y': the label is "),
    "float labels": ((*TYPED, *TEXTUAL), with_labels(0.2, 3.8, 5.0), "column 'y': the label "),
    "negative label": ((*TYPED, *TEXTUAL), with_third(y=-1), "{file}:{third}: column 'y': the label -1 "),
    "sparse labels": (
        (*TYPED, *TEXTUAL),
        with_labels(1_000, 1_000, 250_000),
        "{file}:{third}: column 'y': the label 250000 leaves a gap after 1000",
    ),
    "huge label": (
        (*TYPED, *TEXTUAL),
        with_labels(0, 1, 900_000_000),
        "{file}:{third}: column 'y': the label 900000000 leaves a gap after 1",
    ),
    "one class": ((*TYPED, *TEXTUAL), with_labels(1, 1, 1), "column 'y': 1 is the single value"),
    "too many classes": ((*TYPED, *TEXTUAL), with_labels(*range(1_200)), "1,200 classes"),
    "spaces in a label": (
        (*TYPED, *TEXTUAL),
        with_labels("no", "yes", "yes "),
        "{file}:{third}: column 'y': the label 'yes' has white space around it",
    ),
    "boolean labels": (TYPED, with_labels(True, False, True), "{file}:1: column 'y': the label is true"),
    "number as text": (("jsonl",), with_third(a=3), "{file}:{third}: column 'a': expected a text"),
    "list as text": (("jsonl",), with_third(a=["x"]), "{file}:{third}: column 'a': expected a text"),
    "list as label": (("jsonl",), with_third(y=[0]), "{file}:{third}: column 'y': the label is a list"),
    "surrogate": (("jsonl",), with_third(a="\ud800"), "{file}:{third}: column 'a': "),
    "mixed labels": (("jsonl",), with_third(y="x"), "{file}:{third}: column 'y': the label is the text 'x'"),
    "mixed cells": (TEXTUAL, with_third(y="NA"), "{file}:{third}: column 'y': the label is the text 'NA'"),
    "nan label": (TEXTUAL, with_labels("0", "1", "nan"), "{file}:4: column 'y': the label is the text 'nan'"),
}
# The name of a file, its bytes, and words of the error.
DAMAGED: dict[str, tuple[str, bytes, str]] = {
    "no JSON": ("train.jsonl", jsonl(GOOD) + b"{'a'", "train.jsonl:5: column 2: no JSON"),
    "a JSON array": ("train.jsonl", json.dumps(list(GOOD)).encode(), "train.jsonl:1: expected a JSON object"),
    "UTF-16": ("train.csv", "a,b,y\n".encode("utf-16"), "train.csv:1: byte 1 of the line is not UTF-8"),
    "Latin-1": ("train.tsv", b"a\tb\ty\n\xe9\tb\t0\n", "train.tsv:2: byte 1 of the line is not UTF-8"),
    "ragged": ("train.csv", b"a,b,y\n1,2\n", "train.csv:2: expected 3 cells"),
    "open quote": ("train.csv", b'a,b,y\n"x,b,0\n', "train.csv:2: column 1 starts with a double quote"),
    "other columns": (
        "train.csv",
        b"text,label\nx,0\n",
        "train.csv has no column 'a', 'b', 'y'; it has text",
    ),
    "other keys": ("train.jsonl", b'{"text": "x"}\n', "train.jsonl has no column 'a', 'b', 'y'; it has text"),
    "only a header": ("train.csv", b"a,b,y\n", "train.csv has no rows"),
    "empty": ("train.jsonl", b"", "train.jsonl is empty"),
    "no Parquet": ("train.parquet", b"PAR1PAR1", "train.parquet cannot be read as Parquet"),
    "a missing part": (
        "train-00000-of-00002.csv",
        b"a,b,y\n",
        "split 'train': 00001-of-00002 missing, only 1 of 2 parts are there",
    ),
    "another split": (
        "training.csv",
        b"a,b,y\n",
        "there is no split 'train'; there are training, validation",
    ),
}
CASES = [(name, ending) for name, (endings, _, _) in DEFECTS.items() for ending in endings]


def refuse(command: str, suite: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Standard error of a command that must end with 2 and write nothing."""
    reports = suite.parent / "reports"
    more = ["--assets", "auto", "--no-parity", "--runner", "tests.running.runners:good"]
    more += ["--reports", str(reports)]
    with pytest.raises(SystemExit) as ended:
        main([command, str(suite), *(more if command == "run" else ())])
    printed = capsys.readouterr()
    assert ended.value.code == 2, printed.err
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert "\\n" not in printed.err
    assert not reports.exists() or not any(reports.iterdir())
    return printed.err


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite on the folder `data`, whose validation split is good."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "validation.jsonl").write_bytes(jsonl(GOOD))
    path = tmp_path / "suite.yaml"
    path.write_text(
        "name: wrong\n"
        f"task: {{dataset: mine, data_dir: '{tmp_path / 'data'}', text: [a, b], label: y}}\n"
        "matrix: {checkpoint: [embedded/bert-uncased], padding: [dynamic], device: [cpu], seed: [0]}\n"
    )
    return path


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(("name", "ending"), CASES)
def test_a_wrong_row_is_named_before_any_trial(
    command: str, name: str, ending: str, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, rows, words = DEFECTS[name]
    file = f"train.{ending}"
    (suite.parent / "data" / file).write_bytes(FORMATS[ending](rows))
    printed = refuse(command, suite, capsys)
    assert file in printed or "classes" in words
    assert words.format(file=file, third=THIRD[ending]) in printed


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named_before_any_trial(
    command: str, name: str, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, content, words = DAMAGED[name]
    (suite.parent / "data" / file).write_bytes(content)
    assert words in refuse(command, suite, capsys)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_every_problem_of_both_splits_is_named_at_once(
    command: str, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "validation"):
        (suite.parent / "data" / f"{split}.jsonl").write_bytes(jsonl(with_third(a=None, y=0.5)))
    printed = refuse(command, suite, capsys)
    assert "4 problems" in printed
    for split in ("train", "validation"):
        for column in ("a", "y"):
            assert f"{split}.jsonl:3: column '{column}'" in printed


def test_a_missing_split_and_wrong_rows_of_the_other_are_named_at_once(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (suite.parent / "data" / "validation.jsonl").write_bytes(jsonl(with_third(a=None)))
    printed = refuse("plan", suite, capsys)
    assert "there is no split 'train'; there are validation" in printed
    assert "validation.jsonl:3: column 'a'" in printed


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_file_in_place_of_the_folder_is_named(
    command: str, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = suite.parent / "data" / "validation.jsonl"
    suite.write_text(suite.read_text().replace(str(file.parent), str(file)))
    assert f"task.data_dir names a file, not a folder: {file}" in refuse(command, suite, capsys)


@pytest.mark.parametrize("ending", FORMATS)
def test_good_data_is_planned_with_its_counts(
    ending: str, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row | {"a": f"other {row['a']}"} for row in map(dict, GOOD)]
    (suite.parent / "data" / f"train.{ending}").write_bytes(FORMATS[ending](rows))
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(suite)])
    assert ended.value.code == 0
    (data,) = [line for line in capsys.readouterr().out.splitlines() if "layout files" in line]
    assert data.endswith("layout files, 4 training and 4 evaluation examples, 2 classes")


def test_the_suite_may_accept_more_classes(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (suite.parent / "data" / "train.jsonl").write_bytes(jsonl(with_labels(*range(1_200))))
    refuse("plan", suite, capsys)
    with pytest.raises(SystemExit) as ended:
        main(["plan", str(suite), "-s", "task.max_classes=1200"])
    assert ended.value.code == 0
    assert "1,200 training and 4 evaluation examples, 1,200 classes" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["plan", "run"])
def test_columns_that_the_embedded_corpus_lacks_are_named(
    command: str, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    lines = suite.read_text().splitlines()
    lines[1] = "task: {dataset: embedded/pairs, text: [premise], label: label}"
    suite.write_text("\n".join(lines))
    assert "train.parquet has no column 'premise'; it has sentence1" in refuse(command, suite, capsys)


def test_reading_text_files_imports_no_library(suite: Path) -> None:
    (suite.parent / "data" / "train.csv").write_bytes(FORMATS["csv"](GOOD))
    code = (
        "import sys\nfrom harness.cli import main\n"
        f"try:\n    main(['plan', {str(suite)!r}])\n"
        "finally:\n    heavy = ['torch', 'datasets', 'pandas', 'numpy', 'pyarrow']\n"
        "    print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "4 training and 4 evaluation examples" in done.stdout


def test_there_are_forty_wrong_data_sets_and_more() -> None:
    assert len(CASES) + len(DAMAGED) >= 60
