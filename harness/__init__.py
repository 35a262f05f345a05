"""Batch evaluation and benchmarking of fine-tuning.

The names in `__all__` are the public API; every other name may change. They are resolved on first use, so
that importing the package stays cheap, and none of them imports torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from harness.analysis.comparison.comparing import compare
    from harness.analysis.comparison.models import Comparison
    from harness.analysis.gates.applying import check
    from harness.analysis.gates.cases import GateReport
    from harness.api import Run, RunOptions, expand, prove_suite, run_suite
    from harness.errors import (
        HarnessError,
        InvalidInputError,
        LockedError,
        NotComparableError,
        StorageError,
        UnavailableError,
    )
    from harness.model.job import Observer
    from harness.model.metrics import METRICS
    from harness.model.results import Report, TrialResult
    from harness.model.suite import Suite
    from harness.model.trial import AXES, Trial
    from harness.store.reading import load_report
    from harness.suite.suite_file import load_suite

__version__ = "0.1.0"

__all__ = [
    "AXES",
    "METRICS",
    "Comparison",
    "GateReport",
    "HarnessError",
    "InvalidInputError",
    "LockedError",
    "NotComparableError",
    "Observer",
    "Report",
    "Run",
    "RunOptions",
    "StorageError",
    "Suite",
    "Trial",
    "TrialResult",
    "UnavailableError",
    "UntilDecided",
    "__version__",
    "check",
    "compare",
    "expand",
    "load_report",
    "load_suite",
    "prove_suite",
    "run_suite",
]

# module -> the public names in it
_PUBLIC: Final = {
    "harness.analysis.comparison.comparing": ("compare",),
    "harness.analysis.comparison.models": ("Comparison",),
    "harness.analysis.gates.applying": ("check",),
    "harness.analysis.gates.cases": ("GateReport",),
    "harness.api": ("expand", "prove_suite", "run_suite"),
    "harness.errors": (
        "HarnessError",
        "InvalidInputError",
        "LockedError",
        "NotComparableError",
        "StorageError",
        "UnavailableError",
    ),
    "harness.model.job": ("Observer",),
    "harness.model.metrics": ("METRICS",),
    "harness.model.results": ("Report", "TrialResult"),
    "harness.model.suite": ("Suite",),
    "harness.model.trial": ("AXES", "Trial"),
    "harness.running.options": ("RunOptions", "UntilDecided"),
    "harness.running.seams": ("Run",),
    "harness.store.reading": ("load_report",),
    "harness.suite.suite_file": ("load_suite",),
}
_MODULES: Final = {name: module for module, names in _PUBLIC.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
