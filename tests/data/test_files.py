"""CSV and TSV: read as the standard library writes them, with missing cells apart from empty texts."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.files import read_delimited
from harness.data.tables import MISSING, UnreadableError

CELLS = st.text(st.sampled_from("ab \",;\t\n\r'é\u2028"), max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6), st.sampled_from([".csv", ".tsv"]))
def test_what_the_csv_module_writes_reads_back_as_it_was(rows: list[tuple[str, str]], ending: str) -> None:
    text = io.StringIO()
    delimiter = "\t" if ending == ".tsv" else ","
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{ending}"
        path.write_bytes(text.getvalue().encode())
        table = read_delimited(path, ["b", "a"])
    assert list(zip(table.columns["a"], table.columns["b"], strict=True)) == rows
    starts = [1]
    for row in rows[:-1]:
        starts.append(starts[-1] + 1 + sum(cell.count("\n") for cell in row))
    assert [line - 1 for line in table.rows] == starts


def read(folder: Path, content: str) -> tuple[list[object], list[object]]:
    path = folder / "x.csv"
    path.write_text(content, newline="")
    table = read_delimited(path, ["a", "b"])
    return table.columns["a"], table.columns["b"]


def test_an_empty_cell_is_missing_and_a_quoted_one_is_an_empty_text(tmp_path: Path) -> None:
    assert read(tmp_path, 'a,b\n,""\n"",') == ([MISSING, ""], ["", MISSING])


def test_what_other_readers_take_for_null_is_text(tmp_path: Path) -> None:
    assert read(tmp_path, "a,b\nNA,null\nnan,None\n") == (["NA", "nan"], ["null", "None"])


def test_quotes_inside_of_a_cell_blank_lines_and_other_columns_are_accepted(tmp_path: Path) -> None:
    content = '\ufeffb,c,a\r\n\r\n5" disk,x,"say ""hi"", twice"\r\n'
    assert read(tmp_path, content) == (['say "hi", twice'], ['5" disk'])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a,b\n1\n", r"x\.csv:2: expected 2 cells, as in the header, found 1"),
        ("a,b\n1,2,3\n", r"x\.csv:2: expected 2 cells, as in the header, found 3"),
        ('a,b\n1,2\n"3" 4,5\n', r"x\.csv:3: column 1 starts with a double quote"),
        ('a,b\n1,2\n3,"4\n5,6\n', r"x\.csv:3: column 2 starts with a double quote"),
        ('a,b\n"1\n2",3\n4\n', r"x\.csv:4: expected 2 cells"),
    ],
)
def test_a_row_that_cannot_be_parsed_is_named_by_its_line(
    tmp_path: Path, content: str, expected: str
) -> None:
    with pytest.raises(UnreadableError, match=expected):
        read(tmp_path, content)


def test_an_open_quote_in_a_large_file_is_found_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="column 1 starts with a double quote"):
        read(tmp_path, 'a,b\n"' + 'x""y,\n' * 200_000)
