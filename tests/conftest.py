"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, settings

from harness.assets.places import cache_root

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of the mark `cuda` where torch finds no GPU."""
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
