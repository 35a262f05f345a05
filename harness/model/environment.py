"""Where a trial or a run was executed: processor, device, versions and git state; no personal data."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from harness.model.frozen import Frozen, is_none

DeviceKind = Literal["cpu", "cuda", "mps"]


class Cpu(Frozen):
    """The processor; `flags` are the instruction sets that affect training speed."""

    model: str
    architecture: str
    physical_cores: int
    logical_cores: int
    flags: tuple[str, ...] = ()


class Device(Frozen):
    """The device of a trial. `clock_mhz` was read when the trial started; None if unreadable."""

    kind: DeviceKind
    index: int | None = None
    name: str
    memory_bytes: int | None = None
    driver: str | None = None
    compute_capability: str | None = None
    clock_mhz: float | None = None


class Torch(Frozen):
    """The installed torch; `cuda` is the CUDA version of its build, None for a CPU build."""

    installed: bool
    cuda: str | None = None

    def __str__(self) -> str:
        if not self.installed:
            return "torch is not installed"
        return f"torch is built for {'the CPU only' if self.cuda is None else f'CUDA {self.cuda}'}"


class Git(Frozen):
    """The commit of the current directory's repository, and whether tracked files differ from it.

    `committed` is the date of the commit; None in reports written before it was recorded.
    """

    commit: str
    dirty: bool
    committed: Annotated[AwareDatetime | None, Field(exclude_if=is_none)] = None


class Environment(Frozen):
    """The environment of a run or a trial. `device`, `threads` and `load_average` are set for trials only."""

    python: str
    system: str
    packages: dict[str, str]
    variables: dict[str, str]
    cpu: Cpu
    memory_bytes: int
    git: Git | None = None
    device: Device | None = None
    threads: int | None = None
    load_average: float | None = None

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits, equal if times are comparable: same processor, device, threads, torch."""
        return _fingerprint(self.cpu, self.device, self.threads, self.packages.get("torch"))


@lru_cache(maxsize=256)
def _fingerprint(cpu: Cpu, device: Device | None, threads: int | None, torch: str | None) -> str:
    """Return the digest of a machine, which the trials of a report share."""
    where = device and device.model_dump(exclude={"clock_mhz", "index"})
    parts = [cpu.model_dump(), where, threads, torch]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
