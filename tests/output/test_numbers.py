from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.output.numbers import NOTHING, duration, percent, points, rate, significant, size
from harness.words import count


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(0.8578), "85.8 %"),
        (percent(0.8578, 0.0061), "85.8 ±0.6 %"),
        (percent(None), NOTHING),
        (points(0.0042), "+0.4 points"),
        (points(-0.01), "-1.0 points"),
        (rate(12_345, "tokens/s"), "12.3k tokens/s"),
        (rate(999.6), "1.00k"),
        (rate(28.04, "samples/s"), "28.0 samples/s"),
        (rate(0.0123), "0.0123"),
        (rate(1.5e15), "1500T"),
        (rate(0.0), "0"),
        (size(1_288_490_189), "1.2 GiB"),
        (size(512), "512 B"),
        (size(1023.99), "1.0 KiB"),
        (size(None), NOTHING),
        (duration(0.01234), "12.3 ms"),
        (duration(0.9996), "1.0 s"),
        (duration(4.21), "4.2 s"),
        (duration(59.6), "1 min 00 s"),
        (duration(185), "3 min 05 s"),
        (duration(7_620), "2 h 07 min"),
        (duration(0), "0 s"),
        (count(1, "trial"), "1 trial"),
        (count(3_668, "example"), "3,668 examples"),
        (significant(9.996), "10.0"),
    ],
)
def test_numbers_carry_their_unit_and_sensible_digits(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_three_digits_are_within_half_a_percent_of_the_value(value: float) -> None:
    assert float(significant(value)) == pytest.approx(value, rel=0.005)


@given(st.floats(min_value=0, max_value=1e9))
def test_every_duration_can_be_written(seconds: float) -> None:
    assert duration(seconds).endswith(("s", "min"))
    assert "60 s" not in duration(seconds).replace("160 s", "")
