"""The state of a training in a file, so that a trial that was killed continues where it was.

A file counts only for a training of the same trial from the same files, in the same environment and with the
same code of harness, and only whole: its SHA-256 comes first. In fp32 on the CPU the training that continues
takes the same steps, bit for bit, as one that was never interrupted.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from harness import __file__ as package_file
from harness.machine.facts import COMPUTING
from harness.model.results import TrialResult
from harness.store.writing import canonical_json, write_atomic

_DIGEST_BYTES: Final = 32

State = dict[str, Any]
"""Tensors, numbers, texts, and lists, tuples and dictionaries of them."""


@dataclass(frozen=True, slots=True)
class StateFile:
    """Where the state of a training is kept. `origin` is that of `origin_of`; `every` counts optimizer steps.

    Args:
        path: the file, which need not exist.
        origin: what the training starts from; a file of another origin does not count.
        every: write after so many optimizer steps.
        aside: the context in which memory is not counted for the trial.
    """

    path: Path
    origin: str
    every: int
    aside: Callable[[], AbstractContextManager[None]] = nullcontext

    def write(self, state: State) -> None:
        """Replace the file.

        Raises:
            StorageError: the operating system refused a step; the old file stays.
        """
        with self.aside():
            content = io.BytesIO()
            torch.save({"origin": self.origin, "state": state}, content)
            digest = hashlib.sha256(content.getbuffer()).digest()
            write_atomic(self.path, [digest, content.getvalue()])

    def read(self) -> State | None:
        """Return the state in the file; None if it is damaged or of another origin."""
        with self.aside():
            content = self.path.read_bytes()
            digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if hashlib.sha256(content).digest() != digest:
                return None
            found: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        state: State = found["state"]
        return state if found["origin"] == self.origin else None


def origin_of(found: TrialResult, code: Path = Path(package_file).parent) -> str:
    """Return a digest of what decides every step: trial, files, environment, and the code of harness."""
    whole = hashlib.sha256()
    environment = found.environment
    assert environment is not None
    for part in (found.trial, found.checkpoint, found.data):
        assert part is not None
        whole.update(canonical_json(part))
    # The load and the other variables of a process differ each time, and decide no step.
    variables = sorted((name, value) for name, value in environment.variables.items() if name in COMPUTING)
    whole.update(
        f"{environment.fingerprint} {environment.python} {environment.packages} {variables}".encode()
    )
    for file in sorted(code.rglob("*.py")):
        whole.update(f"{file.relative_to(code).as_posix()}\0".encode())
        whole.update(hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def generator_states(device: torch.device) -> State:
    """Return the states of torch's random generators, of the CPU and of `device`."""
    states: State = {"torch": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_generator_states(states: State, device: torch.device) -> None:
    """Put torch's random generators into these states."""
    torch.set_rng_state(states["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
