"""Check that what trains is installed and new enough, before a process is started for it.

The floors are those of the package's own metadata, so that they are written down once.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable
from typing import Final, Literal

from harness.errors import UnavailableError

INSTALL: Final = "pip install 'harness[train]'"

_NEEDED_BY: Final = {"train": "training", "ray": "a Ray cluster"}
_REQUIREMENT: Final = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)\s*>=\s*(?P<floor>[0-9][0-9.]*)\s*"
    r"(?:;.*extra\s*==\s*['\"](?P<extra>[a-z]+)['\"].*)?"
)


def require_extra(
    extra: Literal["train", "ray"],
    requirements: Iterable[str] | None = None,
    installed: Callable[[str], str | None] | None = None,
) -> None:
    """Make sure that every package of an extra is here and at its floor or above.

    Args:
        extra: its name.
        requirements: requirement lines; None takes those of the installed `harness`.
        installed: the version of a package, or None where it is missing.

    Raises:
        UnavailableError: naming each package that is missing or too old, and how to install them.
    """
    lines = own_requirements() if requirements is None else requirements
    version_of = installed or installed_version
    complaints = [
        f"needs {name}>={floor}, found {found or 'none'}"
        for name, floor in floors(lines, extra).items()
        if is_below(found := version_of(name), floor)
    ]
    if complaints:
        raise UnavailableError(
            f"{_NEEDED_BY[extra]} {'; '.join(complaints)}",
            hint=f"Install it: {INSTALL.replace('train', extra)}",
        )


def floors(requirements: Iterable[str], extra: str | None) -> dict[str, str]:
    """The lowest version of each package in that extra, by name; of the package itself for None."""
    found = (_REQUIREMENT.fullmatch(line) for line in requirements)
    return {match["name"]: match["floor"] for match in found if match and match["extra"] == extra}


def own_requirements() -> list[str]:
    """The requirement lines of the installed `harness`; none where it runs without being installed."""
    try:
        return importlib.metadata.requires("harness") or []
    except importlib.metadata.PackageNotFoundError:
        return []


def installed_version(name: str) -> str | None:
    """The version of an installed package, or None where it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_below(found: str | None, floor: str) -> bool:
    """Whether a package is missing or older than its floor."""
    return found is None or _release(found) < _release(floor)


def _release(version: str) -> tuple[int, ...]:
    """`2.13.0+cpu` as (2, 13): local parts and trailing zeros do not order releases."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[^0-9.]", version, maxsplit=1)[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
