# ruff: noqa: E501 - tables are literal text, as wide as people see them
from __future__ import annotations

import re
from typing import Any

import pytest

from harness.analysis.peak_shares import rooflines
from harness.model.measurements import Measurement, measured, unmeasured
from harness.model.results import Report, TrialResult
from tests.factories import make_report, make_result, make_trial
from tests.output.written import to_table, written

PEAKS = (
    measured("matmul_peak_flops_per_second", 859.1e9),
    measured("square_matmul_peak_flops_per_second", 844e9),
    measured("copy_peak_bytes_per_second", 52.6e9),
)

TABLE = """\
Roofline

          real    real    peak      of  square   copied
variant  FLOPs  FLOP/s  FLOP/s    peak  FLOP/s  bytes/s
───────────────────────────────────────────────────────
static   4.51T    107G    859G  12.5 %    844G    52.6G
dynamic  4.51T    430G    859G  50.0 %    844G    52.6G

- real: matrix products of real tokens, forward and backward, after warm-up; padding counts as none
- peak: the fastest matrix products seen on this device at the model's shapes; square: of square matrices; copied: bytes read and written
"""


def result(padding: Any, share: float, seed: int = 0, peaks: tuple[Measurement, ...] = PEAKS) -> TrialResult:
    bare = make_result(make_trial(padding, seed))
    numbers = (
        measured("model_flops", 4.51e12),
        measured("model_flops_per_second", share * 859.1e9),
        measured("matmul_peak_share", share),
    )
    return bare.model_copy(update={"measurements": (*bare.measurements, *numbers, *peaks)})


def off(padding: Any) -> TrialResult:
    bare, why = make_result(make_trial(padding)), "the suite has measure.roofline: false"
    names = ("matmul_peak_share", *(peak.metric for peak in PEAKS))
    return bare.model_copy(
        update={"measurements": (*bare.measurements, *(unmeasured(name, why) for name in names))}
    )


def report(*shares: float) -> Report:
    names: tuple[Any, ...] = ("static", "dynamic", "unpadded")
    return make_report([result(name, share) for name, share in zip(names, shares, strict=False)])


def test_below_the_table_each_variant_is_held_against_the_peaks() -> None:
    shown = to_table(report(0.125, 0.5), roofline=True)
    assert shown == f"{to_table(report(0.125, 0.5))}\n{TABLE}"


def test_the_usual_table_is_not_wider_for_it() -> None:
    bare = make_report([make_result(make_trial(name)) for name in ("static", "dynamic")])
    assert to_table(report(0.125, 0.5)) == to_table(bare)


def test_a_narrow_terminal_loses_columns_and_is_told_which() -> None:
    shown = to_table(report(0.125, 0.5), 50, roofline=True)
    assert "left out at this width: copied bytes/s" in " ".join(shown.split())
    assert "50.0 %" in shown


def test_a_share_is_the_median_over_the_seeds() -> None:
    made = make_report([result("static", share, seed) for seed, share in enumerate((0.2, 0.9, 0.3))])
    (found,) = rooflines(made).values()
    assert (found.share, found.peak, found.reason) == (0.3, 859.1e9, None)


def test_more_than_the_peak_is_shown_and_doubted() -> None:
    shown = to_table(report(0.5, 1.25), roofline=True)
    assert "125.0 %" in shown
    assert "- dynamic: more than the peak, which was measured on a busy machine" in shown


def test_where_nothing_was_measured_one_line_says_why() -> None:
    assert to_table(make_report([off("static"), off("dynamic")]), roofline=True).endswith(
        "\nno roofline: the suite has measure.roofline: false\n"
    )
    assert to_table(make_report(), roofline=True).endswith(
        "\nno roofline: no trial of this report measured the machine's peaks\n"
    )
    failed = make_report([make_result(make_trial(), status="oom")])
    assert "no roofline: no trial of this report" in to_table(failed, roofline=True)


def test_a_variant_without_a_share_says_why_beside_those_that_have_one() -> None:
    why = "the model's config lacks hidden size or intermediate size"
    bare = make_result(make_trial("dynamic"))
    lacking = bare.model_copy(
        update={
            "measurements": (*bare.measurements, unmeasured("matmul_peak_share", why), *PEAKS[1:]),
        }
    )
    shown = to_table(make_report([result("static", 0.5), lacking]), roofline=True)
    assert f"- share of the peak not measured (dynamic): {why}" in shown


@pytest.mark.parametrize("name", ["markdown", "html"])
def test_documents_hold_it_wherever_it_was_measured(name: str) -> None:
    shown = written(report(0.125, 0.5), name)
    assert "Roofline" in shown
    assert "50.0 %" in shown
    assert "Roofline" not in written(make_report(), name)
    asked, plain = written(report(0.5), name, roofline=True), written(report(0.5), name)
    if name == "markdown":
        assert asked == plain
    # A page unfolds the part that was asked for, which else lies under its chart.
    row = re.compile(r"\n(?:<tr><th>|\| )tiny-uncased static.*4\.51T.*")
    assert row.findall(asked) == row.findall(plain)
    assert len(row.findall(plain)) == 1
