"""Trials as jobs of Slurm, by submitit: each is an element of a job array, and its news is in a shared file.

An element runs on its node as a trial of any cluster does (`running/remote/task.py`), in the trial's own
folder, and adds each `Heard` as a line to a file next to submitit's in `slurm/` of the run directory. This
process reads these files, and asks Slurm now and then which jobs have ended without a last line.
"""

from __future__ import annotations

import contextlib
import platform
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from harness import __version__
from harness.errors import UnavailableError
from harness.foreign import last_lines
from harness.programs import find_program, run_program
from harness.running.remote.protocol import Heard, parsed
from harness.running.remote.task import run_on_node
from harness.running.workers.judging import signal_name
from harness.store.writing import storage_error

if TYPE_CHECKING:
    import submitit

# Slurm's own limit on the elements of an array is 1001 unless a cluster changes it.
LARGEST_ARRAY: Final = 1000
AT_ONCE: Final = "array_parallelism"
"""The only parameter that is none of `sbatch`: how many elements of an array run at a time."""
_IDS: Final = "jobs"
_SCANCEL_SECONDS: Final = 120.0
_ENDING: Final = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often news is looked for, how often the scheduler is asked, and how late a file may be visible."""

    look_s: float = 1.0
    ask_s: float = 15.0
    late_s: float = 15.0


STEADY: Final = Pace()
QUICK: Final = Pace(look_s=0.02, ask_s=0.2, late_s=0.5)
"""For jobs that are processes of this machine."""


def of_gpus(key: str, value: str | bool) -> bool:
    """Return whether an option of `sbatch` is about GPUs: `gpus`, `mem_per_gpu`, `gres=gpu:2`."""
    return "gpu" in key or (key == "gres" and "gpu" in str(value))


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a job needs: CPUs, whether GPUs, and whether no other trial may run on its device."""

    cpus: int
    gpus: bool
    alone: bool


@dataclass(slots=True, eq=False)
class _Element:
    """A job that was submitted: its attempt's number, and how far its news has been read."""

    number: int
    job: submitit.Job[None]
    news: Path
    read: int = 0
    ended_at: float | None = None

    def new(self) -> list[Heard]:
        """Return the news since the last call, whole lines only."""
        try:
            with self.news.open("rb") as file:
                file.seek(self.read)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self.read += len(whole)
        return [heard for line in whole.splitlines() if (heard := parsed(line)) is not None]


@dataclass(slots=True)
class Jobs:
    """The jobs of one run: a connection to nodes through Slurm and a folder that all share.

    Args:
        folder: the run directory.
        parameters: options of `sbatch`, and the number of trials at a time, if limited.
        pace: how often to look.
        local: whether submitit runs the jobs as processes of this machine.
    """

    folder: Path
    parameters: Mapping[str, str | bool]
    pace: Pace
    local: bool = False
    clock: Callable[[], float] = time.monotonic
    _waiting: list[Mapping[str, Any]] = field(default_factory=list)
    _elements: dict[int, _Element] = field(default_factory=dict)
    _leaving: list[_Element] = field(default_factory=list)
    _news: list[Heard] = field(default_factory=list)
    _place: Path | None = None
    _look_at: float = 0.0
    _ask_at: float = 0.0

    def send(self, order: Mapping[str, Any]) -> None:
        """Take an order; jobs are submitted together, and cancelled together, when news is asked for."""
        if "submit" in order:
            self._waiting.append(order)
            return
        number = order["cancel"]
        self._waiting = [one for one in self._waiting if one["submit"] != number]
        element = self._elements.get(number)
        if element is not None:
            self._leaving.append(element)
        if element is None or not element.news.exists():
            self._elements.pop(number, None)
            self._news.append(Heard(number=number, lost="its job was cancelled before it began"))

    def heard(self, timeout_s: float) -> Sequence[Heard]:
        """Submit what waits, cancel what was given up, and return the news of the others."""
        self._submit()
        self._cancel(self._leaving)
        self._leaving = []
        if not self._news and (wait_s := min(timeout_s, self._look_at - self.clock())) > 0:
            time.sleep(wait_s)
        if self.clock() >= self._look_at:
            self._look_at = self.clock() + self.pace.look_s
            self._look()
        news, self._news = self._news, []
        return news

    def last_words(self) -> str:
        """Return nothing: a connection over files does not end."""
        return ""

    def close(self) -> None:
        """Cancel all that has not ended, and remove the files of the jobs."""
        self._waiting = []
        self._cancel([*self._leaving, *self._elements.values()])
        self._leaving = []
        self._elements = {}
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            # It stays where a job writes its last words just now; the next process removes it.
            with contextlib.suppress(OSError):
                self._place.parent.rmdir()
            self._place = None

    def _submit(self) -> None:
        """Give the jobs that wait to Slurm: an array of those that need the same."""
        waiting, self._waiting = self._waiting, []
        kinds: dict[_Kind, list[Mapping[str, Any]]] = {}
        for order in waiting:
            kind = _Kind(order["cpus"], gpus=order["gpus"] > 0, alone=order["alone"])
            kinds.setdefault(kind, []).append(order)
        for kind, orders in kinds.items():
            for start in range(0, len(orders), LARGEST_ARRAY):
                self._submit_array(orders[start : start + LARGEST_ARRAY], kind)

    def _submit_array(self, orders: Sequence[Mapping[str, Any]], kind: _Kind) -> None:
        place = self._make_place()
        files = [place / f"{order['submit']}.jsonl" for order in orders]
        executor = self._executor(place, kind)
        try:
            jobs = executor.map_array(
                run_element,
                [__version__] * len(orders),
                [order["submit"] for order in orders],
                [order["request"] for order in orders],
                [str(file) for file in files],
            )
        except (RuntimeError, OSError) as error:
            # submitit's own errors are of these kinds; that of sbatch is the last line of its output.
            words = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            if not self._elements and not (place / _IDS).exists():
                raise UnavailableError(
                    f"Slurm takes no job of this run: {words}",
                    hint="Look at the parameters in --slurm, and at measure.threads, the CPUs of a trial.",
                ) from error
            self._news += [
                Heard(number=order["submit"], refused=f"Slurm took no job: {words}") for order in orders
            ]
            return
        with (place / _IDS).open("a") as ids:
            ids.writelines(f"{job.job_id}\n" for job in jobs)
        for order, file, job in zip(orders, files, jobs, strict=True):
            self._elements[order["submit"]] = _Element(order["submit"], job, file)

    def _executor(self, place: Path, kind: _Kind) -> submitit.SlurmExecutor | submitit.LocalExecutor:
        """Return submitit's executor for jobs of this kind."""
        # Most runs need none of this.
        import submitit  # noqa: PLC0415

        # The current directory is no place to import from.
        python = f"{shlex.quote(sys.executable)} -P"
        if self.local:
            here = submitit.LocalExecutor(place, python=python)
            here.update_parameters(timeout_min=24 * 60, stderr_to_stdout=True)
            return here
        given: dict[str, str | bool] = {
            key: value for key, value in self.parameters.items() if kind.gpus or not of_gpus(key, value)
        }
        at_once = int(given.pop(AT_ONCE, LARGEST_ARRAY))
        if kind.alone and not kind.gpus:
            # Trials on one node slow each other down, and so does any other job.
            given["exclusive"] = True
        # A node that was lost is for --retries.
        given["no_requeue"] = True
        executor = submitit.SlurmExecutor(place, python=python)
        executor.update_parameters(
            job_name="harness",
            time=None,
            cpus_per_task=kind.cpus,
            # Since Slurm 22.05 srun does not take it from sbatch.
            srun_args=[f"--cpus-per-task={kind.cpus}"],
            array_parallelism=at_once,
            stderr_to_stdout=True,
            additional_parameters=given,
        )
        return executor

    def _make_place(self) -> Path:
        """Return the folder of the jobs' files, new for each process that runs the suite."""
        if self._place is None:
            parent = self.folder / "slurm"
            try:
                parent.mkdir(exist_ok=True)
                self._end_those_left(parent)
                self._place = Path(tempfile.mkdtemp(dir=parent))
            except OSError as error:
                raise storage_error(error, f"cannot write {parent}") from error
        return self._place

    def _end_those_left(self, parent: Path) -> None:
        """Cancel the jobs of an earlier process that was killed: they would write into the same folders."""
        for place in parent.iterdir():
            if not self.local and (place / _IDS).is_file():
                _scancel((place / _IDS).read_text(encoding="utf-8").split())
            shutil.rmtree(place, ignore_errors=True)

    def _look(self) -> None:
        """Read what elements wrote, and ask now and then which jobs have ended."""
        ask = self.clock() >= self._ask_at
        first = True
        for element in list(self._elements.values()):
            if ask and element.ended_at is None:
                # One forced question is about all jobs; each of the others is answered from it.
                if element.job.done(force_check=first):
                    element.ended_at = self.clock()
                first = False
            new = element.new()
            self._news += new
            if any(one.progress is None for one in new):
                del self._elements[element.number]
            elif element.ended_at is not None and self.clock() - element.ended_at >= self.pace.late_s:
                del self._elements[element.number]
                self._news.append(self._without_news(element))
        if ask:
            self._ask_at = self.clock() + self.pace.ask_s

    def _without_news(self, element: _Element) -> Heard:
        """Return the end of a job that ended without a last line."""
        job, state = element.job, element.job.state
        if state.startswith("OUT_OF_ME"):
            return Heard(number=element.number, memory_ran_out=True)
        lost = f"job {job.job_id} ended as {state} without a result"
        if state == "TIMEOUT":
            lost += ": it exceeded the time that Slurm gives it (--slurm time)"
        elif not element.news.exists():
            lost += f" and has written nothing in {element.news.parent}, which all nodes must share"
        return Heard(number=element.number, lost=lost, log=last_lines(job.paths.stdout))

    def _cancel(self, elements: Sequence[_Element]) -> None:
        if self.local:
            for element in elements:
                element.job.cancel()
        else:
            _scancel([element.job.job_id for element in elements])


def _scancel(ids: Sequence[str]) -> None:
    """Have Slurm end jobs; of those that have ended it only complains."""
    if ids and (program := find_program("scancel")) is not None:
        # It runs in a session apart, where Ctrl-C does not reach it.
        run_program([program, *ids], timeout_s=_SCANCEL_SECONDS)


class _EndedBySlurm(KeyboardInterrupt):
    """Slurm has announced by a signal that it ends the job."""


def run_element(version: str, number: int, request: str, news: str) -> None:
    """Run a trial on this node, and add its news to a file as lines.

    Args:
        version: of the harness that asks.
        number: of the attempt.
        request: the JSON of a `Request`.
        news: the file.
    """

    def end(received: int, _frame: FrameType | None) -> None:
        for known in _ENDING:
            signal.signal(known, signal.SIG_IGN)
        raise _EndedBySlurm(received)

    # submitit's own handlers ignore SIGTERM, and put the job into the queue again after SIGUSR2.
    for known in _ENDING:
        signal.signal(known, end)
    with Path(news).open("a", encoding="utf-8") as file:
        try:
            with contextlib.closing(run_on_node(version, number, request)) as lines:
                for line in lines:
                    file.write(f"{line}\n")
                    file.flush()
        except _EndedBySlurm as ended:
            over = ended.args[0] == signal.SIGUSR2
            why = "its time (--slurm time) is over" if over else "it was cancelled or preempted"
            lost = Heard(
                number=number,
                lost=f"Slurm ended its job by {signal_name(ended.args[0])}: {why}",
                node=platform.node(),
            )
            file.write(f"{lost.model_dump_json()}\n")
