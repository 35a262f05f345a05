"""Stand-ins for the programs of Slurm: jobs are processes of this machine, known by files in FAKE_SLURM."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

FOLDER = Path(os.environ["FAKE_SLURM"]) if "FAKE_SLURM" in os.environ else Path()


def install(folder: Path) -> None:
    """Put the programs into a folder."""
    folder.mkdir()
    for name in PROGRAMS:
        line = shlex.join([sys.executable, __file__, name])
        (folder / name).write_text(f'#!/bin/sh\nexec {line} "$@"\n')
        (folder / name).chmod(0o755)


def sbatch(script: str) -> None:
    """Start a job, or each element of an array; refuse the partition `none`."""
    text = Path(script).read_text()
    if "--partition=none" in text:
        sys.exit("sbatch: error: invalid partition specified: none")
    number = 100 + len(list(FOLDER.glob("*.sh")))
    (FOLDER / f"{number}.sh").write_text(text)
    array = re.search(r"--array=0-([0-9]+)", text)
    for element in range(int(array[1]) + 1) if array else [None]:
        given = {} if element is None else {"ARRAY_JOB_ID": str(number), "ARRAY_TASK_ID": str(element)}
        names = {"JOB_ID": str(number), "PROCID": "0", "NTASKS": "1", "JOB_NUM_NODES": "1"} | given
        job = subprocess.Popen(
            ["bash", script],
            env=os.environ | {f"SLURM_{name}": value for name, value in names.items()},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        (FOLDER / f"{number}{'' if element is None else f'_{element}'}.pid").write_text(str(job.pid))
    sys.stdout.write(f"Submitted batch job {number}\n")


def srun(*arguments: str) -> None:
    """Become the command, with its output in the file."""
    at = next(at for at, each in enumerate(arguments) if each.startswith("/"))
    command = arguments[arguments.index("--output") + 2 :]
    command = command[next(at for at, each in enumerate(command) if not each.startswith("--")) :]
    environ = os.environ
    log = arguments[at].replace("%j", environ["SLURM_JOB_ID"]).replace("%t", "0")
    log = log.replace("%A", environ["SLURM_JOB_ID"]).replace("%a", environ.get("SLURM_ARRAY_TASK_ID", ""))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.execvp(command[0], command)


def sacct(*_arguments: str) -> None:
    """List all jobs."""
    sys.stdout.write("JobID|State|NodeList\n")
    for file in FOLDER.glob("*.pid"):
        try:
            running = psutil.Process(int(file.read_text())).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            running = False
        sys.stdout.write(f"{file.stem}|{'RUNNING' if running else 'NODE_FAIL'}|here\n")


def scancel(*ids: str) -> None:
    """End jobs."""
    with (FOLDER / "cancelled").open("a") as file:
        file.write(f"{' '.join(ids)}\n")
    for each in ids:
        try:
            os.killpg(int((FOLDER / f"{each}.pid").read_text()), signal.SIGTERM)
        except (OSError, ValueError):
            continue


PROGRAMS: dict[str, Callable[..., None]] = {
    "sbatch": sbatch,
    "srun": srun,
    "sacct": sacct,
    "scancel": scancel,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
