from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.assets.hub import hub_at
from tests.assets.hub_layout import FakeHub, serving

NOBODY = "http://127.0.0.1:9"
VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HARNESS_MRPC_DIR", "HF_TOKEN")


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub's and of ours, no Hub in reach, and an empty current directory."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "ours"))
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    hub_at.cache_clear()
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return tmp_path / "hf" / "hub"


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub()) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


@pytest.fixture
def notes() -> list[str]:
    return []
