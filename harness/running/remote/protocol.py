"""What passes, as JSON, between a run, the process that speaks to its cluster, and the nodes."""

from __future__ import annotations

from pydantic import ValidationError

from harness.model.frozen import Frozen
from harness.model.job import Job, Progress
from harness.model.results import TrialResult


class Node(Frozen):
    """A node of the cluster that is alive, and what it offers to tasks.

    `processor` is its model, None if unknown, and `accelerator` that of its GPUs; `problem` is the reason why
    it can run no trial.
    """

    name: str
    cpus: float
    gpus: float
    processor: str | None = None
    accelerator: str | None = None
    problem: str | None = None

    def __str__(self) -> str:
        gpus = f"{self.gpus:g} GPUs" + (f" ({self.accelerator})" if self.accelerator else "")
        offer = (f"{self.cpus:g} CPUs", gpus if self.gpus else None, self.processor)
        return f"{self.name}: {', '.join(filter(None, offer))}"


class Connected(Frozen):
    """The first line of the process that speaks to Ray: the nodes, or why there is no connection."""

    nodes: tuple[Node, ...] = ()
    problem: str | None = None


class Request(Frozen):
    """A trial for some node. `number` counts the attempts of a run; `threads` are the CPUs it is given.

    `folder` is the trial's folder where the nodes share it; else a node uses a temporary one.
    """

    number: int
    job: Job
    runner: str
    threads: int
    grace_s: float
    folder: str | None = None


class Heard(Frozen):
    """Something about the attempt of that number: where it is, its result, or how it was lost.

    `refused` is the reason why no worker started, `lost` that of a lost node, and `memory_ran_out` means that
    the cluster ended it for want of memory. `log` is the worker's output, sent with the result; empty where
    the trial's folder is shared.
    """

    number: int
    node: str | None = None
    progress: Progress | None = None
    result: TrialResult | None = None
    may_retry: bool = False
    log: str = ""
    refused: str | None = None
    lost: str | None = None
    memory_ran_out: bool = False


def parsed(line: bytes) -> Heard | None:
    """Return what a line reports, None if it is no report."""
    try:
        return Heard.model_validate_json(line)
    except ValidationError:
        return None
