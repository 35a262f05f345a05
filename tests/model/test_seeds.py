"""A seed is one number, or a number for each role; both are values of the same field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidInputError
from harness.model.axis import canonical, written
from harness.model.seeds import ROLES, Seed, SeedRoles, number_of, repeated_roles
from harness.model.trial import AXES, Trial
from harness.suite.matrix import expand
from harness.suite.suite_file import parse_suite
from tests.factories import make_trial

numbers = st.integers(0, 2**32 - 1)
seeds = st.one_of(
    st.integers(0, 3), st.builds(SeedRoles, init=st.integers(0, 3), order=st.integers(0, 3) | st.none())
)


def test_a_number_has_the_id_that_it_always_had() -> None:
    assert make_trial(checkpoint="a", seed=3).id == "cdfc4fb8667cacfd"


@given(numbers)
def test_equal_roles_are_the_trial_of_their_number(number: int) -> None:
    roles = make_trial(seed=SeedRoles(init=number, order=number, dropout=number))
    assert roles == make_trial(seed=number)
    assert roles.seed == number


@given(seeds, seeds)
def test_a_trial_has_its_own_id_where_a_role_differs(one: Seed, other: Seed) -> None:
    first, second = make_trial(seed=one), make_trial(seed=other)
    same = all(number_of(one, role) == number_of(other, role) for role in ROLES)
    assert (first.id == second.id) is same
    assert (first.seed == second.seed) is same
    assert first.variant_id == second.variant_id
    assert Trial.model_validate_json(first.model_dump_json()) == first


@given(st.lists(seeds))
def test_seeds_of_both_kinds_have_one_order(given: list[Seed]) -> None:
    expected = sorted(given, key=lambda seed: [number_of(seed, role) for role in ROLES])
    assert [str(make_trial(seed=seed).seed) for seed in sorted(given)] == [
        str(make_trial(seed=seed).seed) for seed in expected
    ]


def test_a_suite_lists_them_together() -> None:
    text = "name: x\nmatrix: {checkpoint: [a], device: [cpu], seed: [1, {init: 1, order: 2}, {init: 7}]}\n"
    suite = parse_suite(text, "suite.yaml", ())
    assert [trial.seed for trial in expand(suite, ["cpu"])] == [
        1,
        SeedRoles(init=1, order=2, dropout=1),
        7,
    ]
    written_again = parse_suite(text, "suite.yaml", ["matrix.seed=[{init: 1, order: 2, dropout: 1}, 4]"])
    roles, number = expand(written_again, ["cpu"])
    assert str(roles.seed) == "{init: 1, order: 2, dropout: 1}"
    assert written(canonical(AXES["seed"], roles.seed)) == {"init": 1, "order": 2, "dropout": 1}
    assert number.seed == 4


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        ("{order: 1}", "init"),
        ("{init: 1, ordr: 2}", "did you mean order"),
        ("{init: -1}", "0"),
        ("first", "must be a whole number"),
    ],
)
def test_a_wrong_seed_is_refused(seed: str, words: str) -> None:
    text = f"name: x\nmatrix: {{checkpoint: [a], device: [cpu], seed: [{seed}]}}\n"
    with pytest.raises(InvalidInputError, match=words):
        parse_suite(text, "suite.yaml", ())


def test_the_same_seed_twice_is_refused() -> None:
    text = "name: x\nmatrix: {checkpoint: [a], device: [cpu], seed: [1, {init: 1, order: 1}]}\n"
    with pytest.raises(InvalidInputError, match="'1' again on the axis seed"):
        parse_suite(text, "suite.yaml", ())


def test_repeated_numbers_of_a_role_are_counted() -> None:
    assert repeated_roles([0, 1, 2]) == {}
    assert repeated_roles([5]) == {}
    assert repeated_roles([]) == {}
    assert repeated_roles([SeedRoles(init=0, order=1, dropout=1), 0, SeedRoles(init=0, order=2)]) == {
        "init": 1,
        "dropout": 2,
    }
