"""The verdicts of a run until decided: what a look decides, what stays, and what the report records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from harness.analysis.comparison.comparing import compare
from harness.analysis.comparison.look_table import LookTable, Question, Standing, take_look
from harness.analysis.stats.components import Components, Part
from harness.analysis.stats.sequential import look_sizes, nominal_level
from harness.analysis.stats.tests import Effect
from harness.errors import InvalidInputError
from harness.model.looks import Looks, Verdict
from harness.model.results import Report, TrialResult
from tests.factories import make_predictions, make_report, make_result, make_trial

SIZES = look_sizes(6)
PADDINGS = ("static", "dynamic", "bucketed", "unpadded")


@dataclass(frozen=True)
class Fake:
    """A row with this p: better at a small adjusted one, the same at a level of at least `same`."""

    p: float | None
    same: float = 1.0
    settled: Verdict | None = None
    sign: int = 1

    @property
    def effect(self) -> Effect | None:
        if self.p is None:
            return None
        # A difference with this two-sided p of a normal statistic.
        from scipy import special  # noqa: PLC0415

        center = -self.sign * float(special.ndtri(self.p / 2))
        return Effect(center, center=center, components=Components(Part(1.0, 1e9)))

    def verdict_at(self, p: float | None, level: float) -> Verdict:
        if self.settled is not None:
            return self.settled
        if p is not None and p <= 0.05:
            return "better" if self.sign > 0 else "worse"
        return "same" if level >= self.same else "unsure"


def looks(*tables: Mapping[str, Fake]) -> dict[str, Standing]:
    standings: dict[str, Standing] = {}
    for at, rows in enumerate(tables):
        standings = take_look(rows, standings, SIZES, at)
    return standings


def test_a_row_is_decided_at_the_level_of_the_look_by_holm() -> None:
    level = nominal_level(SIZES, 0, 0.05 / 2, 2)
    just, beyond = (
        looks({"a": Fake(0.99 * level), "b": Fake(0.5)}),
        looks({"a": Fake(1.01 * level), "b": Fake(0.5)}),
    )
    assert (just["a"].verdict, just["b"].verdict) == ("better", "unsure")
    assert beyond["a"].verdict == "unsure"
    # Once the first is rejected, the second is tested alone.
    alone = nominal_level(SIZES, 0, 0.05, 2)
    both = looks({"a": Fake(0.99 * level), "b": Fake(0.99 * alone)})
    assert {each.verdict for each in both.values()} == {"better"}
    assert both["a"].p_holm == pytest.approx(0.05 * 0.99, rel=0.01)


def test_same_needs_the_level_of_its_look() -> None:
    level = nominal_level(SIZES, 0, 0.05, 1)
    assert looks({"a": Fake(0.5, same=0.99 * level)})["a"].verdict == "same"
    assert looks({"a": Fake(0.5, same=1.01 * level)})["a"].verdict == "unsure"
    assert level < 0.05


def test_a_verdict_is_final_even_if_later_looks_would_differ() -> None:
    found = looks({"a": Fake(1e-6), "b": Fake(0.5)}, {"a": Fake(0.9, same=0.0), "b": Fake(0.5)})
    assert found["a"] == Standing("better", found["a"].p, found["a"].p_holm, SIZES[0])
    assert found["b"].seeds == SIZES[1]


def test_the_row_of_a_variant_that_stopped_keeps_its_p_and_counts_in_holm() -> None:
    first = looks({"a": Fake(1e-6), "b": Fake(0.5), "c": Fake(0.5, same=0.0)})
    assert [each.verdict for each in first.values()] == ["better", "unsure", "same"]
    second = take_look({"b": Fake(1.01 * nominal_level(SIZES, 1, 0.05 / 2, 2))}, first, SIZES, 1)
    # One of the three is rejected: the other two share alpha, though one of them is the same.
    assert second["b"].verdict == "unsure"
    third = take_look({"b": Fake(0.99 * nominal_level(SIZES, 1, 0.05 / 2, 2))}, first, SIZES, 1)
    assert third["b"].verdict == "better"
    assert (third["a"].seeds, third["c"].seeds) == (SIZES[0], SIZES[0])


def test_a_row_without_a_p_counts_and_one_that_cannot_be_compared_does_not() -> None:
    level = nominal_level(SIZES, 0, 0.05, 2)
    assert looks({"a": Fake(0.9 * level), "b": Fake(None)})["a"].verdict == "unsure"
    found = looks({"a": Fake(0.9 * level), "b": Fake(0.5, settled="not comparable")})
    assert [each.verdict for each in found.values()] == ["better", "not comparable"]


def test_the_smallest_p_of_all_looks_counts() -> None:
    found = looks({"a": Fake(0.02), "b": Fake(0.9)}, {"a": Fake(0.9), "b": Fake(0.9)})
    assert found["a"].p == looks({"a": Fake(0.02), "b": Fake(0.9)})["a"].p
    assert found["a"].verdict == "unsure"


def test_the_p_of_an_earlier_look_decides_no_effect_in_the_other_direction() -> None:
    first = nominal_level(SIZES, 0, 0.05, 2)
    before, decides = {"a": Fake(0.99 * first), "b": Fake(0.5)}, Fake(1e-9)
    assert looks(before)["a"].verdict == "unsure"
    kept = looks(before, {"a": Fake(0.9), "b": decides})
    turned = looks(before, {"a": Fake(0.9, sign=-1), "b": decides})
    assert (kept["a"].verdict, turned["a"].verdict) == ("better", "unsure")
    assert kept["a"].p == turned["a"].p


def result(padding: str, seed: int) -> TrialResult:
    """`dynamic` as `static`, `bucketed` 25 points worse, `unpadded` of equal accuracy but noisy."""
    drawn = seed + (1_000 if padding == "unpadded" else 0)
    predictions = make_predictions(drawn, 400, 0.6 if padding == "bucketed" else 0.85)
    return make_result(make_trial(padding, seed), predictions=predictions)  # type: ignore[arg-type]


def report(seeds: int, stopped: Mapping[str, int] = {}, **changes: object) -> Report:
    return make_report(
        [
            result(padding, seed)
            for seed in range(seeds)
            for padding in PADDINGS
            if seed < stopped.get(padding, seeds)
        ],
        **changes,
    )


def of_accuracy(found: Looks) -> dict[str, tuple[str, int]]:
    return {row.candidate: (row.verdict, row.seeds) for row in found.rows}


def test_variants_stop_when_decided_and_the_record_tells_what_is_open() -> None:
    table = LookTable(Question("padding", ("eval_accuracy",)), look_sizes(20))
    table.add(report(3), {})
    first = table.looks("budget")
    assert of_accuracy(first) == {"dynamic": ("same", 3), "bucketed": ("worse", 3), "unpadded": ("unsure", 3)}
    variants = {make_trial(padding).variant_id for padding in ("static", "unpadded")}
    assert table.open_variants == variants
    table.add(report(4, {"dynamic": 3, "bucketed": 3}), {})
    found = table.looks("budget")
    assert of_accuracy(found) == {"dynamic": ("same", 3), "bucketed": ("worse", 3), "unpadded": ("unsure", 4)}
    assert (found.seeds, found.most_seeds, found.by, found.baseline) == ((3, 4), 20, "padding", "static")
    (open_row,) = found.open
    assert "seeds find a difference of 0.02: --most-seeds" in (open_row.next_step or "")
    assert not found.finished
    assert Looks.model_validate_json(found.model_dump_json()) == found


def test_a_row_counts_the_seeds_that_it_compares() -> None:
    made = report(3)
    lost = [
        make_result(each.trial, status="failed")
        if (each.trial.padding.strategy, each.trial.seed) == ("bucketed", 1)
        else each
        for each in made.results
    ]
    table = LookTable(Question("padding", ("eval_accuracy",)), look_sizes(20))
    table.add(make_report(lost), {})
    assert {name: seeds for name, (_, seeds) in of_accuracy(table.looks("budget")).items()} == {
        "dynamic": 3, "bucketed": 2, "unpadded": 3,
    }  # fmt: skip


def test_nothing_comparable_leaves_nothing_open() -> None:
    failed = make_report(
        [
            make_result(make_trial(name, seed), status="failed")
            for seed in range(3)
            for name in ("static", "dynamic")
        ]
    )
    table = LookTable(Question("padding"), look_sizes(6))
    table.add(failed, {})
    assert not table.open_variants
    assert table.looks("decided").rows == ()


def test_an_unknown_axis_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="no axis"):
        LookTable(Question("pading"), look_sizes(6)).add(report(3), {})


def test_a_plain_comparison_of_such_a_run_notes_that_it_ignores_the_looks() -> None:
    table = LookTable(Question("padding", ("eval_accuracy",)), look_sizes(6))
    table.add(report(3), {})
    found = compare([report(3, looks=table.looks("decided"))], by="padding")
    assert any("p-values are not adjusted for its 1 look" in note for note in found.notes)
    assert not any("looks" in note for note in compare([report(3)], by="padding").notes)
