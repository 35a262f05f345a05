"""Slurm as the machine of a run: its devices, the options of `sbatch` that it passes on, and the executor."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from harness.errors import InvalidInputError, UnavailableError
from harness.machine.facts import installed_torch
from harness.programs import find_program
from harness.running.executor import WorkerSetup
from harness.running.preflight import Machine
from harness.running.remote.remote_executor import RemoteExecutor
from harness.running.slurm.jobs import AT_ONCE, LARGEST_ARRAY, QUICK, STEADY, Jobs, Pace, of_gpus
from harness.words import quoted

_PARAMETER: Final = re.compile(r"([a-z][a-z0-9_-]*)(?:=([^\x00-\x1f\x7f]+))?")
_OWN: Final = frozenset(
    {
        *("array", "cpus_per_task", "error", "job_name", "no_requeue", "nodes", "ntasks", "ntasks_per_node"),
        *("open_mode", "output", "oversubscribe", "requeue", "signal", "wrap"),
    }
)
_PROGRAMS: Final = ("sbatch", "srun", "sacct", "scancel")
_OF_ONE_NODE: Final = frozenset({"tmpfs", "ramfs", "overlay"})


@dataclass(frozen=True, slots=True)
class SlurmCluster:
    """The cluster on whose login node this process runs, and the options of `sbatch` for its jobs.

    With `local` submitit runs the jobs as processes of this machine, for tests.
    """

    parameters: Mapping[str, str | bool]
    local: bool = False
    pace: Pace = STEADY

    def machine(self) -> Machine:
        """Its devices: a trial sees the GPUs that `--slurm` asks for, from `cuda:0` on."""
        asked = [
            str(value)
            for key, value in self.parameters.items()
            if key.startswith("g") and not key.startswith("gpu_") and of_gpus(key, value)
        ]
        count = re.search(r"(?:^|:)([0-9]+)$", asked[0]) if asked else None
        devices = ("cuda:0", "cpu") if asked else ("cpu",)
        name = "the Slurm cluster, where a trial has the GPUs that --slurm gpus=N asks for, from cuda:0 on,"
        return Machine(
            devices, installed_torch(), name=name, processors=(), together=int(count[1]) if count else 1
        )

    def describe(self) -> str:
        """Where trials run, in a sentence."""
        given = " ".join(key if value is True else f"{key}={value}" for key, value in self.parameters.items())
        return f"running as jobs of Slurm: {given or 'with its defaults'}"

    def executor(self, setup: WorkerSetup, grace_s: float) -> RemoteExecutor:
        """An executor on it."""
        return RemoteExecutor(
            setup,
            Jobs(setup.folder, self.parameters, self.pace, local=self.local),
            grace_s=grace_s,
            shared=True,
        )

    def count(self, _device: str, _threads: int) -> int:
        """Return how many trials are given to Slurm at once: it decides when each starts."""
        return LARGEST_ARRAY


def slurm_cluster(given: Sequence[str], reports: Path, *, local: bool = False) -> SlurmCluster:
    """The cluster of this login node, with these parameters, for reports in that folder, an absolute path.

    Raises:
        InvalidInputError: a parameter is none, or is for the harness to choose; or the folder cannot be on a
            file system that the nodes share.
        UnavailableError: a program of Slurm is missing.
    """
    parameters = slurm_parameters(given)
    if local:
        return SlurmCluster(parameters, local, QUICK)
    if missing := [program for program in _PROGRAMS if find_program(program) is None]:
        raise UnavailableError(
            f"this machine gives no jobs to Slurm: no program {', '.join(missing)}",
            hint="Start the run on a login node of the cluster, with Slurm's programs in PATH.",
        )
    require_shared(reports)
    return SlurmCluster(parameters)


def slurm_parameters(given: Sequence[str]) -> dict[str, str | bool]:
    """Return the options of `sbatch` by name, True for one without a value.

    Raises:
        InvalidInputError: one is not KEY or KEY=VALUE, is given twice, or is for the harness to choose.

    >>> slurm_parameters(["partition=gpu", "gpus=1", "exclusive"])
    {'partition': 'gpu', 'gpus': '1', 'exclusive': True}
    """
    found: dict[str, str | bool] = {}
    for text in given:
        match = _PARAMETER.fullmatch(text)
        if match is None:
            raise InvalidInputError(
                f"--slurm {quoted(text)} is no option of sbatch",
                hint="Write its long name and its value: --slurm partition=gpu --slurm time=04:00:00.",
            )
        key = match[1].replace("-", "_")
        if key in _OWN:
            raise InvalidInputError(
                f"--slurm {key}: the harness chooses this option of sbatch itself",
                hint="A trial is one task on one node, with as many CPUs as measure.threads.",
            )
        if key in found:
            raise InvalidInputError(f"--slurm {key} is given twice", hint="Leave out one of them.")
        found[key] = match[2] or True
        if key == "exclusive" and found[key] is not True:
            raise InvalidInputError(
                f"--slurm {text}: a part of a node would not be for a trial alone",
                hint="Write --slurm exclusive.",
            )
        if key == AT_ONCE and re.fullmatch("[1-9][0-9]*", str(found[key])) is None:
            raise InvalidInputError(
                f"--slurm {text}: no number of trials", hint=f"Write --slurm {AT_ONCE}=8 for 8 at once."
            )
    return found


def require_shared(folder: Path) -> None:
    """Check that the folder of reports can be on a file system that all nodes share.

    Raises:
        InvalidInputError: it is in memory, in a container's own file system, or among temporary files; or its
            name has a sign that Slurm replaces in the names of files.
    """
    there = next(each for each in (folder, *folder.parents) if each.exists())
    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    mount = next((str(each) for each in (there, *there.parents) if str(each) in mounts), "/")
    kind = mounts.get(mount, "")
    temporary = [Path("/tmp"), Path("/var/tmp"), Path(tempfile.gettempdir())]  # noqa: S108 - never written
    if kind in _OF_ONE_NODE or any(folder.is_relative_to(each) for each in temporary):
        raise InvalidInputError(
            f"{folder}: other nodes do not see this folder, and trials write their results there",
            hint="Give --reports a folder on a file system that all nodes share, such as your home folder.",
        )
    if "%" in str(folder):
        raise InvalidInputError(
            f"{folder}: Slurm replaces % and what follows it in the names of files",
            hint="Give --reports a folder without % in its path.",
        )
