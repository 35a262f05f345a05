"""The table of a chart: every number that it draws, in the words that it draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.output.document import Column
from harness.output.drawings import Arrows, Axis, Bars, Drawing, Forest, Interval, Lines, Scatter, Slope
from harness.output.numbers import NOTHING
from harness.output.plot.points import letter, lettered
from harness.output.plot.scales import words


def twin(drawing: Drawing) -> tuple[Column, ...]:
    """Return the columns of the table, the names of the variants first."""
    if isinstance(drawing, Scatter):
        return _scatter(drawing)
    if isinstance(drawing, Arrows):
        return _arrows(drawing)
    if isinstance(drawing, Bars):
        return _bars(drawing)
    if isinstance(drawing, Lines):
        return _lines(drawing)
    if isinstance(drawing, Forest):
        return _forest(drawing)
    return _slope(drawing)


def _names(labels: Sequence[str]) -> tuple[Column, ...]:
    shown = Column("variant", tuple(labels), numeric=False)
    if not lettered(labels):
        return (shown,)
    return shown, Column("letter", tuple(letter(at) for at in range(len(labels))), numeric=False)


def _scatter(drawing: Scatter) -> tuple[Column, ...]:
    points = drawing.points
    x, y = drawing.x, drawing.y
    return (
        *_names([each.label for each in points]),
        Column(x.title, tuple(words(x, each.x) for each in points)),
        *_filled(drawing.x_meaning, [_ends(x, each.x_range) for each in points]),
        Column(y.title, tuple(words(y, each.y) for each in points)),
        *_filled(drawing.y_meaning, [_ends(y, each.y_range) for each in points]),
        *_filled(
            "seeds",
            [
                "; ".join(f"{seed.seed}: {words(x, seed.x)}, {words(y, seed.y)}" for seed in each.seeds)
                if len(each.seeds) > 1
                else ""
                for each in points
            ],
        ),
        *_marked([each.doubt for each in points]),
    )


def _arrows(drawing: Arrows) -> tuple[Column, ...]:
    found = drawing.arrows
    places = ((axis, at, side) for at, axis in enumerate((drawing.x, drawing.y)) for side in ("from", "to"))
    return (
        *_names([each.label for each in found]),
        *(
            Column(
                f"{axis.title}, {side}",
                tuple(words(axis, (each.start if side == "from" else each.end)[at]) for each in found),
            )
            for axis, at, side in places
        ),
    )


def _bars(drawing: Bars) -> tuple[Column, ...]:
    return (
        Column("variant", tuple(each.label for each in drawing.bars), numeric=False),
        *(
            Column(part, tuple(words(drawing.axis, each.values[at]) for each in drawing.bars))
            for at, part in enumerate(drawing.parts)
        ),
        # A picture has the sum of more parts than two.
        *_filled(
            "sum",
            [words(drawing.axis, sum(each.values)) if len(each.values) > 2 else "" for each in drawing.bars],
        ),
        *_marked([each.doubt for each in drawing.bars]),
    )


def _lines(drawing: Lines) -> tuple[Column, ...]:
    """One row a place, one column a line: `51.2 ms (50.1 ms to 53.0 ms)`."""
    places = sorted({sample.x for each in drawing.lines for sample in each.samples})
    columns = [Column(drawing.x.title, tuple(words(drawing.x, place) for place in places))]
    for each in drawing.lines:
        at = {sample.x: sample for sample in each.samples}
        cells = []
        for place in places:
            sample = at.get(place)
            cells.append(
                ""
                if sample is None
                else words(drawing.y, sample.y)
                + ("" if sample.band is None else f" ({_ends(drawing.y, sample.band)})")
            )
        title = each.label if each.seed is None else f"{each.label}, seed {each.seed}"
        columns.append(Column(title, tuple(cells)))
    return tuple(columns)


def _forest(drawing: Forest) -> tuple[Column, ...]:
    rows = drawing.effects
    axis = drawing.axis
    return (
        Column("row", tuple(each.label for each in rows), numeric=False),
        Column("found", tuple(each.words for each in rows), numeric=False),
        Column(
            axis.title, tuple(NOTHING if each.value is None else words(axis, each.value) for each in rows)
        ),
        *_filled("interval", [_ends(axis, each.interval) for each in rows]),
        *_filled("margin", [_ends(axis, each.margin) for each in rows]),
        *_filled("noise of the machine", [_ends(axis, each.noise) for each in rows]),
        *_filled("limit", ["" if each.limit is None else words(axis, each.limit) for each in rows]),
    )


def _slope(drawing: Slope) -> tuple[Column, ...]:
    return (
        Column("variant", tuple(label for label, _ in drawing.lines), numeric=False),
        *(
            Column(
                column,
                tuple(_or_nothing(drawing.axis, values[at]) for _, values in drawing.lines),
            )
            for at, column in enumerate(drawing.columns)
        ),
    )


def _or_nothing(axis: Axis, value: float | None) -> str:
    return NOTHING if value is None else words(axis, value)


def _ends(axis: Axis, interval: Interval | None) -> str:
    return "" if interval is None else " to ".join(words(axis, end) for end in interval)


def _marked(doubts: Sequence[str]) -> tuple[Column, ...]:
    """Return the column of doubts, or none where every row has the same, which a note tells."""
    return _filled("marked", doubts) if len(set(doubts)) > 1 else ()


def _filled(title: str, cells: Iterable[str]) -> tuple[Column, ...]:
    """Return the column, or none where every cell is empty."""
    found = tuple(cells)
    return (Column(title, found),) if any(found) else ()
