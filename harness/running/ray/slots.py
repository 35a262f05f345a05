"""Actors on a Ray cluster that run the trials of a run, one after another each.

An actor imports the harness once and keeps a warm fork server (`running/remote/task.py`). It also keeps its
CPUs and GPUs between two trials, so an idle one ends as soon as a waiting trial may need them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from harness import __version__
from harness.running.remote.protocol import Heard, parsed
from harness.running.remote.task import Slot

_CLOSE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class _Kind:
    """The resources of an actor; those of a trial of several ranks are reserved by a placement group."""

    cpus: int
    gpus: int
    group: bool


@dataclass(slots=True, eq=False)
class _Worker:
    """An actor: `answer` is awaited before it gets a trial, `news` while it runs the trial `number`.

    `began` is whether it has ever answered; `sound` is None until the trial has ended, then whether the actor
    can run another.
    """

    kind: _Kind
    actor: Any
    group: Any
    answer: Any = None
    began: bool = False
    number: int = 0
    news: Any = None
    sound: bool | None = None

    @property
    def idle(self) -> bool:
        """Whether it neither runs a trial nor is about to."""
        return self.answer is None and self.news is None

    @property
    def soon(self) -> bool:
        """Whether it can take a trial within moments: it began before, and answers or has just ended one."""
        return self.began and not self.idle and (self.news is None or self.sound is True)

    @property
    def awaited(self) -> Any:
        """What it is to give next."""
        return self.answer if self.news is None else self.news

    def ask(self) -> None:
        """Have it answer, which an actor whose node is lost does not."""
        self.answer = self.actor.ready.remote(__version__)


class Slots:
    """The actors of a run, and the trials that wait for one.

    Args:
        report: takes each `Heard` as JSON.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._waiting: list[Mapping[str, Any]] = []
        self._workers: list[_Worker] = []
        self._class: Any = ray.remote(Slot)

    @property
    def busy(self) -> bool:
        """Whether any trial waits or runs."""
        return bool(self._waiting) or any(worker.news is not None for worker in self._workers)

    def submit(self, order: Mapping[str, Any]) -> None:
        """Take the order for a trial."""
        self._waiting.append(order)

    def cancel(self, number: int) -> None:
        """End a trial, gently if it runs."""
        for order in self._waiting:
            if order["submit"] == number:
                self._waiting.remove(order)
                self._hear(Heard(number=number, lost="it was cancelled before it began"))
                return
        for worker in self._workers:
            if worker.news is not None and worker.number == number:
                worker.actor.cancel.remote(number)

    def listen(self, timeout_s: float) -> None:
        """Find actors for the trials that wait, and report news, waiting for at most `timeout_s` for any."""
        self._match()
        awaited = [worker.awaited for worker in self._workers if not worker.idle]
        ready, _ = ray.wait(awaited, timeout=timeout_s) if awaited else ((), ())
        for worker in list(self._workers):
            if not any(worker.awaited is one for one in ready):
                continue
            if worker.news is None:
                self._begin(worker)
            else:
                self._pass_on(worker)

    def close(self) -> None:
        """End all trials and actors."""
        self._waiting = []
        self._dismiss(list(self._workers))

    def _match(self) -> None:
        """Ask as many actors as there are waiting trials, and start the missing ones."""
        missing: dict[_Kind, int] = {}
        for kind, waiting in Counter(map(_kind_of, self._waiting)).items():
            mine = [worker for worker in self._workers if worker.kind == kind]
            # A new actor may wait for resources as long as others keep them.
            missing[kind] = waiting - sum(worker.soon for worker in mine)
            for worker in [worker for worker in mine if worker.idle][: max(0, missing[kind])]:
                worker.ask()
                missing[kind] -= 1
        if any(number > 0 for number in missing.values()):
            self._dismiss([worker for worker in self._workers if worker.idle])
        for kind, number in missing.items():
            starting = sum(worker.kind == kind and not worker.began for worker in self._workers)
            for _ in range(number - starting):
                self._workers.append(self._start(kind))

    def _start(self, kind: _Kind) -> _Worker:
        group = None
        # Trials on one node slow each other down, so they go to as many nodes as there are.
        strategy: Any = "SPREAD"
        if kind.group:
            bundle = {"CPU": kind.cpus} | ({"GPU": kind.gpus} if kind.gpus else {})
            group = placement_group([bundle], strategy="STRICT_PACK")
            strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
        actor = self._class.options(
            num_cpus=kind.cpus,
            num_gpus=kind.gpus,
            scheduling_strategy=strategy,
            # One thread runs a trial, the other takes its cancellation.
            max_concurrency=2,
            max_restarts=0,
            max_task_retries=0,
        ).remote()
        worker = _Worker(kind, actor, group)
        worker.ask()
        return worker

    def _begin(self, worker: _Worker) -> None:
        """Give the first trial that waits to an actor that has answered."""
        answer, worker.answer = worker.answer, None
        order = next((one for one in self._waiting if _kind_of(one) == worker.kind), None)
        try:
            problem = ray.get(answer)
        except RayError as error:
            self._dismiss([worker])
            # A node that was lost between two trials costs neither.
            if not worker.began and order is not None:
                self._waiting.remove(order)
                self._hear(end_by(order["submit"], error))
            return
        worker.began = True
        if problem is not None:
            self._dismiss([worker])
            if order is not None:
                self._waiting.remove(order)
                self._hear(Heard(number=order["submit"], refused=problem))
        elif order is not None:
            self._waiting.remove(order)
            worker.number, worker.sound = order["submit"], None
            run = worker.actor.run.options(num_returns="streaming", name=order["name"])
            worker.news = run.remote(order["request"])

    def _pass_on(self, worker: _Worker) -> None:
        """Report the next news of a trial, or its end."""
        try:
            line = ray.get(next(worker.news))
        except StopIteration:
            worker.news = None
            if worker.sound is None:
                self._hear(Heard(number=worker.number, lost="its task ended without a result"))
            if not worker.sound:
                self._dismiss([worker])
        except RayError as error:
            self._dismiss([worker])
            if worker.sound is None:
                self._hear(end_by(worker.number, error))
        else:
            self._report(line)
            heard = parsed(line.encode())
            if heard is not None and heard.progress is None:
                worker.sound = heard.result is not None

    def _hear(self, heard: Heard) -> None:
        self._report(heard.model_dump_json())

    def _dismiss(self, workers: Collection[_Worker]) -> None:
        """End actors; those that have begun remove their files first."""
        closing = [worker.actor.close.remote() for worker in workers if worker.began]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        for worker in workers:
            self._drop(worker)

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        ray.kill(worker.actor)
        if worker.group is not None:
            remove_placement_group(worker.group)


def _kind_of(order: Mapping[str, Any]) -> _Kind:
    return _Kind(order["cpus"], order["gpus"], group=order["ranks"] > 1)


def end_by(number: int, error: RayError) -> Heard:
    """Return the end of the attempt that an error of Ray means."""
    if isinstance(error, OutOfMemoryError):
        return Heard(number=number, memory_ran_out=True)
    if isinstance(error, RayTaskError):
        return Heard(number=number, refused=f"the node could not run its task: {cause_of(error)}")
    # The lines that begin with a tab are ids of the actor.
    lines = [line.strip() for line in str(error).splitlines() if not line.startswith("\t")]
    sentence = " ".join(filter(None, lines)) or "it gave no reason"
    return Heard(number=number, lost=f"{type(error).__name__}: {sentence[:300]}")


def cause_of(error: RayTaskError) -> str:
    """Return the error in a task: Ray's own text is a whole traceback, as of another exception elsewhere."""
    cause: object = error.cause
    return f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}"
