"""Compare the verdicts of a run until decided with the numbers stored beside them."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.checks.contradiction import Contradiction
from harness.model.looks import LookRow, Looks
from harness.model.metrics import is_metric, metric_named


def look_contradictions(looks: Looks) -> Iterator[Contradiction]:
    """Yield the contradictions in the record of the looks; any number of looks keeps these rules.

    The p-value of a row never rises from look to look, so that a difference that was found stays below alpha.
    """
    for row in looks.rows:
        for stored, implied in _of_row(row, looks):
            where = f"the look at {row.variant}, {row.candidate}, {row.metric} is stored as {row.verdict}"
            yield Contradiction((row.metric,), f"{where}{stored}", implied)
    if looks.ended == "decided" and looks.open:
        found = f"{len(looks.open)} of {len(looks.rows)} rows are unsure"
        yield Contradiction((), "the run is stored as decided", found)


def _of_row(row: LookRow, looks: Looks) -> Iterator[tuple[str, str]]:
    last = max(looks.seeds, default=looks.most_seeds)
    if row.seeds > last:
        yield f" at {row.seeds} seeds", f"the last look was at {last}"
    if row.p is not None and row.p_holm is not None and row.p > row.p_holm:
        yield f" with p {row.p_holm:.3g} over all rows", f"its own p is {row.p:.3g}"
    if row.verdict in ("better", "worse"):
        yield from _of_difference(row, looks)
    margin = looks.margins.get(row.metric)
    if row.verdict == "same" and margin is not None and row.effect is not None and abs(row.effect) > margin:
        yield "", f"its effect of {row.effect:.3g} is outside of the margin of {margin:g}"


def _of_difference(row: LookRow, looks: Looks) -> Iterator[tuple[str, str]]:
    if row.p is None or row.p > looks.alpha:
        number = "none" if row.p is None else f"{row.p:.3g}"
        yield "", f"its p is {number}, and {looks.alpha:g} is the limit"
    metric = metric_named(row.metric) if is_metric(row.metric) else None
    # The ratio of two speeds is that of medians, and its test is of means: close to 1 they can differ.
    if metric is None or metric.family != "quality" or metric.goal == "none" or row.effect is None:
        return
    rises = (metric.goal == "max") == (row.verdict == "better")
    if row.effect * (1 if rises else -1) < 0:
        yield "", f"its effect is {row.effect:.3g}"
