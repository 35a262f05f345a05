"""A suite, a watcher and a command line for tests of running: fake workers, real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

import click
import psutil

# What commands import when they need it, for those that `forked` runs.
import harness.analysis.comparison.comparing
import harness.analysis.gates.applying
import harness.output.builders.report
import harness.output.formats.html
import harness.output.formats.markdown
import harness.output.formats.terminal
import harness.output.live  # noqa: F401
from harness.api import Run, RunOptions, UntilDecided, run_suite
from harness.cli import cli, main
from harness.model.job import Observer, Progress
from harness.model.results import Report, TrialResult
from harness.model.suite import Suite
from harness.model.trial import Trial
from harness.store.reading import load_report
from tests.factories import make_suite

REPOSITORY = Path(__file__).parents[2]
RUNNERS = "tests.running.runners"


@dataclass
class Watcher(Observer):
    """An observer that remembers."""

    notes: list[str] = field(default_factory=list)
    to_run: list[Trial] = field(default_factory=list)
    reused: list[TrialResult] = field(default_factory=list)
    begun: list[Trial] = field(default_factory=list)
    progress: list[tuple[str, Progress]] = field(default_factory=list)
    done: list[TrialResult] = field(default_factory=list)
    begun_before_first_end: int = 0
    proofs: list[tuple[int, int, int]] = field(default_factory=list)

    def planned(self, trials: Sequence[Trial], reused: Sequence[TrialResult]) -> None:
        self.to_run, self.reused = list(trials), list(reused)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def proving(self, running: Sequence[str], done: int, total: int) -> None:
        self.proofs.append((len(running), done, total))

    def started(self, trial: Trial) -> None:
        self.begun.append(trial)

    def progressed(self, trial: Trial, progress: Progress) -> None:
        self.progress.append((trial.id, progress))

    def finished(self, result: TrialResult) -> None:
        if not self.done:
            self.begun_before_first_end = len(self.begun)
        self.done.append(result)


def fake_suite(seeds: Sequence[int] = (0, 1), **changes: Any) -> Suite:
    """A suite of `dynamic` on the CPU with these seeds."""
    matrix = {
        "checkpoint": ("bert-base-uncased",),
        "padding": ("dynamic",),
        "device": ("cpu",),
        "seed": tuple(seeds),
    }
    return make_suite(**({"name": "fake", "matrix": matrix} | changes))


def run_fake(
    suite: Suite, reports: Path, runner: str = "good", watcher: Observer | None = None, **options: Any
) -> Run:
    """Run the suite with one of the fake runners, in real processes; they prove nothing unless asked."""
    fixed: dict[str, Any] = {"assets": "embedded", "reports": reports, "parity": False}
    until: UntilDecided | None = options.pop("until", None)
    fixed["runner"] = runner if ":" in runner else f"{RUNNERS}:{runner}"
    return run_suite(
        suite,
        RunOptions(**(fixed | options)),
        observer=watcher,
        until=until,
    )


def write_suite(folder: Path, seeds: Sequence[int] = (0, 1), extra: str = "") -> Path:
    """A suite file for the command line."""
    path = folder / "fake.yaml"
    path.write_text(
        "name: fake\ntask: glue/mrpc\nmatrix:\n  checkpoint: [bert-base-uncased]\n  padding: [dynamic]\n"
        f"  device: [cpu]\n  seed: {list(seeds)}\n{extra}"
    )
    return path


def run_line(*arguments: str | Path, runner: str = "good") -> list[str]:
    """The command and arguments, without `harness`, that run a suite with a fake runner."""
    fixed = ["--assets", "embedded", "--no-parity", "--runner", f"{RUNNERS}:{runner}"]
    return ["run", *fixed, *map(str, arguments)]


def command(*arguments: str | Path, runner: str = "good") -> list[str]:
    """The command line that runs a suite with a fake runner."""
    return [sys.executable, "-m", "harness", *run_line(*arguments, runner=runner)]


def environ(**changes: str) -> dict[str, str]:
    """The environment for the command line, in which the fake runners are found."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(REPOSITORY)} | changes


def start(*arguments: str | Path, cwd: Path, runner: str = "good", **changes: str) -> subprocess.Popen[str]:
    """Start the command line, with its output piped."""
    return subprocess.Popen(
        command(*arguments, runner=runner),
        cwd=cwd,
        env=environ(**changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def forked(
    *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fork of this process, which has imported it, and wait for its end.

    It is a process with its own current directory, variables and streams, as `python -m harness` is, without
    the import of pydantic, numpy and scipy.

    Args:
        arguments: the command and its arguments, without `harness`.
        cwd: its current directory; that of this process unless given.
        environment: its variables; those of `environ` unless given.
    """
    words = [str(each) for each in arguments]
    environment = environ() if environment is None else environment
    context = click.Context(cli)
    if words[0] in cli.list_commands(context):
        cli.get_command(context, words[0])
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            _run_in_child(words, cwd or Path.cwd(), environment, (output, errors))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for stream in (output, errors):
            stream.seek(0)
        shown, told = (stream.read().decode() for stream in (output, errors))
    return subprocess.CompletedProcess(words, code, shown, told)


def _run_in_child(
    words: list[str], cwd: Path, environment: Mapping[str, str], streams: tuple[IO[bytes], IO[bytes]]
) -> NoReturn:
    code = 99
    try:
        os.chdir(cwd)
        variables = dict(environment)
        os.environ.clear()
        os.environ.update(variables)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor, stream in enumerate(streams, start=1):
            os.dup2(stream.fileno(), descriptor)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", closefd=False)
        main(words)
    except SystemExit as ended:
        sys.stdout.flush()
        sys.stderr.flush()
        code = ended.code if isinstance(ended.code, int) else code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def fork_run(suite: Suite, reports: Path, runner: str = "good", **options: Any) -> int:
    """The process id of a process that runs the suite and exits; what it prints is dropped."""
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            run_fake(suite, reports, runner, **options)
        finally:
            os._exit(0)
    return pid


def only_report(reports: Path) -> Report:
    """The report of the one run under `reports`."""
    (path,) = reports.glob("*/*/report.json")
    return load_report(path)


def processes_in(folder: Path) -> list[str]:
    """The processes whose current directory is in the folder: fork servers, workers, what they left."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(folder):
                found.append(f"{process.pid} {process.cmdline()}")
        except (psutil.Error, OSError):
            continue
    return found


def wait_for_none_in(folder: Path, seconds: float = 5.0) -> list[str]:
    """What still runs in the folder when all should have ended."""
    deadline = time.monotonic() + seconds
    while (found := processes_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
