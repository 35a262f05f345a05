"""What workers are given: packages, environment variables, folders; and what the host says of memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from harness.foreign import last_lines
from harness.machine.facts import oom_kills
from harness.running.options import DEFAULT_RUNNER
from harness.running.workers.environ import worker_environment


def test_workers_get_threads_compiled_modules_and_no_secret(tmp_path: Path) -> None:
    given = {"PATH": "/bin", "HF_TOKEN": "x", "PYTHONDONTWRITEBYTECODE": "1", "AWS_PROFILE": "me"}
    kept = worker_environment(given | {"HF_HOME": str(tmp_path)}, threads=3, run_folder=tmp_path)
    assert kept["PATH"] == "/bin"
    assert kept["OMP_NUM_THREADS"] == kept["MKL_NUM_THREADS"] == "3"
    assert kept["TOKENIZERS_PARALLELISM"] == "false"
    assert kept["HF_HOME"] == str(tmp_path)
    assert not {"HF_TOKEN", "PYTHONDONTWRITEBYTECODE", "AWS_PROFILE"} & kept.keys()


def test_workers_run_python_as_it_is_and_search_no_relative_folder(tmp_path: Path) -> None:
    given = {"PATH": ".:/bin:", "PYTHONPATH": f":{tmp_path}", "PYTHONOPTIMIZE": "2", "PYTHONSTARTUP": "x.py"}
    given |= {
        "PYTHONTRACEMALLOC": "5",
        "PYTHONWARNINGS": "error",
        "PYTHONINSPECT": "1",
        "PYTHONMALLOC": "debug",
    }
    kept = worker_environment(given | {"HF_HOME": str(tmp_path)}, threads=1, run_folder=tmp_path)
    assert (kept["PATH"], kept["PYTHONPATH"]) == ("/bin", str(tmp_path))
    ours = {"PYTHONPATH", "PYTHONUTF8", "PYTHONUNBUFFERED", "PYTHONPYCACHEPREFIX"}
    assert {name for name in kept if name.startswith("PYTHON")} <= ours


def test_nothing_compiles_a_model_or_has_compiled_it_before(tmp_path: Path) -> None:
    """The axis `compile` alone decides; settings of the compiler are the user's."""
    given = {
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
        "ACCELERATE_DYNAMO_MODE": "default",
        "TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE": "1",
        "TORCHINDUCTOR_AUTOTUNE_REMOTE_CACHE": "1",
        "TORCHINDUCTOR_MAX_AUTOTUNE": "1",
    }
    kept = worker_environment(given | {"HF_HOME": str(tmp_path)}, threads=1, run_folder=tmp_path)
    assert given.keys() & kept.keys() == {"TORCHINDUCTOR_MAX_AUTOTUNE"}


_FAULTS_OF_A_SECOND_BLOCK = """
import resource
import numpy
numpy.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
numpy.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the variables are those of glibc")
def test_memory_that_a_worker_frees_is_not_faulted_in_again(tmp_path: Path) -> None:
    def faults(environ: dict[str, str]) -> int:
        command = [sys.executable, "-c", _FAULTS_OF_A_SECOND_BLOCK]
        return int(subprocess.run(command, env=environ, capture_output=True, check=True).stdout)

    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    kept = worker_environment(plain, threads=1, run_folder=tmp_path)
    # The kernel gives 64 MiB in anything from 32 huge pages to 16,384 small ones.
    assert faults(kept) < 10 < faults(plain)


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null/x"])
def test_a_cache_that_cannot_be_written_moves_into_the_run(tmp_path: Path, home: str) -> None:
    kept = worker_environment({"HF_HOME": home}, threads=1, run_folder=tmp_path)
    assert kept["HF_HOME"] == str(tmp_path / "cache" / "huggingface")


def test_kills_for_memory_are_counted_on_the_machine_and_in_either_kind_of_control_group(
    tmp_path: Path,
) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 3\n")
    (tmp_path / "cgroup").write_text("4:memory:/job\n0::/job\n")
    for name, text in (
        ("memory/job/memory.oom_control", "oom_kill 2\n"),
        ("job/memory.events", "oom_kill 1\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert oom_kills(tmp_path / "vmstat", tmp_path / "cgroup", tmp_path) == 6
    assert oom_kills(tmp_path / "none", tmp_path / "none", tmp_path) == 0


def test_the_tail_of_a_log_is_its_last_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == ""
    log.write_bytes(b"first\n" + b"x" * 50 + b"\nlast \xff\n")
    assert last_lines(log) == "first\n" + "x" * 50 + "\nlast \ufffd"
    assert last_lines(log, size=30) == "last \ufffd"
    assert last_lines(log, lines=1) == "last \ufffd"
    (tmp_path / "link").symlink_to(log)
    assert last_lines(tmp_path / "link") == ""


@pytest.mark.heavy
def test_importing_what_trains_starts_no_thread_in_the_workers_environment(tmp_path: Path) -> None:
    code = (
        "from harness.running.workers.fork_server import load_runner, os_threads\n"
        f"load_runner({DEFAULT_RUNNER!r})\nprint(os_threads())"
    )
    kept = worker_environment(os.environ, threads=2, run_folder=tmp_path)
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
