"""The Python interpreter and the code that the workers of a run use: this program's, or those under test."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydantic import ValidationError

from harness import __file__ as package_file
from harness import __version__
from harness.errors import InvalidInputError, UnavailableError
from harness.machine.facts import describe_environment
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.environment import Environment
from harness.model.frozen import Frozen
from harness.model.job import Job
from harness.model.suite import Measure
from harness.model.trial import Trial
from harness.programs import run_program

_ANSWER_SECONDS: Final = 120.0
_LONGEST_REASON: Final = 500
# Reads a job as a worker does: versions of harness that do not fit are found before the first trial.
_ASK: Final = """
import json, sys
import harness
import harness.running.workers.fork_server
from harness.machine.facts import describe_environment
from harness.model.job import Job
job = Job.model_validate_json(sys.stdin.buffer.read())
answer = {"package": harness.__file__, "version": harness.__version__, "trial": job.trial.id,
          "environment": describe_environment().model_dump(mode="json")}
print(json.dumps(answer))
"""


class _Answer(Frozen):
    package: str
    version: str
    trial: str
    environment: Environment


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The interpreter and code of the workers of a run.

    `python` is the executable, `checkout` a folder that comes first in its import path or None, `version`
    that of the `harness` it imports and `package` where that is: its `__init__.py`.
    """

    python: str
    version: str
    package: Path
    environment: Environment
    checkout: Path | None = None

    def code_sha256(self) -> str:
        """SHA-256 over the names and contents of the modules of its `harness`."""
        whole = hashlib.sha256()
        folder = self.package.parent
        for file in sorted(folder.rglob("*.py")):
            whole.update(f"{file.relative_to(folder).as_posix()}\0".encode())
            whole.update(hashlib.sha256(file.read_bytes()).digest())
        return whole.hexdigest()

    def environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment variables of its processes: the checkout in front of the import path."""
        return _with_checkout(environ, self.checkout)


def this_interpreter() -> Interpreter:
    """The interpreter and the code of this process."""
    return Interpreter(sys.executable, __version__, Path(package_file), describe_environment())


def find_interpreter(
    side: str, python: Path | None, checkout: Path | None, trial: Trial, environ: Mapping[str, str]
) -> Interpreter:
    """The interpreter of a side, asked once whether it can read the jobs of this harness.

    A checkout is a folder with a `harness` package: its code runs, under its own `.venv/bin/python` if it has
    one and no other interpreter is named, else under this program's.

    Args:
        side: the name of the side, for messages.
        python: an executable; None takes the checkout's or this program's.
        checkout: a folder with a `harness` package; None takes the package that the executable imports.
        trial: any trial of the side.
        environ: the environment variables of the side's processes, without its checkout.

    Raises:
        InvalidInputError: `python` or `checkout` is no such file or folder, or its code cannot read the job.
        UnavailableError: the interpreter cannot import harness.
    """
    if python is None and checkout is None:
        return this_interpreter()
    if checkout is not None:
        checkout = _absolute(side, checkout)
        if not (checkout / "harness" / "__init__.py").is_file():
            raise InvalidInputError(
                f"{side}: {checkout} has no harness/__init__.py",
                hint="Name the root folder of a checkout, the one that contains pyproject.toml.",
            )
    executable = _executable(side, python, checkout)
    answer = _ask(side, executable, _job(trial), _with_checkout(environ, checkout))
    package = Path(answer.package)
    if checkout is not None and not package.resolve().is_relative_to(checkout.resolve()):
        raise InvalidInputError(
            f"{side}: {executable} imports harness from {package.parent}, not from {checkout}",
            hint="Something comes first in its import path: look into PYTHONPATH and its .pth files.",
        )
    if answer.trial != trial.id:
        raise InvalidInputError(
            f"{side}: harness {answer.version} in {package.parent} gives trial {trial.id} another id",
            hint="The defaults of its suites differ: compare versions that share them.",
        )
    return Interpreter(executable, answer.version, package, answer.environment, checkout)


def _absolute(side: str, path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError as error:
        raise InvalidInputError(
            f"{side}: {path}: the current directory does not exist any more",
            hint="Change to another one, or give an absolute path.",
        ) from error


def _executable(side: str, python: Path | None, checkout: Path | None) -> str:
    # Not resolved: the link inside of an environment is what selects the environment.
    if python is None:
        own = checkout and checkout / ".venv" / "bin" / "python"
        return str(own) if own is not None and own.exists() else sys.executable
    found = _absolute(side, python)
    if not found.is_file() or not os.access(found, os.X_OK):
        raise InvalidInputError(
            f"{side}: {python} is not an executable file",
            hint="Name an interpreter, such as .venv/bin/python.",
        )
    return str(found)


def _ask(side: str, executable: str, job: Job, environ: Mapping[str, str]) -> _Answer:
    command, given = [executable, "-P", "-c", _ASK], job.model_dump_json().encode()
    with TemporaryDirectory(prefix="harness-ask-") as folder:
        try:
            done = run_program(
                command, timeout_s=_ANSWER_SECONDS, environ=environ, given=given, cwd=Path(folder)
            )
        except OSError as error:
            raise UnavailableError(
                f"{side}: {executable} cannot be run: {error}",
                hint=f"Run `{executable} -c 'import harness'` to see why.",
            ) from error
    if done.code != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = (lines or ["no reason given"])[-1][:_LONGEST_REASON]
        raise UnavailableError(
            f"{side}: {executable} cannot import harness and read a job of harness {__version__}: {why}",
            hint="Install harness there, with its extra `train`, in a version that fits this one.",
        )
    try:
        return _Answer.model_validate_json(done.stdout.strip().splitlines()[-1])
    except (ValidationError, IndexError) as error:
        raise UnavailableError(
            f"{side}: {executable} describes its environment in another form than harness {__version__}",
            hint="Both sides need a version that fits this one.",
        ) from error


def _job(trial: Trial) -> Job:
    """A job of the trial on nothing: only its form is read."""
    return Job(
        trial=trial,
        measure=Measure(),
        checkpoint=ResolvedCheckpoint(requested="none", name="none", source="local", path="/"),
        data=ResolvedData(requested="none", name="none", source="folder", layout="files", files={}),
        cache_dir="/",
    )


def _with_checkout(environ: Mapping[str, str], checkout: Path | None) -> dict[str, str]:
    if checkout is None:
        return dict(environ)
    path = os.pathsep.join(filter(None, (str(checkout), environ.get("PYTHONPATH"))))
    return {**environ, "PYTHONPATH": path}
