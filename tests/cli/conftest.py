"""Calls of the command line in this process, in an empty folder with an empty cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main

Call = Callable[..., tuple[int, str, str]]
"""Call `harness` with these arguments; return its exit code, standard output and standard error."""


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, with an empty cache and outside of GitHub Actions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)


@pytest.fixture
def call(alone: None, capfd: pytest.CaptureFixture[str]) -> Call:
    """Return the function that calls the command line in the empty folder."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(each) for each in arguments])
        output, errors = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, output, errors

    return call
