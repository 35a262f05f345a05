from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import InvalidInputError
from harness.suite.suite_file import load_suite, parse_suite, read_suite
from tests.suite.suite_texts import SMALL, refusal


def test_a_suite_file_is_read_from_a_path_in_any_form(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    assert read_suite(path) == load_suite(str(path)) == parse_suite(SMALL, "anything")


def test_a_missing_file_names_its_nearest_sibling(tmp_path: Path) -> None:
    (tmp_path / "padding.yaml").write_text(SMALL)
    with pytest.raises(InvalidInputError, match="no such suite file") as caught:
        read_suite(tmp_path / "paddng.yaml")
    assert caught.value.hint == f"Did you mean {tmp_path}/padding.yaml?"


def test_a_missing_file_in_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_suite(tmp_path / "nowhere" / "x.yaml")
    assert "does not exist either" in str(caught.value)


def test_a_folder_is_refused_with_the_suites_in_it(tmp_path: Path) -> None:
    (tmp_path / "padding.yaml").write_text(SMALL)
    with pytest.raises(InvalidInputError, match="is a folder") as caught:
        read_suite(tmp_path)
    assert "padding.yaml" in str(caught.value.hint)


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InvalidInputError, match="not a regular file"):
        read_suite(tmp_path / "pipe.yaml")


def test_an_unreadable_file_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)

    def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("harness.suite.text.open_regular", denied)
    with pytest.raises(InvalidInputError, match="cannot be read: Permission denied"):
        read_suite(path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "\x1b[31m.yaml"])
def test_a_hostile_path_is_refused_and_shown_escaped(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_suite(tmp_path / name)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("text", ["", "   \n", "# only a comment\n", "---\n", "~\n", "\ufeff"])
def test_an_empty_suite_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInputError, match="the suite is empty") as caught:
        parse_suite(text, "suite.yaml")
    example = str(caught.value.hint).partition("\n")[2]
    assert parse_suite(example, "example").name == "example"


def test_latin_1_is_refused_with_the_offset_of_its_byte() -> None:
    assert "not UTF-8: byte 0xe9 at byte offset 9" in refusal("name: caf\u00e9".encode("latin-1"))


def test_utf_16_is_refused() -> None:
    assert "not UTF-8" in refusal(SMALL.encode("utf-16"))


def test_a_nul_is_refused_with_its_offset_and_place() -> None:
    assert refusal(b"\xef\xbb\xbfname: x\r\n a\0") == (
        "suite.yaml:2:3: the control character U+0000 at byte offset 14; remove it"
    )


def test_a_byte_order_mark_and_windows_line_ends_are_accepted() -> None:
    assert parse_suite(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode(), "x").name == "small"


def test_a_file_beyond_a_million_bytes_is_refused() -> None:
    assert "larger than 1,000,000 bytes, the limit" in refusal("#" * 1_000_001)


def test_a_line_beyond_its_limit_is_refused() -> None:
    assert "suite.yaml:2:1: a line of more than 20,000 characters, the limit" in refusal(
        "a:\n" + "x" * 20_001
    )
