from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.output.safe_text import safe_lines, safe_text

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bert-base-uncased", "bert-base-uncased"),
        ("größer, 日本語, 😀", "größer, 日本語, 😀"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edef", "abc\\u202edef"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"),
        ("\ud800", "\\ud800"),
        ("\x00", "\\x00"),
        ("\u2028\u00a0", "\\u2028\\xa0"),
        ("\U000e0041", "\\U000e0041"),
        ("::error file=a::b", "\\x3a:error file=a::b"),
        ("std::vector<c10::Error>", "std::vector<c10::Error>"),
        ("x ##[error]y ##vso[task", "x \\x23#[error]y \\x23#vso[task"),
        ("a\u3164b\ufe0f", "a\\u3164b\\ufe0f"),
    ],
)
def test_what_is_unseen_is_spelt_out_and_the_rest_is_left_alone(text: str, shown: str) -> None:
    assert safe_text(text) == shown


@given(ANY_TEXT)
def test_nothing_that_controls_hides_or_cannot_be_encoded_remains(text: str) -> None:
    shown = safe_text(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert shown.encode().decode() == shown
    assert safe_text(shown) == shown


def test_what_is_too_long_says_how_much_is_left_out() -> None:
    assert safe_text("x" * 1_300, limit=100) == "x" * 100 + "… (1,200 more characters)"
    assert safe_text("x" * 100, limit=100) == "x" * 100


@given(ANY_TEXT)
def test_the_lines_of_a_log_are_safe_too(text: str) -> None:
    assert all(line.isprintable() for line in safe_lines(text))


def test_a_progress_bar_in_a_log_becomes_lines_of_its_own() -> None:
    assert safe_lines("10%\r20%\r\ndone\x1b[0m\n\n") == ["10%", "20%", "done\\x1b[0m"]
