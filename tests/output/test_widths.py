"""Tables on terminals of every width: whole words, no line too long, and hidden columns announced."""

from __future__ import annotations

import re

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from harness.output.builders.report import report_document
from harness.output.document import Column, Document, Table
from harness.output.formats.terminal import to_table
from tests.output.pages import quickstart_report

WORDS = st.text("abcdefghijk", min_size=1, max_size=24)
TEXTS = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)
NUMBERS = st.from_regex(r"[0-9]{1,4}\.[0-9]k \([0-9]{1,3}k\)", fullmatch=True)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(1, 4))

    def column(place: int) -> Column:
        numeric = place > 0 and draw(st.booleans())
        cells = st.lists(NUMBERS if numeric else TEXTS, min_size=rows, max_size=rows)
        title = f"{draw(TEXTS)} t{place}"
        return Column(title, tuple(draw(cells)), numeric, dispensable=place > 0 and draw(st.booleans()))

    return Table("a table", tuple(column(place) for place in range(draw(st.integers(1, 9)))))


@given(tables(), st.integers(60, 200))
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_words_and_numbers_stay_whole_and_hidden_columns_are_announced(table: Table, width: int) -> None:
    shown = to_table(Document(kind="report", title="x", model={}, tables=(table,)), width)
    assert max(map(len, shown.splitlines())) <= width
    body, _, note = shown.partition("left out at this width:")
    announced = " ".join(note.partition(";")[0].split())
    hidden = {column.title for column in table.columns if column.title in announced.split(", ")}
    assert bool(note) == bool(hidden)
    for place, column in enumerate(table.columns):
        assert column.dispensable or column.title not in hidden
        if column.title not in hidden:
            # Where the table is a list, its rows begin with the first column, which needs no title.
            titled = column.title.split() if place else []
            for whole in (*titled, *(word for cell in column.cells for word in cell.split())):
                assert re.search(rf"(?<!\w){re.escape(whole)}(?!\w)", body), (whole, shown)
            assert not column.numeric or all(cell in " ".join(body.split()) for cell in column.cells)


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_of_a_quickstart_keeps_its_words_whole(width: int) -> None:
    document = report_document(quickstart_report())
    shown = to_table(document, width)
    body, _, hidden = shown.partition("left out at this width: ")
    for column in document.tables[0].columns:
        if column.title not in " ".join(hidden.split()):
            for word in {word for cell in (column.title, *column.cells) for word in cell.split()}:
                assert re.search(rf"(?<!\S){re.escape(word)}(?![^\s,])", body), (word, shown)
