"""Commands where torch is not installed: every sentence names torch, not a missing GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running.fakes import REPOSITORY, RUNNERS, environ, write_suite

CUDA = ("-s", "matrix.device=[cuda]")


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of everything that is installed here, without torch."""
    folder = tmp_path_factory.mktemp("site-packages")
    for site in map(Path, sys.path):
        for entry in site.iterdir() if site.name == "site-packages" else ():
            if not entry.name.startswith(("torch", "__pycache__")) and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    assert not (folder / "torch").exists()
    return folder


def harness(*arguments: str | Path, cwd: Path, site: Path) -> tuple[int, str]:
    """Exit code and all output of a command line in a Python that finds its packages in `site` alone."""
    paths = [str(REPOSITORY), str(site)]
    called = f"main({[*map(str, arguments)]!r})"
    code = f"import sys; sys.path[:0] = {paths!r}; from harness.cli import main; {called}"
    surroundings = environ(HARNESS_CACHE_DIR=str(cwd / "cache"), HF_HUB_OFFLINE="1", NO_COLOR="1")
    surroundings.pop("HARNESS_MRPC_DIR", None)
    line = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(line, cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def test_the_doctor_names_torch_as_missing(without_torch: Path, tmp_path: Path) -> None:
    code, output = harness("doctor", "--offline", cwd=tmp_path, site=without_torch)
    assert code == 69
    assert "problem  training needs torch>=2.11, found none\n" in output
    assert "-m pip install " in output
    assert "; torch is not installed\n" in output
    assert "built for the CPU" not in output


def test_a_run_on_cuda_needs_torch_first(without_torch: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    code, output = harness("run", "--assets", "embedded", *CUDA, suite, cwd=tmp_path, site=without_torch)
    assert code == 69
    assert "training needs torch>=2.11, found none\n" in output
    assert "-m pip install " in output


def test_a_device_that_needs_torch_is_refused_for_its_absence(without_torch: Path, tmp_path: Path) -> None:
    options = ("--assets", "embedded", "--runner", f"{RUNNERS}:good", *CUDA)
    code, output = harness("run", *options, write_suite(tmp_path), cwd=tmp_path, site=without_torch)
    assert code == 69
    assert "cuda:0: not here; this machine has cpu and torch is not installed" in output


def test_a_plan_on_cuda_tells_that_torch_is_missing(without_torch: Path, tmp_path: Path) -> None:
    code, output = harness("plan", *CUDA, write_suite(tmp_path), cwd=tmp_path, site=without_torch)
    assert code == 0
    assert "cuda:0             not here (torch is not installed): its trials will be unavailable\n" in output
