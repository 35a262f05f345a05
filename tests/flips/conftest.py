"""How many files are damaged, and how often each outcome occurred."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from tests.flips.damage import Outcome

# Seconds in every test run; HARNESS_TEST_FLIPS=2000 takes minutes.
FEW: Final = 200
_TALLY: Final[Counter[tuple[str, Outcome]]] = Counter()


@pytest.fixture
def flips() -> Callable[[float], range]:
    """The numbers of the flips of a test that makes this share of all."""
    total = int(os.environ.get("HARNESS_TEST_FLIPS", FEW))
    return lambda share: range(max(1, round(share * total)))


@pytest.fixture
def tally() -> Callable[[str, Outcome], None]:
    """Count an outcome for a kind of file."""

    def count(file: str, outcome: Outcome) -> None:
        _TALLY[file, outcome] += 1

    return count


@pytest.fixture(autouse=True)
def _without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of the time of a small run, and outlives only a loss of power."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HARNESS_MRPC_DIR", raising=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the outcomes by file where their number was asked for."""
    if not _TALLY or "HARNESS_TEST_FLIPS" not in os.environ:
        return
    terminalreporter.section("damaged files")
    for file in sorted({file for file, _ in _TALLY}):
        counts = {outcome: number for (name, outcome), number in _TALLY.items() if name == file}
        listed = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
        terminalreporter.write_line(f"{file}: {sum(counts.values())}: {listed}")
    terminalreporter.write_line(f"{_TALLY.total()} in total")
