from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.selecting import select
from harness.errors import InvalidInputError

LABELS = ("minilm, static", "minilm, dynamic", "bert, static", "bert, Dynamic (2 steps)")


@pytest.mark.parametrize(
    ("expression", "places"),
    [
        ("static", (0, 2)),
        ("DYNAMIC", (1, 3)),
        ("not static", (1, 3)),
        ("not not static", (0, 2)),
        ("minilm and static", (0,)),
        ("minilm or bert and static", (0, 1, 2)),
        ("(minilm or bert) and static", (0, 2)),
        ("minilm*", (0, 1)),
        ("static*or*", ()),
        ("b?rt*", (2, 3)),
        ("'bert, static'", (2,)),
        ("'(2'", (3,)),
        ("dynamic and not '(2 steps)'", (1,)),
    ],
)
def test_an_expression_selects_labels(expression: str, places: tuple[int, ...]) -> None:
    if places:
        assert select(expression, LABELS) == {LABELS[place] for place in places}
    else:
        with pytest.raises(InvalidInputError, match="selects none of the variants"):
            select(expression, LABELS)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "a word is missing at the end"),
        ("static and", "a word is missing at the end"),
        ("and static", "a word is missing before and"),
        ("static dynamic", "found 'dynamic' where and, or or the end is expected"),
        ("(static", "a parenthesis is not closed"),
        ("static)", r"found '\)' where"),
        ("'static", "a quote is not closed"),
        ("''", "a word is empty"),
    ],
)
def test_an_unreadable_expression_is_refused(expression: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why):
        select(expression, LABELS)


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("statik", "Did you mean static?"),
        ("minlm and dynamc", "Did you mean minilm or dynamic?"),
        ("zzz", "The variants are minilm, static"),
    ],
)
def test_an_expression_without_a_match_names_near_names(expression: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        select(expression, LABELS)
    assert (caught.value.hint or "").startswith(hint)


def test_a_report_without_variants_has_nothing_to_select() -> None:
    with pytest.raises(InvalidInputError, match="nothing has run"):
        select("static", ())


@given(st.text(alphabet="ab()'\" not*?[]", max_size=24))
def test_a_negated_expression_selects_the_others(expression: str) -> None:
    labels = ("a", "b", "ab", "not", "[a]")

    def selected(text: str) -> frozenset[str] | None:
        try:
            return select(text, labels)
        except InvalidInputError as error:
            return frozenset() if "selects none" in error.message else None

    found, others = selected(expression), selected(f"not ({expression})")
    if found is not None:
        assert others == frozenset(labels) - found
