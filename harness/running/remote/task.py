"""Run a trial on a node of a cluster, in a task of its scheduler, with a local executor.

It runs in a temporary folder, or in the trial's own where all nodes share it. Nothing here imports ray or
submitit. The task's process only watches; the trial runs in a separate process group, which ends with the
task's process, however that ends.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
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
from harness.running.remote.messages import Heard, Request
from harness.running.workers.environ import worker_environment
from harness.running.workers.judging import Ended
from harness.running.workers.local import LocalExecutor
from harness.store.trial_folder import LOG

PROGRESS_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.1
# More than a capped log takes.
_LARGEST_LOG_BYTES: Final = 2**24


def run_on_node(version: str, number: int, text: str) -> Generator[str, None, None]:
    """Run a trial here, and yield its news, each as the JSON of a `Heard`.

    Args:
        version: of the harness that asks.
        number: of the attempt.
        text: the JSON of a `Request`.
    """
    node = platform.node()
    if version != __version__:
        _, problem = describe_node(version)
        yield Heard(number=number, node=node, refused=f"the node {node}: {problem}").model_dump_json()
        return
    request = Request.model_validate_json(text)
    if missing := missing_files(request.job):
        result = request.job.completed_by(_unavailable(request.job, node, missing))
        yield Heard(number=number, node=node, result=result).model_dump_json()
        return
    try:
        with TemporaryDirectory(prefix="harness-node-") as folder:
            for heard in _run(request, node, Path(folder)):
                yield heard.model_dump_json()
    except (StorageError, OSError) as error:
        # The disk of a node is full, or broken: no fault of the trial's, which may run on another.
        lost = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        yield Heard(number=number, node=node, lost=lost).model_dump_json()


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


def _run(request: Request, node: str, folder: Path) -> Iterator[Heard]:
    """Run it with this node's environment and limits, and yield its progress twice a second."""
    job = request.job.model_copy(update={"cache_dir": _cache(request.job)})
    trial_folder = Path(request.folder or folder / "trials" / job.trial.id)
    trial_folder.mkdir(parents=True, exist_ok=True)
    environ = worker_environment(os.environ, threads=request.threads, run_folder=folder)
    setup = WorkerSetup(request.runner, folder, environ, request.threads, secrets_in(os.environ))
    executor = LocalExecutor(setup, grace_s=request.grace_s)
    try:
        executor.submit(job, trial_folder)
        for news in _watch(executor):
            if isinstance(news, Progress):
                yield Heard(number=request.number, node=node, progress=news)
                continue
            log = _text(trial_folder / LOG) if request.folder is None else ""
            yield Heard(
                number=request.number, node=node, result=news.result, may_retry=news.may_retry, log=log
            )
    except KeyboardInterrupt:
        # So a cluster cancels a task.
        executor.stop(request.grace_s)
        raise
    finally:
        executor.stop(0.0)


def _watch(executor: LocalExecutor) -> Iterator[Progress | Ended]:
    """Yield the latest progress now and then, and the end."""
    latest: Progress | None = None
    said_at = -PROGRESS_SECONDS
    while True:
        for event in executor.poll(_POLL_SECONDS):
            if isinstance(event, Ended):
                if latest is not None:
                    yield latest
                yield event
                return
            latest = event.progress
        if latest is not None and time.monotonic() - said_at >= PROGRESS_SECONDS:
            said_at = time.monotonic()
            yield latest
            latest = None


def _cache(job: Job) -> str:
    """The run's cache folder if this node has it, else its own; everything in it can be rebuilt."""
    there = Path(job.cache_dir).is_dir() and blocked_part(Path(job.cache_dir)) is None
    return job.cache_dir if there else str(cache_root().absolute())


def _text(path: Path) -> str:
    try:
        return read_regular(path, limit=_LARGEST_LOG_BYTES, follow=False).decode("utf-8", "replace")
    except OSError:
        return ""
