"""A run that really trains, where a process may rely on next to nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running.fakes import REPOSITORY, environ, only_report

pytestmark = pytest.mark.heavy

ONE_STEP = ["-s", "matrix.checkpoint=[embedded/bert-uncased]", "-s", "matrix.padding=[unpadded]"]
ONE_STEP += ["-s", "train.max_steps=1", "-s", "measure.warmup_steps=0"]


def _plant(folder: Path) -> None:
    """A `glue` that `evaluate.load` and `load_dataset` would prefer; it tells when it is run."""
    (folder / "glue").mkdir()
    for place in (folder / "glue" / "glue.py", folder / "glue.py", folder / "datasets.py"):
        place.write_text(f"open({str(folder / 'ran')!r}, 'w')\n")


def test_real_training_needs_no_home_no_writable_caches_no_shared_memory_and_no_network(
    tmp_path: Path,
) -> None:
    """All at once, with a planted `glue` in the current directory that is neither read nor run."""
    _plant(tmp_path)
    suite = str(REPOSITORY / "suites" / "quickstart.yaml")
    harness = [sys.executable, "-P", "-m", "harness", "run", "--assets", "embedded", *ONE_STEP, suite]
    surroundings = environ(
        LC_ALL="C", HF_HOME="/proc/nowhere", HARNESS_CACHE_DIR="/proc/nowhere", TMPDIR=str(tmp_path)
    )
    for name in ("HOME", "XDG_CACHE_HOME", "TZ"):
        surroundings.pop(name, None)
    hidden = [
        "unshare",
        "--mount",
        "--net",
        "sh",
        "-c",
        'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$@"',
        "sh",
    ]
    hide = hidden if shutil.which("unshare") and os.geteuid() == 0 else []
    if hide and subprocess.run([*hide, "true"], capture_output=True, check=False).returncode:
        hide = []
    done = subprocess.run(
        [*hide, *harness], cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (result,) = only_report(tmp_path / "reports").results
    assert result.status == "completed"
    assert not (tmp_path / "ran").exists()


def test_a_suite_that_only_tokenises_runs_with_processes_and_proves_nothing(tmp_path: Path) -> None:
    suite = str(REPOSITORY / "suites" / "tokenization.yaml")
    ways = "matrix.tokenization=[whole, {method: map_batched, num_proc: 2}]"
    command = [sys.executable, "-P", "-m", "harness", "run", "--assets", "embedded", suite]
    done = subprocess.run(
        [*command, "-s", ways, "-s", "matrix.tokenizer=[fast]", "-s", "matrix.seed=[0]"],
        cwd=tmp_path,
        env=environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = only_report(tmp_path / "reports")
    assert [result.status for result in report.results] == ["completed", "completed"]
    assert report.proofs == ()
    assert "the same token ids" in done.stdout
