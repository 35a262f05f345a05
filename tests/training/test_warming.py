"""What is loaded before workers are forked: it starts no thread, changes no number and is never stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from harness.assets.digest import weights_sha256
from harness.model.results import TrialResult
from harness.running.workers.environ import worker_environment
from tests.training.conftest import MakeJob

pytestmark = pytest.mark.heavy

# Forks as the fork server does, so that each trial starts from what its parent has loaded by then.
FORKING: Final = """
import os, sys
from pathlib import Path
from harness.running.workers.fork_server import load_runner, load_warm, os_threads
from harness.model.job import Job

name = "harness.training.run_trial:run_trial"
run, warm = load_runner(name), load_warm(name)
job = Job.model_validate_json(Path("job.json").read_bytes())

def fork(name):
    pid = os.fork()
    if pid == 0:
        sys.stdout = sys.stderr
        Path(name).write_text(run(job, lambda progress: None).model_dump_json())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

fork("cold.json")
warm(job)
fork("warm.json")
weights = Path(job.checkpoint.path) / "model.safetensors"
weights.write_bytes(Path("other.safetensors").read_bytes())
warm(job)
fork("changed.json")
print(os_threads())
"""


def test_a_warm_start_gives_the_same_numbers_follows_a_changed_checkpoint_and_starts_no_thread(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(train={"max_steps": 4})
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(job.checkpoint.path, checkpoint)
    job = job.model_copy(update={"checkpoint": job.checkpoint.model_copy(update={"path": str(checkpoint)})})
    (tmp_path / "job.json").write_text(job.model_dump_json())
    _write_other_weights(checkpoint, tmp_path / "other.safetensors")
    kept = worker_environment(os.environ, threads=1, run_folder=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", FORKING], cwd=tmp_path, env=kept, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"
    cold, warm, changed = (
        TrialResult.model_validate_json((tmp_path / f"{name}.json").read_bytes())
        for name in ("cold", "warm", "changed")
    )
    assert warm.predictions == cold.predictions
    assert warm.epochs == cold.epochs
    assert warm.checkpoint == cold.checkpoint
    assert changed.checkpoint is not None
    assert changed.checkpoint.weights_sha256 == weights_sha256(checkpoint)
    assert changed.predictions != cold.predictions


def _write_other_weights(folder: Path, path: Path) -> None:
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    weights = load_file(folder / "model.safetensors")
    save_file({name: weight * 1.5 for name, weight in weights.items()}, path, metadata={"format": "pt"})
