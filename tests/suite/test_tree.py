from __future__ import annotations

import time

import pytest

from tests.suite.suite_texts import MATRIX, SMALL, refusal, refusal_with, refusals, suite_with


def test_a_tab_is_refused_with_its_line() -> None:
    assert refusal("name: x\n\tmatrix: 1") == (
        "suite.yaml:2:1: a tab at the beginning of the line; indent with spaces, in the line 'matrix: 1'"
    )


def test_broken_indentation_is_refused_with_its_place_and_line() -> None:
    found = refusal("name: x\n  matrix:\n - a\n")
    assert found.startswith("suite.yaml:2:9: ")
    assert "in the line 'matrix:'" in found


def test_a_second_document_is_refused_with_the_line_of_its_mark() -> None:
    assert refusal(f"{SMALL}---\nname: y\n") == "suite.yaml:3:1: a second document; a suite is one document"


@pytest.mark.parametrize(
    ("text", "found"), [("- 1", "a list"), ("just text", "the text 'just text'"), ("3", "the number 3")]
)
def test_a_top_level_that_is_no_mapping_is_refused(text: str, found: str) -> None:
    assert refusal(text) == (
        f"suite.yaml:1:1: expected a mapping with keys such as name, task and matrix; found {found}"
    )


@pytest.mark.parametrize("key", ["1", "true", "~", "[a]", "{a: b}", "1.5"])
def test_a_key_that_is_no_text_is_refused(key: str) -> None:
    assert any(
        "suite.yaml:3:" in line and "a key is text, found" in line
        for line in refusals(f"{SMALL}? {key}\n: 1")
    )


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    assert refusal_with("train: {}\nname: other") == (
        "suite.yaml:4:1: the key 'name' again; it is in line 1 already"
    )


def test_duplicate_keys_are_seen_at_every_level() -> None:
    found = refusal_with("train:\n  learning_rate: 1e-5\n  learning_rate: 2e-5\n")
    assert found == "suite.yaml:5:3: the key 'learning_rate' again; it is in line 4 already"


@pytest.mark.parametrize(
    ("text", "value"), [("5e-5", 5e-5), ("1e-5", 1e-5), (".5", 0.5), ("1", 1.0), ("0x1", 1.0)]
)
def test_numbers_are_those_of_yaml_1_2(text: str, value: float) -> None:
    assert suite_with(f"train: {{learning_rate: {text}}}").train.learning_rate == value


def test_1e5_is_a_number() -> None:
    assert "found the number 100000.0" in refusal_with("train: {learning_rate: 1e5}")


def test_a_quoted_number_is_refused_with_the_remedy() -> None:
    assert refusal_with('train: {learning_rate: "5e-5"}') == (
        "suite.yaml:3:24: learning_rate must be a finite number, more than 0 and at most 1; "
        "found the text '5e-5' (write the number without quotes)"
    )


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("yes", "the text 'yes' (write true)"),
        ("Off", "the text 'Off' (write false)"),
        ("1", "the number 1 (write true)"),
        ('"true"', "the text 'true' (write true without quotes)"),
        ("maybe", "the text 'maybe'"),
        ("[true]", "a list"),
    ],
)
def test_a_switch_is_true_or_false(text: str, advice: str) -> None:
    assert refusal_with(f"measure: {{separate: {text}}}") == (
        f"suite.yaml:3:21: separate must be true or false; found {advice}"
    )
    axis = refusal(f"name: a\nmatrix:\n  checkpoint: [b]\n  train.gradient_checkpointing: [{text}]\n")
    assert axis == f"suite.yaml:4:34: train.gradient_checkpointing must be true or false; found {advice}"


def test_a_merge_key_is_refused_and_an_alias_of_a_whole_value_is_not() -> None:
    assert refusal_with("train: &t {max_steps: 3}\nmeasure: {<<: *t}") == (
        "suite.yaml:4:11: the merge key <<; YAML 1.2 has none: write the keys out, or alias whole values"
    )


@pytest.mark.parametrize("text", ["no", "on", "yes", "off", "12:30", "2026-01-01", "1_000", "0b1", "=", "y"])
def test_what_older_yaml_turns_into_something_else_stays_text(text: str) -> None:
    assert suite_with(f"task: {{label: {text}}}").task.label == text


@pytest.mark.parametrize(("text", "meant"), [("010", 10), ("-007", -7), ("00", 0)])
def test_a_leading_zero_is_refused_with_both_readings(text: str, meant: int) -> None:
    found = refusal(f"name: {text}\n{MATRIX}")
    assert (
        found == f'suite.yaml:1:7: the number {text} has a leading zero: write {meant}, or "{text}" for text'
    )


def test_a_number_of_5000_digits_is_refused_with_the_limit() -> None:
    assert "a value of 5,000 characters, the limit is 4,096" in refusal_with(f"max_trials: {'9' * 5_000}")
    assert "a number of 101 characters, the limit is 100" in refusal_with(f"max_trials: {'9' * 101}")


def test_an_integer_too_large_for_its_key_is_refused_with_the_range() -> None:
    assert "at least 1 and at most 100,000" in refusal_with(f"max_trials: {'9' * 99}")


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!mine", "!!str", "!", "!<tag:x>", "!!binary"])
def test_tags_are_refused_with_their_line(tag: str) -> None:
    assert any("suite.yaml:3:8: the tag" in line for line in refusals(f"{SMALL}train: {tag} x"))


def test_depth_is_limited() -> None:
    assert refusal("a: " + "[" * 100).endswith("nested deeper than 32 levels, the limit")


def test_an_alias_is_expanded_within_the_limits() -> None:
    found = suite_with("train: &a {learning_rate: 1e-4}\ninclude: []\n# &b *a\nreference: {}")
    assert found.train.learning_rate == 1e-4
    assert (
        suite_with("gates: [&g {metric: eval_f1, min: &m 0.5}, {metric: eval_f1, min: *m}]").gates[1].min
        == 0.5
    )


def test_an_alias_bomb_is_refused_with_the_limit() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "more than 20,000 values with all aliases expanded, the limit" in refusal("\n".join(lines))


def test_too_many_aliases_are_refused() -> None:
    assert "more than 100 aliases, the limit" in refusal("a: &a 1\nb: [" + "*a, " * 101 + "]")


def test_aliases_cannot_get_around_the_depth() -> None:
    deep = "[" * 20 + "]" * 20
    assert "nested deeper than 32 levels" in refusal(f"a: &a {deep}\nb: {'[' * 15}*a{']' * 15}")


@pytest.mark.parametrize("text", ["a: &a [*a]", "&a {b: *a}", "a: &a {b: [*a]}"])
def test_a_recursive_alias_is_refused(text: str) -> None:
    assert "the alias 'a' contains itself" in refusal(text)


def test_an_alias_without_anchor_is_refused() -> None:
    assert refusal("a: *b") == "suite.yaml:1:4: the alias 'b' has no anchor above it"


@pytest.mark.parametrize("escape", [r"\0", r"\ud800"])
def test_text_that_no_file_can_hold_is_refused(escape: str) -> None:
    lines = refusals(f'{SMALL}task: {{label: "{escape}"}}')
    assert any("cannot be part of a value" in line or "not YAML" in line for line in lines)


HOSTILE = {
    "brackets": "[" * 999_999,
    "braces": "{" * 999_999,
    "dashes": "- " * 499_999,
    "questions": "? " * 499_999,
    "quotes": 'a: "' + "\\n" * 499_000,
    "folded": "a: >\n" + "  x\n" * 249_000,
    "words": "a: " + ("x " * 9_000 + "\n ") * 55,
    "comments": "#\n" * 499_999,
    "lines": "\n" * 999_999,
    "numbers": "- 1\n" * 249_999,
    "keys": "".join(f"a{n}: 1\n" for n in range(90_000)),
    "tag": "a: !" + "b" * 999_000,
    "tags": ("- !" + "b" * 19_000 + " c\n") * 52,
    "anchors": "- &a 1\n" * 142_000,
    "directives": "%a b\n" * 199_000,
    "surrogates": "\ud800" * 1_000,
    "huge escape": 'a: "\\UFFFFFFFF"',
    "carriage returns": "\r" * 999_999,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_refused_soon_and_with_a_sentence(text: str) -> None:
    taken = _seconds_to_refuse(text)
    # The promise is two seconds on an idle machine. With coverage a slow one has taken more than 20, and then
    # eight times the text may take up to sixteen times as long; what is quadratic takes sixty-four.
    assert taken < 20 or taken < 16 * _seconds_to_refuse(text[: len(text) // 8])


def _seconds_to_refuse(text: str) -> float:
    begun = time.process_time()
    assert "RecursionError" not in " ".join(refusals(text))
    return time.process_time() - begun
