"""Passed proofs that later runs on this machine take over, and the conditions under which they may."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

from harness.analysis.parity import verdict_of
from harness.analysis.training_verdicts import training_verdict
from harness.assets.digest import file_sha256
from harness.errors import HarnessError
from harness.machine.facts import describe_environment, describe_gpus
from harness.model.job import Job
from harness.model.results import TrialResult
from harness.running.workers.interpreter import this_interpreter
from harness.store.folders import make_folder
from harness.store.trial_folder import read_result, write_result

# Conditions of which the cache keeps proofs: an edit of the code changes them.
_MOST_CONDITIONS: Final = 16
# Libraries whose code a proof runs.
_LIBRARIES: Final = (
    *("accelerate", "datasets", "evaluate", "huggingface_hub", "kernels", "numpy", "peft", "pyarrow"),
    *("safetensors", "scipy", "tokenizers", "torch", "transformers", "triton"),
)
_MODULES: Final = (".py", ".so", ".pyd", ".dylib")
# Files of the folders of packages that Python runs when it starts.
_AT_START: Final = ("sitecustomize.py", "usercustomize.py", "*.pth")
# Variables that differ between two terminals, or two commands in one, and that no library of these reads.
_OF_TERMINAL: Final = frozenset(
    {"_", "COLUMNS", "DISPLAY", "GPG_TTY", "LINES", "OLDPWD", "PWD", "SHLVL", "WINDOWID"}
)
_OF_TERMINALS: Final = ("MAKE", "MFLAGS", "SSH_", "TERM", "TMUX", "XDG_SESSION", "VSCODE_")


def passes(proof: TrialResult) -> bool:
    """Return whether a proof shows that its variant computes, or trains, as the reference does."""
    if proof.parity is not None:
        return verdict_of(proof) in ("exact", "within")
    return training_verdict(proof) == "same"


class ProofStore:
    """Passed proofs of earlier runs on this machine, each under all that could change its result.

    A proof is found again only for an equal job, in which are the digests of the checkpoint's and the data
    set's files, under equal conditions. They are taken here, before the workers start that make proofs, and
    once more after these have ended: if they changed meanwhile, nothing is stored.

    Args:
        folder: in the cache of this machine.
        take: takes the digest of the conditions, as `conditions` does.
    """

    def __init__(self, folder: Path, take: Callable[[], str]) -> None:
        self._folder = folder
        self._take = take
        self._conditions = take()

    def find(self, jobs: Mapping[str, Job]) -> dict[str, TrialResult]:
        """Return the stored proofs of these jobs, by the same ids."""
        found = {id_: self._read(job) for id_, job in jobs.items() if _can_be_stored(job)}
        return {id_: proof for id_, proof in found.items() if proof is not None}

    def ids(self) -> frozenset[str]:
        """Return the ids of all proofs under these conditions, whatever the files of their checkpoints."""
        return frozenset(place.name for place in (self._folder / self._conditions).glob("*/*"))

    def keep(self, proofs: Iterable[tuple[Job, TrialResult]]) -> str | None:
        """Store those that passed; return why that was impossible, or None."""
        passed = [(job, proof) for job, proof in proofs if _can_be_stored(job) and passes(proof)]
        if not passed:
            return None
        if self._take() != self._conditions:
            return "proofs are not kept for later runs: code or libraries changed while they were made"
        try:
            for job, proof in passed:
                place = self._place(job)
                make_folder(place)
                write_result(place, proof)
            self._forget_old()
        except (HarnessError, OSError) as error:
            why = error.message if isinstance(error, HarnessError) else error
            return f"proofs are not kept for later runs: {why}"
        return None

    def _read(self, job: Job) -> TrialResult | None:
        place = self._place(job)
        try:
            # In a cache that several users share, a proof is as good as the user who made it.
            if place.stat().st_uid != os.getuid():
                return None
            proof = read_result(place)
        except (HarnessError, OSError):
            return None
        if proof.trial != job.trial or not passes(proof):
            return None
        return proof.model_copy(update={"reused": True})

    def _place(self, job: Job) -> Path:
        key = hashlib.sha256(job.model_dump_json().encode()).hexdigest()
        return self._folder / self._conditions / key / job.trial.id

    def _forget_old(self) -> None:
        """Remove the proofs under the conditions that were used least recently."""
        # Another run may remove them at the same time.
        with suppress(FileNotFoundError):
            (self._folder / self._conditions).touch()
            every = sorted(self._folder.iterdir(), key=lambda each: each.stat().st_mtime)
            for each in every[:-_MOST_CONDITIONS]:
                shutil.rmtree(each, ignore_errors=True)


def _can_be_stored(job: Job) -> bool:
    """Return whether job and conditions cover all that its proof depends on.

    They do not cover the compiler that Inductor calls, nor a kernel of the Hub.
    """
    known = job.checkpoint.digests is not None and job.data.files_sha256 is not None
    return known and job.trial.compile.mode == "off" and job.trial.attention_kernel is None


def proof_store(cache: Path, runner: str) -> ProofStore:
    """Return the proofs in the cache of this machine that its workers made with a runner."""
    return ProofStore(cache / "proofs", partial(conditions, runner))


def conditions(runner: str) -> str:
    """Return the SHA-256 over everything but its job that a result of this machine's workers depends on.

    These are the code of harness and of the runner; Python, what it runs when it starts, every installed
    package, and the size and time of each module of the libraries that train; the processor, the GPUs with
    their driver, the kernel and the C library; and all environment variables but those of a terminal.

    Args:
        runner: `module:function` of the runner of trials.
    """
    here = describe_environment()
    parts = [
        this_interpreter().code_sha256(),
        f"{runner} {_runner_sha256(runner)}",
        f"{sys.version} {here.system} {_libc()} {here.cpu.model_dump_json()}",
        *(device.model_dump_json() for device in describe_gpus().values()),
        *sorted(f"{name}={value}" for name, value in os.environ.items() if not _is_of_terminal(name)),
        *sorted(found.name for folder in sys.path for found in Path(folder).glob("*.dist-info")),
        *(
            f"{found} {_content(found)}"
            for folder in sys.path
            for pattern in _AT_START
            for found in sorted(Path(folder).glob(pattern))
        ),
        *sorted(chain.from_iterable(map(_modules_of, _LIBRARIES))),
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _runner_sha256(runner: str) -> str:
    try:
        found = importlib.util.find_spec(runner.partition(":")[0])
    except (ImportError, ValueError):
        # Every trial meets that, and fails with the reason.
        return ""
    return "" if found is None or found.origin is None else file_sha256(Path(found.origin))


def _content(path: Path) -> str:
    """Return the SHA-256 of a file; nothing for one that cannot be read, which Python skips too."""
    try:
        return file_sha256(path)
    except (HarnessError, OSError):
        return ""


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):
        return None


def _modules_of(library: str) -> Iterator[str]:
    """Yield path, size and modification time of each module of a library that is installed."""
    found = importlib.util.find_spec(library)
    for top in (found and found.submodule_search_locations) or ():
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if name != "__pycache__"]
            for name in files:
                if name.endswith(_MODULES):
                    stat = os.stat(path := os.path.join(folder, name))  # noqa: PTH116, PTH118 - thousands
                    yield f"{path} {stat.st_size} {stat.st_mtime_ns}"


def _is_of_terminal(name: str) -> bool:
    return name in _OF_TERMINAL or name.startswith(_OF_TERMINALS)
