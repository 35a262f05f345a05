"""The charts that builders make of results: what is drawn, what is left out, and what is said about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from harness.model.arguments import Train
from harness.model.measurements import measured
from harness.model.proof import Parity
from harness.model.results import TrialResult
from harness.model.values import Padding, PaddingStrategy, Precision
from harness.output.builders.report import report_document
from harness.output.document import Chart, Document
from harness.output.drawings import Arrows, Bars, Drawing, Forest, Lines, Scatter, Slope
from harness.output.formats.known_formats import render
from harness.output.plot.twin import twin
from tests.factories import make_report, make_result, make_trial
from tests.output.pages import (
    PADDINGS,
    check_page,
    comparison_page,
    history_page,
    machine_report,
    machines_page,
    quickstart_report,
    run_page,
    trained,
)


def chart(document: Document, name: str) -> Chart:
    (found,) = [each for each in document.charts if each.name == name]
    return found


def drawing(document: Document, name: str, kind: type[Drawing]) -> Drawing:
    found = chart(document, name).drawing
    assert isinstance(found, kind)
    return found


def test_a_point_is_the_mean_score_and_the_median_speed_and_has_every_sound_seed() -> None:
    found = drawing(run_page(), "quality", Scatter)
    assert isinstance(found, Scatter)
    by_name = {point.label: point for point in found.points}
    results = [trained("dynamic", seed) for seed in range(3)]
    assert [seed.x for seed in by_name["dynamic"].seeds] == [
        result.value("train_real_tokens_per_second") for result in results
    ]
    assert len(by_name["static"].seeds) == 2
    assert by_name["bucketed"].doubt == "stand-in"
    mean = sum(seed.y for seed in by_name["dynamic"].seeds) / 3
    assert by_name["dynamic"].y == pytest.approx(mean)


def test_devices_share_no_axis_and_are_compared_as_ratios() -> None:
    gpu = machine_report("NVIDIA H100 80GB HBM3", 25.0, "h100").results
    cpu = [trained(padding, seed) for seed in range(3) for padding in PADDINGS]
    document = report_document(make_report([*cpu, *gpu]))
    shown = [each.title for each in document.charts if isinstance(each.drawing, Scatter)]
    assert shown == ["F1 against speed: cpu", "F1 against speed: cuda:0"]
    for name in ("quality-0", "quality-1"):
        found = drawing(document, name, Scatter)
        assert isinstance(found, Scatter)
        assert len(found.points) == 4
    assert isinstance(drawing(document, "machines", Slope), Slope)
    assert document.answer.startswith("cpu: ")


def test_a_variant_that_lost_a_seed_is_not_called_slower() -> None:
    document = run_page()
    assert document.answer.startswith("unpadded is the fastest of 2 variants; 1.3")
    ranked = document.tables[0].ranking.places
    assert [place for place, _ in ranked] == ["1", "(2)", "(1)"]
    assert document.tables[0].columns[0].cells[ranked[0][1]] == "unpadded"


def test_a_bar_of_work_is_the_computed_tokens_of_which_padding_is_the_rest() -> None:
    found = drawing(run_page(), "work", Bars)
    assert isinstance(found, Bars)
    for bar in found.bars:
        real, padding = bar.values
        efficiency = {"static": 53 / 103, "dynamic": 0.74, "bucketed": 0.98, "unpadded": 1.0}[bar.label]
        assert real / (real + padding) == pytest.approx(efficiency)


def test_step_times_have_a_ribbon_and_begin_after_warm_up() -> None:
    found = drawing(run_page(), "steps", Lines)
    assert isinstance(found, Lines)
    assert {line.label for line in found.lines} == set(PADDINGS)
    first = found.lines[0].samples[0]
    assert first.x == 11
    assert first.band is not None
    assert first.band[0] <= first.y <= first.band[1]


def test_the_phases_of_a_trial_add_up_to_its_time() -> None:
    report = quickstart_report()
    found = drawing(report_document(report), "phases", Bars)
    assert isinstance(found, Bars)
    assert found.parts == ("load", "train", "evaluate", "the rest")
    bar = next(each for each in found.bars if each.label == "bert-base-uncased static")
    (result,) = report.variants()[report.results[0].trial.variant_id]
    assert bar.values[1] == result.value("train_seconds")
    assert sum(bar.values) == pytest.approx(result.duration_s)


def test_losses_are_drawn_by_seed_and_as_their_mean() -> None:
    found = drawing(run_page(), "loss", Lines)
    assert isinstance(found, Lines)
    lines = [line for line in found.lines if line.label == "unpadded"]
    assert [line.seed for line in lines] == [None, 0, 1, 2]
    assert [sample.y for sample in lines[0].samples] == pytest.approx([0.61, 0.31, 0.21])
    assert found.x.title == "epoch"


def test_losses_of_steps_take_the_place_of_those_of_epochs() -> None:
    found = _losses(steps=60, values=[1 / (step + 1) for step in range(60)])
    assert [line.seed for line in found.lines if line.label == "unpadded"] == [None, 0, 1]
    assert (found.lines[0].samples[0].x, found.lines[0].samples[0].y) == (2.0, 0.5)
    columns = twin(found)
    assert columns[0].title == "optimizer step"
    assert [column.title for column in columns[1:4]] == ["unpadded", "unpadded, seed 0", "unpadded, seed 1"]
    assert (columns[0].cells[0], columns[1].cells[0]) == ("2", "0.500")
    assert len(columns[1].cells) == 20


def test_losses_of_a_long_training_keep_the_numbers_of_their_steps() -> None:
    found = _losses(steps=5_999, values=[1.0] * 2_000)
    first, last = (found.lines[0].samples[at].x for at in (0, -1))
    assert (first, last) == ((1 + 300) / 2, (5_701 + 6_000) / 2)


def _losses(steps: int, values: Sequence[float]) -> Lines:
    """The chart of trainings of that many steps, whose seeds and variants all have these losses."""

    def stepped(padding: PaddingStrategy, seed: int) -> TrialResult:
        result = trained(padding, seed, train=Train(max_steps=steps))
        loss = measured("train_step_loss", *values)
        return result.model_copy(update={"measurements": (*result.measurements, loss)})

    report = make_report([stepped(padding, seed) for seed in range(2) for padding in PADDINGS])
    found = drawing(report_document(report), "loss", Lines)
    assert isinstance(found, Lines)
    assert found.x.title == "optimizer step"
    return found


def proof(padding: PaddingStrategy, logit: float, precision: Precision = "fp32") -> TrialResult:
    parity = Parity(
        examples=40, largest_logit_difference=logit, relative_gradient_error=logit, flipped_predictions=0
    )
    made = make_result(make_trial(padding, precision=precision), examples=1)
    return made.model_copy(update={"parity": parity})


def test_differences_of_functions_are_drawn_against_their_limits_over_the_table_of_all() -> None:
    proofs = (
        proof("static", 0.0),
        proof("dynamic", 3e-5),
        proof("unpadded", 0.5),
        proof("static", 9e-3, "bf16"),
    )
    report = make_report([trained("static", 0)], proofs=proofs)
    document = report_document(report)
    found = drawing(document, "parity", Forest)
    assert isinstance(found, Forest)
    assert found.axis.log
    assert [(each.label, each.mark, each.value, each.limit, each.words) for each in found.effects] == [
        ("unpadded fp32", "worse", 0.5, 1e-4, "5.0e-01"),
        ("static bf16", "better", 9e-3, 2e-2, "9.0e-03"),
        ("dynamic fp32", "better", 3e-5, 1e-4, "3.0e-05"),
        ("static fp32", "same", 1e-9, 1e-4, "0.0e+00"),
    ]
    page = render(document, "html")
    assert page.count("<caption>Parity with the plain model<") == 1
    figure = page.partition('aria-labelledby="parity-title')[2].partition("</figure>")[0]
    assert figure.count("(limit 1e-04)") == 3
    assert "Parity with the plain model" in render(document, "markdown")


def test_of_many_functions_those_nearest_to_their_limits_are_drawn() -> None:
    proofs = [
        proof("static", 1e-5).model_copy(
            update={"trial": make_trial(Padding(strategy="static", length=length))}
        )
        for length in range(8, 38)
    ]
    document = report_document(make_report([trained("static", 0)], proofs=(*proofs, proof("dynamic", 2e-5))))
    found = chart(document, "parity")
    assert isinstance(found.drawing, Forest)
    assert found.drawing.effects[0].label == "dynamic"
    assert len(found.drawing.effects) == 24
    assert "the 24 functions nearest to their limits, of 31" in found.notes


def test_a_report_without_a_proof_has_no_chart_of_parity() -> None:
    assert [each.name for each in run_page().charts if each.name == "parity"] == []


def test_a_forest_has_every_verdict_with_its_margin_and_noise() -> None:
    document = comparison_page()
    points, ratios = (drawing(document, f"forest-{name}", Forest) for name in ("points", "ratio"))
    assert isinstance(points, Forest)
    assert isinstance(ratios, Forest)
    assert len(points.effects) + len(ratios.effects) == len(document.tables[0].columns[0].cells) == 12
    assert {effect.margin for effect in points.effects} == {(-0.02, 0.02)}
    assert {effect.noise for effect in ratios.effects} == {(1 / 1.03, 1.03)}
    assert [effect.mark for effect in ratios.effects] == ["better"] * 4
    assert re.fullmatch(r"better 1\.3\d x \(1\.\d\d to 1\.\d\d\)", ratios.effects[0].words)


def test_arrows_lead_from_the_baseline_to_the_candidate_and_never_across_devices() -> None:
    found = drawing(comparison_page(), "moves", Arrows)
    assert isinstance(found, Arrows)
    assert [arrow.label for arrow in found.arrows] == list(PADDINGS)
    assert all(arrow.end[0] > 1.2 * arrow.start[0] for arrow in found.arrows)
    assert all(arrow.end[1] < arrow.start[1] for arrow in found.arrows)
    assert "moves" not in {chart.name for chart in machines_page().charts}


def test_machines_are_slopes_over_a_table_with_their_stacks() -> None:
    document = machines_page()
    found = drawing(document, "machines", Slope)
    assert isinstance(found, Slope)
    assert found.columns == ("Test CPU", "NVIDIA A100 80GB", "NVIDIA H100 80GB HBM3")
    assert found.lines[0] == ("static", (1.0, 1.0, 1.0))
    shown = render(document, "html")
    part = shown.split("<h2>Real tokens per second by machine</h2>")[1].split("</table>")[0]
    assert re.search(r"<th>unpadded<td>2\.\d\dk \(\d\.\d\d x\)<td>", part)
    assert "<th>driver<td>–<td>570.10<td>570.10" in part  # noqa: RUF001 - a cell without a value
    assert "<th>torch<td>2.13.0<td>2.13.0<td>2.13.0" in part


def test_ratios_across_devices_are_drawn_without_a_verdict_and_keep_their_numbers() -> None:
    found = drawing(machines_page(), "forest-ratio", Forest)
    assert isinstance(found, Forest)
    assert {effect.mark for effect in found.effects} == {"quiet"}
    assert all(re.fullmatch(r"not comparable \d+\.\d x", effect.words) for effect in found.effects)


def test_each_series_of_a_history_is_a_small_chart_with_the_band_of_its_segments() -> None:
    document = history_page()
    assert len(document.charts) == len(document.tables[0].columns[0].cells)
    speeds = [each for each in document.charts if each.title.startswith("real tokens/s: ")]
    assert [each.description.endswith("8; 1 change beyond the noise") for each in speeds] == [True, True]
    for each in speeds:
        assert isinstance(each.drawing, Lines)
        values, medians = each.drawing.lines
        assert [sample.x for sample in values.samples] == list(range(1, 9))
        assert [sample.x for sample in medians.samples] == [1, 4, 5, 8]
        first, _, second, _ = medians.samples
        assert second.y == pytest.approx(0.9 * first.y, rel=0.01)
        assert first.band == pytest.approx((first.y / 1.03, first.y * 1.03))


def test_gates_are_drawn_with_their_limits() -> None:
    found = [each.drawing for each in check_page().charts]
    drops = next(each for each in found if isinstance(each, Forest) and each.axis.unit == "points")
    assert {effect.limit for effect in drops.effects} == {0.02, 0.3}
    assert {effect.mark for effect in drops.effects} == {"same", "worse"}
    relative = next(each for each in found if isinstance(each, Forest) and each.effects[0].noise is not None)
    assert {effect.limit for effect in relative.effects} == {0.1}


def test_markdown_has_the_numbers_that_no_other_table_has() -> None:
    shown = render(run_page(), "markdown")
    assert "## F1 against speed" in shown
    assert "## Peak host memory" not in shown
    assert "## Differences: accuracy, F1" not in render(comparison_page(), "markdown")


def test_names_of_charts_are_unique_and_begin_every_id() -> None:
    for document in (run_page(), comparison_page(), machines_page(), check_page()):
        names = [chart.name for chart in document.charts]
        assert len(set(names)) == len(names)
        ids = re.findall(r" id=([\w-]+)", render(document, "html"))
        assert len(set(ids)) == len(ids)
        assert {name.rpartition("-")[0] for name in ids} == set(names)
