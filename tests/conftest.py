"""What all tests share."""

from __future__ import annotations

import os
import signal
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from harness.assets.places import cache_root

# What runs heavy code in other processes, or repeats, kills or simulates for minutes. Its mark is `slow`:
# coverage of the light half does not need it.
SLOW: Final = (
    *("training", "flips", "benchmarks", "tools", "guards"),
    *("analysis/test_error_rates.py", "store/test_killing.py", "store/test_crashes.py"),
    *("running/test_ray_cluster.py", "running/test_killed_parent.py", "running/test_hostile_workers.py"),
    *("cli/test_hostile_suites.py", "cli/test_broken_surroundings.py", "output/test_pages_in_browser.py"),
    *("test_additions.py", "test_commands_in_docs.py", "test_prose.py"),
)

# The marks of the light half, as `make coverage` gives them to `-m`.
LIGHT: Final = "not heavy and not slow"

# A slow day must fail no test: what takes long is measured by benchmarks.
settings.register_profile("harness", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harness")


def pytest_configure() -> None:
    """Give the programs that tests start the default signal handlers, whatever this process inherited.

    `nohup`, and a non-interactive shell for a job in its background, ignore signals for all that they start.
    A program inherits that, but not a handler: with one that does nothing, this process still ignores them.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _do_nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@cache
def _is_slow(path: Path) -> bool:
    return any(path.is_relative_to(Path(__file__).parent / name) for name in SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave slow files out of the light half: each process would import torch for tests that it deselects."""
    return True if config.option.markexpr == LIGHT and _is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of slow files, start with these files, and skip `cuda` where torch finds no GPU."""
    for item in items:
        if _is_slow(item.path):
            item.add_marker("slow")
    # A file that takes minutes and starts last would leave the other processes of `make test` idle.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    import torch  # noqa: PLC0415 - light tests run without it

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device is here"))


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal that this process was started to ignore."""


@pytest.fixture(scope="session")
def mrpc_dir() -> Path:
    """The folder with the real MRPC; skips without it."""
    folder = os.environ.get("HARNESS_MRPC_DIR")
    if not folder:
        pytest.skip("set HARNESS_MRPC_DIR to a folder with the files of MRPC")
    return Path(folder)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the pretrained MiniLM, which has BERT's uncased vocabulary; skips without it."""
    folder = cache_root() / "checkpoints" / "minilm"
    if not folder.exists():
        pytest.skip("the pretrained checkpoint is missing: harness fetch minilm")
    return folder
