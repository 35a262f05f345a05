"""Results in a notebook: pages and data frames, made by `harness.output.notebook`.

That module is named by a string: the models are below `output/`, and load it only when a notebook asks.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

_MAKER: Final = "harness.output.notebook"


class Shown:
    """A result that a notebook shows as its page."""

    def _repr_html_(self) -> str:
        return str(made("page", self))


def made(name: str, result: object) -> Any:
    """Call the function of that name in `harness.output.notebook` with a result."""
    return getattr(import_module(_MAKER), name)(result)
