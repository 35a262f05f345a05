"""harness: batch evaluation and benchmarking of fine-tuning.

The public names are resolved when first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from harness.analysis.comparison.compare import compare as compare
    from harness.analysis.gates.check import check as check
    from harness.api import RunOptions as RunOptions
    from harness.api import Side as Side
    from harness.api import run_along as run_along
    from harness.api import run_sides as run_sides
    from harness.api import run_suite as run_suite
    from harness.store.reading import load_report as load_report
    from harness.suite.reading import load_suite as load_suite

__version__ = "0.1.0"

# public name -> the module it lives in
_PUBLIC: Final = {
    "check": "harness.analysis.gates.check",
    "compare": "harness.analysis.comparison.compare",
    "load_report": "harness.store.reading",
    "run_suite": "harness.api",
    "run_sides": "harness.api",
    "run_along": "harness.api",
    "Side": "harness.api",
    "RunOptions": "harness.api",
    "load_suite": "harness.suite.reading",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
