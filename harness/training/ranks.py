"""The processes that train one trial together: who this one is, and what it does with the others.

A worker starts them with the environment variables of `torchrun` (`harness.running.workers.rank_processes`).
Every rank does the same work in the same order on its share of each batch. A trial on one device is rank 0 of
1 and touches nothing of `torch.distributed`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import distributed

from harness.model.job import RENDEZVOUS, TrialStoppedError
from harness.model.trial import Trial

# A rank that is lost ends the trial at once, one that hangs at its stall limit: a shorter limit here would
# end a long evaluation of rank 0.
_TIMEOUT: Final = timedelta(days=7)
_LOOPBACKS: Final = ("lo", "lo0")

T = TypeVar("T")


def rank() -> int:
    """Return the number of this process among those that train its trial, from 0."""
    return distributed.get_rank() if _together() else 0


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def device_of(trial: Trial) -> str:
    """Return the name of this rank's device, before it has joined the others.

    Raises:
        TrialStoppedError: `failed`, where nobody has started the other ranks.
    """
    if trial.world_size == 1:
        return trial.device
    if os.environ.get("WORLD_SIZE") != str(trial.world_size) or RENDEZVOUS not in os.environ:
        raise TrialStoppedError(
            "failed",
            f"world_size {trial.world_size} needs as many processes, which a worker of a run starts",
            hint="run the suite with `harness run`",
        )
    return trial.devices[min(int(os.environ["RANK"]), len(trial.devices) - 1)]


@contextmanager
def joined(trial: Trial, device: torch.device) -> Iterator[None]:
    """Work together with the other ranks of the trial inside the context, by NCCL on CUDA and gloo elsewhere.

    At its end every rank waits for all others, unless one of them has raised.
    """
    if trial.world_size == 1:
        yield
        return
    # All ranks are on this machine: gloo would otherwise look its host name up.
    names = [name for _, name in socket.if_nameindex()]
    if loopback := next((name for name in _LOOPBACKS if name in names), None):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=distributed.FileStore(os.environ[RENDEZVOUS], trial.world_size),  # type: ignore[attr-defined] # torch leaves it so
        rank=int(os.environ["RANK"]),
        world_size=trial.world_size,
        timeout=_TIMEOUT,
    )
    yield
    wait()
    distributed.destroy_process_group()


def wait() -> None:
    """Wait until every rank is here."""
    if _together():
        # On the host, so that no device spins meanwhile.
        distributed.all_reduce(torch.zeros(()))


def first_alone(work: Callable[[], T]) -> T:
    """Do the work in rank 0 first, so that the other ranks find what it has left in caches."""
    if rank() > 0:
        wait()
    done = work()
    if rank() == 0:
        wait()
    return done


def add_up(tensor: torch.Tensor) -> None:
    """Replace a tensor by its sum over the ranks, equal to the last bit in all of them."""
    distributed.all_reduce(tensor)


def gather(value: T) -> list[T]:
    """Return the values of all ranks, by rank; every rank has to ask."""
    if not _together():
        return [value]
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, value)
    return found


def check_agreement(parameters: list[torch.Tensor]) -> None:
    """Make sure that the parameters are the same in all ranks.

    Raises:
        TrialStoppedError: `failed`, naming the ranks that differ from the first.
    """
    # As text, for NaN equals nothing.
    every = gather([_fingerprint(each.detach()) for each in parameters])
    if apart := [str(at) for at, found in enumerate(every) if found != every[0]]:
        raise TrialStoppedError(
            "failed",
            f"the parameters of rank {', '.join(apart)} differ from those of rank 0",
            hint="the ranks do not train the same model: report it",
        )


def _fingerprint(tensor: torch.Tensor) -> tuple[str, str]:
    norm = torch.linalg.vector_norm(tensor, dtype=torch.float64)
    return float(tensor.sum(dtype=torch.float64)).hex(), float(norm).hex()


def seed_of(seed: int) -> int | tuple[int, int]:
    """Return the seed of dropout in this rank: ranks drop different elements, as rows of a batch do."""
    return (seed, rank()) if rank() > 0 else seed


def seed_apart(seed: int) -> None:
    """Let torch draw from here on what no other rank draws; rank 0 goes on as it is."""
    if rank() > 0:
        state = np.random.SeedSequence(seed_of(seed)).generate_state(1, np.uint64)
        torch.manual_seed(int(state[0]))
