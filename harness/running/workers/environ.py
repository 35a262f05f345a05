"""The environment variables of the processes that train: set, taken out, and why."""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from harness.machine.redaction import is_secret_name
from harness.programs import child_environment


def worker_environment(
    environ: Mapping[str, str], *, threads: int, run_folder: Path, offline: bool = True
) -> dict[str, str]:
    """Return the environment variables of a worker.

    Secrets are taken out: every asset is on this machine by then, so nothing needs to log in anywhere.
    `child_environment` takes out relative search paths and variables that change how Python runs code.

    Args:
        environ: the environment of the parent.
        threads: how many CPU threads a trial computes with.
        run_folder: where caches go that have no writable place of their own.
        offline: forbid the Hub's library to connect, so that nothing waits for a network.
    """
    kept = {name: value for name, value in child_environment(environ).items() if not _leaves_out(name)}
    # Threads that spin while they wait steal the processor from each other as soon as anything else runs: by
    # default a step of a small model takes ten times as long on two busy cores. So few spins cost two times
    # there, and nothing that could be measured on idle ones. libgomp reads it, which is torch's on Linux.
    kept.setdefault("GOMP_SPINCOUNT", "3000")
    # glibc gives every large block back to the system when it is freed, and each step of a training faults
    # its pages in again: 12,000 faults and a tenth of the step at MiniLM's size. Kept blocks cost no memory.
    kept.setdefault("MALLOC_MMAP_MAX_", "0")
    kept.setdefault("MALLOC_TRIM_THRESHOLD_", str(2**40))
    # Without compiled modules every start takes half a minute.
    if not os.access(sysconfig.get_path("purelib"), os.W_OK):
        kept.setdefault("PYTHONPYCACHEPREFIX", str(run_folder / "cache" / "pycache"))
    kept |= {
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # These start threads at import, and nothing may be forked from a process that has threads. numpy's
        # products are no part of training; torch has its own.
        "OPENBLAS_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
    }
    if offline:
        kept["HF_HUB_OFFLINE"] = "1"
    if not _is_writable(_hf_home(kept)):
        kept["HF_HOME"] = str(run_folder / "cache" / "huggingface")
    return kept


def _leaves_out(name: str) -> bool:
    # accelerate would compile the model of `Trainer`, whatever the trial asks for. A remote cache would have
    # compiled before.
    compiles = name.startswith("ACCELERATE_DYNAMO_") or re.fullmatch("TORCHINDUCTOR_.*REMOTE_CACHE", name)
    return bool(compiles) or name.startswith("AWS_") or is_secret_name(name)


def _hf_home(environ: Mapping[str, str]) -> Path | None:
    """Where the Hub's library keeps its files, None where there is no home folder to keep them in."""
    if "HF_HOME" in environ:
        return Path(environ["HF_HOME"]).expanduser()
    if "XDG_CACHE_HOME" in environ:
        return Path(environ["XDG_CACHE_HOME"]) / "huggingface"
    try:
        return Path.home() / ".cache" / "huggingface"
    except RuntimeError:
        return None


def _is_writable(folder: Path | None) -> bool:
    """Whether the folder can be made, or is there, and can be written in; the library would make it too."""
    if folder is None:
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
