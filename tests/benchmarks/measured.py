"""Run a command of harness in a process of its own, which says at its end how much memory it had at most.

As a program: `python -m tests.benchmarks.measured FILE run suite.yaml` runs `harness run suite.yaml` and
writes the bytes to FILE.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended.

    `peak_resident_bytes` is the most memory that its own process had at a time; `cpu_seconds` were used by it
    and all that it started, which a busy machine changes less than the time that went by.
    """

    code: int
    output: str
    errors: str
    peak_resident_bytes: int
    cpu_seconds: float


def harness(*arguments: str | Path, cwd: Path) -> Done:
    """Run the command in `cwd`, which also gets the folder of the assets' cache."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    peak = cwd / "peak.txt"
    before = _cpu_seconds()
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.measured", peak, *map(str, arguments)],
        cwd=cwd,
        env=kept | {"PYTHONPATH": str(REPOSITORY), "HARNESS_CACHE_DIR": str(cwd / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    used = _cpu_seconds() - before
    return Done(done.returncode, done.stdout, done.stderr, int(peak.read_text()), used)


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def peak_resident_bytes() -> int:
    """The peak of this process alone: on Linux `ru_maxrss` counts what its parent had when forking, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(arguments: Sequence[str]) -> None:
    """Run the command and write the peak of this process, in bytes, to the file."""
    from harness.cli import main as run_command  # noqa: PLC0415 - the measuring itself imports nothing

    file, *command = arguments
    try:
        run_command(command)
    finally:
        Path(file).write_text(str(peak_resident_bytes()))


if __name__ == "__main__":
    main(sys.argv[1:])
