"""The process that imports torch once and forks a worker for every trial.

Started as `python -P -m harness.running.workers.fork_server RUNNER EVENTS PARENT TEMPORARY`: RUNNER is
`module:function`, EVENTS the file descriptor it reports to, PARENT the process it must not outlive, TEMPORARY
the parent of the workers' folders for temporary files, each removed when its worker ends. It imports the
runner's module and calls its `preload()`, if any. Before it forks a worker it calls the module's `warm(job)`,
if any, so that data that trials share are loaded once. It touches no device and starts no thread. It takes
requests as JSON lines on standard input:

    {"redact": ["value", ...]}         values to keep out of every log
    {"fork": "/run/trials/0123"}       run the job in that folder
    {"signal": 4711, "number": 15}     signal the group of a worker that still runs

and reports, with the `folder` each is about, the events `ready`, `started` (`pid`), `refused` (`reason`) and
`exited` (`pid`, `status` as of `wait`, `max_rss_bytes`). When its standard input ends, it kills every worker
with all that it started, and exits.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from harness.machine.facts import describe_environment
from harness.machine.redaction import redact
from harness.model.job import Job, RunTrial
from harness.running.workers.channel import ParentPipe
from harness.running.workers.descendants import (
    adopt_orphans,
    die_with_parent,
    dying_with,
    kill_strays,
    outlive_parent,
    signal_group,
)
from harness.running.workers.forking import Child, fork_worker
from harness.store.trial_folder import read_job

_READ_BYTES: Final = 2**18
_DRAIN_READS: Final = 64

WarmUp = Callable[[Job], None]


class ForkServer:
    """Forks workers, keeps their logs, and reports when they end."""

    def __init__(
        self, runner: RunTrial, pipe: ParentPipe, temporary: Path, warm: WarmUp | None = None
    ) -> None:
        self._runner = runner
        self._temporary = temporary
        self._forked = 0
        self._warm = warm
        self._parent = os.getppid()
        self._pipe = pipe
        self._secrets: tuple[str, ...] = ()
        self._children: dict[int, tuple[Path, Child]] = {}
        self._woken, self._wake = os.pipe()
        self._selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Serve requests until they end."""
        for descriptor in (self._woken, self._wake, self._pipe.requests):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._watch(self._pipe.requests, self._take_requests)
        self._watch(self._woken, self._reap)
        self._report(event="ready")
        while True:
            self._attend()

    def _attend(self) -> None:
        """Wait for events, and handle all that have come."""
        for key, _ in self._selector.select():
            # A worker reaped a moment ago may have been about to be read: its pipe is closed, or another's.
            if self._selector.get_map().get(key.fd) is key:
                key.data()

    def _watch(self, descriptor: int, call: Callable[[], object]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, call)

    def _take_requests(self) -> None:
        if (requests := self._pipe.take()) is None:
            self._end()
        for request in requests:
            self._handle(request)

    def _handle(self, request: dict[str, Any]) -> None:
        if "redact" in request:
            self._secrets = tuple(request["redact"])
        elif "fork" in request:
            self._fork(Path(request["fork"]))
        elif request["signal"] in self._children:
            signal_group(request["signal"], request["number"])

    def _warm_up(self, folder: Path) -> None:
        if self._warm is None:
            return
        try:
            # Until it is done, the end of standard input goes unseen.
            with dying_with(self._parent):
                self._warm(read_job(folder))
        except Exception as error:  # of any kind: the trial meets it too, and fails with it
            reason = redact(f"{type(error).__name__}: {error}", self._secrets)
            sys.stderr.write(f"not loaded beforehand for trial {folder.name}: {reason}\n")
        gc.collect()
        _settle(f"loading what trial {folder.name} needs")

    def _fork(self, folder: Path) -> None:
        self._warm_up(folder)
        outputs = [child.output for _, child in self._children.values()]
        close = (self._pipe.descriptor, self._woken, self._wake, *self._selector_file(), *outputs)
        self._forked += 1
        try:
            child = fork_worker(
                folder,
                self._runner,
                partial(redact, secrets=self._secrets),
                temporary=self._temporary / str(self._forked),
                close=close,
            )
        except OSError as error:
            self._report(event="refused", folder=str(folder), reason=f"could not start a process: {error}")
            return
        self._children[child.pid] = (folder, child)
        self._watch(child.output, partial(self._drain, child))
        self._report(event="started", folder=str(folder), pid=child.pid)

    def _selector_file(self) -> tuple[int, ...]:
        # epoll and kqueue keep a descriptor open; a plain select does not.
        fileno: Callable[[], int] | None = getattr(self._selector, "fileno", None)
        return () if fileno is None else (fileno(),)

    def _drain(self, child: Child) -> bool:
        """Read once from a worker's output; False when there is no more for now, or for ever."""
        try:
            data = os.read(child.output, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            # The worker closed its output: stop watching, or the end of file would be reported for ever.
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.output)
            return False
        child.log.feed(data)
        return True

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, _READ_BYTES):
                pass
        while (ended := _wait_for_any()) is not None:
            pid, status, max_rss_bytes = ended
            if pid in self._children:
                self._end_worker(pid, status, max_rss_bytes)
            else:
                # An adopted process: what it had started is ours now.
                kill_strays(self._children.keys())

    def _end_worker(self, pid: int, status: int, max_rss_bytes: int) -> None:
        folder, child = self._children.pop(pid)
        signal_group(pid, signal.SIGKILL)
        kill_strays(self._children.keys())
        # A bounded number of reads: what keeps the pipe open and full is not waited for.
        for _ in range(_DRAIN_READS):
            if not self._drain(child):
                break
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.output)
        os.close(child.output)
        child.log.close()
        shutil.rmtree(child.temporary, ignore_errors=True)
        self._report(event="exited", folder=str(folder), pid=pid, status=status, max_rss_bytes=max_rss_bytes)

    def _report(self, **event: Any) -> None:
        try:
            self._pipe.report(json.dumps(event))
        except BrokenPipeError:
            self._end()

    def _end(self) -> NoReturn:
        for pid in self._children:
            signal_group(pid, signal.SIGKILL)
        kill_strays(())
        shutil.rmtree(self._temporary, ignore_errors=True)
        os._exit(0)


def _wait_for_any() -> tuple[int, int, int] | None:
    """Process id, wait status and peak memory in bytes of a child that has ended; None if there is none."""
    try:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return None if pid == 0 else (pid, status, usage.ru_maxrss * unit)


def os_threads() -> int:
    """The threads of this process that the system knows of; 1 where it does not tell."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else 1


def load_runner(name: str) -> RunTrial:
    """Import `module:function`, and call the module's `preload()`, if any."""
    module_name, _, function = name.partition(":")
    module = importlib.import_module(module_name)
    if preload := getattr(module, "preload", None):
        preload()
    runner: RunTrial = getattr(module, function)
    return runner


def load_warm(name: str) -> WarmUp | None:
    """Return the `warm` function of a runner's module, if it has one."""
    warm: WarmUp | None = getattr(importlib.import_module(name.partition(":")[0]), "warm", None)
    return warm


def _settle(after: str) -> None:
    """Warn if threads run now, and freeze the loaded objects for the workers."""
    if (threads := os_threads()) > 1:
        sys.stderr.write(f"{threads} threads run after {after}: what they do stops in workers\n")
    # Loaded modules are never freed: collecting them would copy their pages into every worker.
    gc.freeze()


def main(arguments: list[str]) -> None:
    """Serve the runner named on the command line."""
    name, pipe, parent = arguments[0], ParentPipe(int(arguments[1])), int(arguments[2])
    # While importing, the end of standard input goes unseen: the kernel watches over that time.
    die_with_parent(parent)
    adopt_orphans()
    # A fifth of the time of importing would go into collecting what nearly all stays. Finding the rest at its
    # end, 7 MB of 530, would take half a second.
    gc.disable()
    runner = load_runner(name)
    # Each worker describes the machine: the versions of its packages are looked up here, once for all.
    describe_environment()
    _settle(f"importing {name}")
    gc.enable()
    server = ForkServer(runner, pipe, Path(arguments[3]), load_warm(name))
    outlive_parent()
    if os.getppid() != parent:
        sys.exit(1)
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
