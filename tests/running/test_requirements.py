"""Which packages harness needs, and which versions of them it accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from harness.errors import UnavailableError
from harness.machine.requirements import require_extra, required, satisfies

LINES = [
    "click>=8.2",
    "tomli>=2; python_version < '3'",
    "torch>=2.10; extra == 'train'",
    'transformers<6,>=5.3; extra == "train"',
    "evaluate[all]>=0.4.6; extra == 'train' and python_version >= '3'",
    "pywin32>=300; extra == 'train' and sys_platform == 'nowhere'",
    "pytest>=8; extra == 'test'",
]
VERSIONS = {"torch": "2.13.0+cpu", "transformers": "5.3.0", "evaluate": "0.4.6"}


def wrong(**versions: str | None) -> list[str]:
    """What is wrong with an installation for training."""
    packages = required(LINES, "train", (VERSIONS | versions).get)
    return [str(package) for package in packages if not package.satisfied]


def test_an_extra_has_its_own_lines_whose_markers_include_this_python() -> None:
    assert [package.needs for package in required(LINES, "train")] == [
        "torch>=2.10",
        "transformers>=5.3,<6",
        "evaluate[all]>=0.4.6",
    ]
    assert [package.needs for package in required(LINES, None)] == ["click>=8.2"]


def test_the_packages_own_metadata_is_satisfied_here() -> None:
    require_extra("train")


@pytest.mark.parametrize(
    ("name", "found", "complaint"),
    [
        ("transformers", "6.0.1", "needs transformers>=5.3,<6, found 6.0.1"),
        ("transformers", "6.0.0rc1", "needs transformers>=5.3,<6, found 6.0.0rc1"),
        ("transformers", "4.57", "needs transformers>=5.3,<6, found 4.57"),
        ("transformers", "unknown", "needs transformers>=5.3,<6, found unknown"),
        ("evaluate", "0.4.5", "needs evaluate[all]>=0.4.6, found 0.4.5"),
        ("torch", None, "needs torch>=2.10, found none"),
        ("torch", "2.9.9+cu128", "needs torch>=2.10, found 2.9.9+cu128"),
    ],
)
def test_every_part_of_a_requirement_is_checked(name: str, found: str | None, complaint: str) -> None:
    assert wrong() == []
    assert wrong(**{name: found}) == [complaint]


@pytest.mark.parametrize(
    ("bounds", "found"),
    [
        (">=2.10", "2.13.0+cpu"),
        ("<=2.13.0", "2.13.0+cpu"),
        ("==2.13.0", "2.13.0+cpu"),
        (">=5.3", "5.3"),
        (">=5.3", "5.3.0rc1"),
        (">=5.3", "6.0.dev0"),
        ("~=5.3", "5.10.1"),
        (">=5.3,<6", "5.9.0b2"),
    ],
)
def test_local_versions_and_pre_releases_fit_like_their_release(bounds: str, found: str) -> None:
    assert satisfies(found, SpecifierSet(bounds))


RELEASES = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))


@given(RELEASES, RELEASES, st.sampled_from(["", "+cpu", "+cu128"]))
def test_versions_are_compared_as_numbers(floor: tuple[int, ...], found: tuple[int, ...], local: str) -> None:
    specifier = SpecifierSet(f">={'.'.join(map(str, floor))}")
    assert satisfies(".".join(map(str, found)) + local, specifier) == (found >= floor)


def test_every_package_that_does_not_fit_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(UnavailableError) as caught:
        require_extra("train", LINES, {"torch": "2.10"}.get)
    assert caught.value.message == (
        "training needs transformers>=5.3,<6, found none; needs evaluate[all]>=0.4.6, found none"
    )
    assert "-m pip install " in (caught.value.hint or "")
