"""Run trials on a node of a cluster, in a task or an actor of its scheduler, with a local executor.

They run in a temporary folder, or each in its own folder where all nodes share it. Nothing here imports ray
or submitit. The task's process only watches; a trial runs in a separate process group, which ends with that
process, however it ends.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Final

from harness import __version__
from harness.assets.places import blocked_part, cache_root
from harness.errors import StorageError
from harness.foreign import read_regular
from harness.machine.facts import describe_cpu
from harness.machine.redaction import secrets_in
from harness.model.job import Job, Progress
from harness.model.results import TrialResult
from harness.running.executor import WorkerSetup
from harness.running.remote.protocol import Heard, Request
from harness.running.workers.environ import worker_environment
from harness.running.workers.judging import Ended
from harness.running.workers.local import LocalExecutor
from harness.store.trial_folder import LOG

PROGRESS_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.1
# More than a capped log takes.
_LARGEST_LOG_BYTES: Final = 2**24


class Slot:
    """Runs trials on this node, one after another, all forked from one warm server.

    The first trial starts the server. It is ended after a trial that was cancelled or that found the disk
    broken, and before one of another runner, number of threads or grace period. `cancel` and `close` may be
    called by another thread than `run`.
    """

    def __init__(self) -> None:
        self._running = Lock()
        self._cancelled = 0
        self._closed = False
        self._made_for: tuple[str, int, float] | None = None
        self._executor: LocalExecutor | None = None
        self._folder: TemporaryDirectory[str] | None = None

    def ready(self, version: str) -> str | None:
        """Return why this node refuses trials of a harness of that version, or None."""
        _, problem = describe_node(version)
        return None if problem is None else f"the node {platform.node()}: {problem}"

    def run(self, text: str) -> Generator[str, None, None]:
        """Run a trial, and yield its news, each as the JSON of a `Heard`.

        Args:
            text: the JSON of a `Request`.
        """
        request = Request.model_validate_json(text)
        with self._running:
            try:
                for heard in self._run(request):
                    yield heard.model_dump_json()
            except (StorageError, OSError) as error:
                self._end(0.0)
                # The disk of a node is full, or broken: no fault of the trial's, which may run on another.
                lost = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
                yield Heard(number=request.number, node=platform.node(), lost=lost).model_dump_json()
            except BaseException as error:
                # As an interrupt a scheduler ends a task.
                self._end(request.grace_s if isinstance(error, KeyboardInterrupt) else 0.0)
                raise

    def cancel(self, number: int) -> None:
        """Ask the trial of that attempt to end."""
        self._cancelled = number

    def close(self) -> None:
        """End the trial that runs, and the server, and remove the temporary folder."""
        self._closed = True
        with self._running:
            self._end(0.0)

    def _run(self, request: Request) -> Iterator[Heard]:
        node = platform.node()
        if missing := missing_files(request.job):
            result = request.job.completed_by(_unavailable(request.job, node, missing))
            yield Heard(number=request.number, node=node, result=result)
            return
        executor, folder = self._warm(request)
        trial_folder = Path(request.folder or folder / "trials" / request.job.trial.id)
        trial_folder.mkdir(parents=True, exist_ok=True)
        executor.submit(request.job.model_copy(update={"cache_dir": _cache(request.job)}), trial_folder)
        for news in self._watch(executor, request):
            if isinstance(news, Progress):
                yield Heard(number=request.number, node=node, progress=news)
                continue
            log = _text(trial_folder / LOG) if request.folder is None else ""
            yield Heard(
                number=request.number, node=node, result=news.result, may_retry=news.may_retry, log=log
            )
        if request.folder is None:
            shutil.rmtree(trial_folder, ignore_errors=True)

    def _warm(self, request: Request) -> tuple[LocalExecutor, Path]:
        """Return the executor of the trial before, or a new one where that does not fit, and its folder."""
        made_for = (request.runner, request.threads, request.grace_s)
        if made_for != self._made_for:
            self._end(0.0)
            self._made_for = made_for
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="harness-node-", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        if self._executor is None:
            environ = worker_environment(os.environ, threads=request.threads, run_folder=folder)
            setup = WorkerSetup(request.runner, folder, environ, request.threads, secrets_in(os.environ))
            self._executor = LocalExecutor(setup, grace_s=request.grace_s)
        return self._executor, folder

    def _watch(self, executor: LocalExecutor, request: Request) -> Iterator[Progress | Ended]:
        """Yield the latest progress now and then, and the end; no end of a trial that is cancelled."""
        latest: Progress | None = None
        announced_at = -PROGRESS_SECONDS
        while True:
            if self._closed or self._cancelled == request.number:
                self._end(0.0 if self._closed else request.grace_s)
                return
            for event in executor.poll(_POLL_SECONDS):
                if isinstance(event, Ended):
                    if latest is not None:
                        yield latest
                    yield event
                    return
                latest = event.progress
            if latest is not None and time.monotonic() - announced_at >= PROGRESS_SECONDS:
                announced_at = time.monotonic()
                yield latest
                latest = None

    def _end(self, grace_s: float) -> None:
        """End the trial and the server, and remove the temporary folder."""
        executor, self._executor = self._executor, None
        folder, self._folder = self._folder, None
        try:
            if executor is not None:
                executor.stop(grace_s)
        finally:
            if folder is not None:
                folder.cleanup()


def run_on_node(version: str, number: int, text: str) -> Generator[str, None, None]:
    """Run one trial here, and yield its news, each as the JSON of a `Heard`.

    Args:
        version: of the harness that asks.
        number: of the attempt.
        text: the JSON of a `Request`.
    """
    with closing(Slot()) as slot:
        if (refused := slot.ready(version)) is None:
            yield from slot.run(text)
        else:
            yield Heard(number=number, node=platform.node(), refused=refused).model_dump_json()


def describe_node(version: str) -> tuple[str, str | None]:
    """The processor of this node, and why it cannot run trials for a harness of that version, or None."""
    problem = (
        None if version == __version__ else f"it has harness {__version__}, the run is by harness {version}"
    )
    return describe_cpu().model, problem


def missing_files(job: Job) -> tuple[str, ...]:
    """The files and folders that the job needs and that are not on this machine."""
    wanted = (job.checkpoint.path, *(part for parts in job.data.files.values() for part in parts))
    return tuple(path for path in wanted if not Path(path).exists())


def _unavailable(job: Job, node: str, missing: tuple[str, ...]) -> TrialResult:
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return TrialResult(
        trial=job.trial,
        status="unavailable",
        phase="start",
        reason=(
            f"the node {node} has no {missing[0]}{more}: checkpoints and data must be on every node at the "
            "paths they have where the run was started; keep them and harness on a file system that all share"
        ),
        started=datetime.now(UTC),
        duration_s=0.0,
    )


def _cache(job: Job) -> str:
    """The run's cache folder if this node has it, else its own; everything in it can be rebuilt."""
    there = Path(job.cache_dir).is_dir() and blocked_part(Path(job.cache_dir)) is None
    return job.cache_dir if there else str(cache_root().absolute())


def _text(path: Path) -> str:
    try:
        return read_regular(path, limit=_LARGEST_LOG_BYTES, follow=False).decode("utf-8", "replace")
    except OSError:
        return ""
