"""What passes, as JSON, between a run, the process that speaks to its Ray cluster, and the nodes."""

from __future__ import annotations

from harness.model.frozen import Frozen
from harness.model.job import Job, Progress
from harness.model.results import TrialResult


class Node(Frozen):
    """A node of the cluster that is alive, and what it offers to tasks.

    `processor` is its model, None if unknown; `problem` is the reason why it can run no trial.
    """

    name: str
    cpus: float
    gpus: float
    processor: str | None = None
    problem: str | None = None


class Connected(Frozen):
    """The first line of the process that speaks to Ray: the nodes, or why there is no connection."""

    nodes: tuple[Node, ...] = ()
    problem: str | None = None


class Request(Frozen):
    """A trial for some node. `number` counts the attempts of a run; `threads` are the CPUs it is given."""

    number: int
    job: Job
    runner: str
    threads: int
    grace_s: float


class Heard(Frozen):
    """Something about the attempt of that number: where it is, its result, or how it was lost.

    `refused` is the reason why no worker started, `lost` that of a lost node, and `memory_ran_out` means that
    Ray ended it to free memory. `log` is the worker's output, sent with the result.
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
