"""What tests of running share: fake runners that workers can import, and a cache of their own."""

from __future__ import annotations

import pytest

from tests.running.fakes import REPOSITORY


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
