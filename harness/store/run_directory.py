"""A run on disk: `reports/<suite>/<run id>/` with the suite's copy, the plan, results and the report."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from harness.errors import InvalidInputError, StorageError
from harness.model.results import Report, TrialResult
from harness.model.status import STATUSES
from harness.store.finishing import write_ending
from harness.store.folders import (
    is_real_folder,
    is_there,
    make_folder,
    make_real_folder,
    names_in,
    remove_file,
)
from harness.store.locking import LOCK, hold_lock
from harness.store.plan_file import Plan
from harness.store.reading import parse_strict, read_bytes
from harness.store.report_file import Shape, as_it_is, report_file
from harness.store.trial_folder import RESULT, STATE, TRIAL_ID, read_result
from harness.store.writing import OS_FILES, TEMPORARY_NAME, Files, to_json, write_atomic

# 10,000 trials take 10 MB.
LARGEST_PLAN_BYTES: Final = 2**28


@dataclass(frozen=True)
class RunDirectory:
    """The folder of one run. A process locks it before it writes."""

    path: Path
    plan: Plan
    files: Files = field(default=OS_FILES, repr=False)

    def hold(self, wait: bool = False) -> AbstractContextManager[None]:
        """Lock the directory for this process, until the context or the process ends.

        Raises:
            LockedError: Another process has locked it and `wait` is false.
            StorageError: It cannot be locked.
        """
        return hold_lock(self.path / LOCK, wait=wait)

    def trial_folder(self, trial_id: str) -> Path:
        """The trial's folder, created if need be.

        Raises:
            InvalidInputError: That is no trial's id, or its place is taken by a file or a symbolic link.
            StorageError: It cannot be created.
        """
        return self._folder("trials", trial_id)

    def proof_folder(self, trial_id: str) -> Path:
        """Return the folder of a proof, by the id of its representing trial; as `trial_folder`."""
        return self._folder("proofs", trial_id)

    def window_folder(self, trial_id: str) -> Path:
        """Return the folder of the timed window of a trial; as `trial_folder`."""
        return self._folder("windows", trial_id)

    def _folder(self, kind: str, trial_id: str) -> Path:
        if TRIAL_ID.fullmatch(trial_id) is None:
            raise InvalidInputError(f"{trial_id!r} is no trial id: 16 hexadecimal digits were expected")
        folder = self.path / kind / trial_id
        for place in (folder.parent, folder):
            make_real_folder(place, self.files)
        return folder

    def proofs(self, trial_ids: Iterable[str]) -> dict[str, TrialResult]:
        """Those of the proofs that are there, whole and completed, by trial id."""
        return self._completed("proofs", trial_ids)

    def code(self) -> tuple[str, datetime | None]:
        """Return the digest of the code of the run, empty if unknown, and when it replaced earlier code."""
        try:
            text = read_bytes(self.path / "proofs" / "code", follow=False).decode()
            digest, _, since = text.partition(" ")
            return digest, datetime.fromisoformat(since) if since else None
        except (InvalidInputError, ValueError):
            return "", None

    def use_code(self, code: str, since: datetime | None) -> bool:
        """Record the code of the run, and remove proofs and windows of other code; return if there were any.

        Args:
            code: the digest of the code that makes proofs and trials from now on.
            since: when it replaced earlier code, whose finished trials stay; None if it is the first.

        Raises:
            StorageError: The operating system refused a step.
        """
        make_real_folder(self.path / "proofs", self.files)
        stored: list[Path] = []
        if self.code()[0] != code:
            for folder in filter(is_real_folder, (self.path / "proofs", self.path / "windows")):
                places = (
                    folder / name / RESULT for name in sorted(names_in(folder)) if TRIAL_ID.fullmatch(name)
                )
                stored += filter(is_there, places)
        for file in stored:
            remove_file(file, self.files)
        text = code if since is None else f"{code} {since.isoformat()}"
        write_atomic(self.path / "proofs" / "code", text.encode(), files=self.files)
        return bool(stored)

    def drop_states(self, trial_ids: Iterable[str]) -> None:
        """Remove the states of interrupted trainings, so that these begin at their first step.

        Raises:
            StorageError: The operating system refused a step.
        """
        for trial_id in trial_ids:
            if is_there(file := self.trial_folder(trial_id) / STATE):
                remove_file(file, self.files)

    def windows(self, trial_ids: Iterable[str]) -> dict[str, TrialResult]:
        """Those of the timed windows that are there, as `proofs`."""
        return self._completed("windows", trial_ids)

    def _completed(self, kind: str, trial_ids: Iterable[str]) -> dict[str, TrialResult]:
        found: dict[str, TrialResult] = {}
        for trial_id in trial_ids:
            try:
                result = read_result(self.path / kind / trial_id)
            except (InvalidInputError, StorageError):
                # Missing or torn: it takes moments, and is repeated.
                continue
            if result.status == "completed":
                found[trial_id] = result
        return found

    def results(self, shape: Shape = as_it_is) -> tuple[dict[str, TrialResult], list[str]]:
        """The finished results by trial id, in the plan's order, and a sentence for each file that is none.

        A file that is torn, changed, foreign or in the wrong place never counts as done. `shape` is
        applied to each result.
        """
        planned = self.plan.trial_ids
        found: dict[str, TrialResult] = {}
        problems = []
        if (self.path / "trials").is_symlink():
            return found, [f"{self.path / 'trials'}: a symbolic link, which is never followed"]
        present = names_in(self.path / "trials")
        for trial_id in (name for name in planned if name in present):
            folder = self.path / "trials" / trial_id
            if is_real_folder(folder) and not is_there(folder / "result.json"):
                continue
            try:
                result = read_result(folder)
            except (InvalidInputError, StorageError) as error:
                problems.append(error.message)
                continue
            if STATUSES[result.status].final:
                found[trial_id] = shape(result)
        problems.extend(
            f"{self.path / 'trials' / name}: no trial of this plan; it was left alone"
            for name in sorted(present - set(planned))
        )
        return found, problems

    def stored(self, trial_id: str) -> TrialResult:
        """Return the result of a trial that has ended, with everything in its file.

        Raises:
            StorageError: The file is damaged or gone, or cannot be read.
        """
        try:
            return read_result(self.path / "trials" / trial_id)
        except InvalidInputError as error:
            raise StorageError(
                f"a finished result was damaged: {error.message}",
                hint="Run the same command again: that trial runs again, the others are kept.",
            ) from error

    def sweep(self) -> None:
        """Remove the temporary files that a killed process left; only the holder may.

        Raises:
            StorageError: One cannot be removed.
        """
        folders = [self.path]
        for kind in ("proofs", "windows", "trials"):
            folders.append(self.path / kind)
            folders += [self.path / kind / name for name in sorted(names_in(self.path / kind))]
        for folder in filter(is_real_folder, folders):
            for name in sorted(names_in(folder)):
                if TEMPORARY_NAME.fullmatch(name):
                    remove_file(folder / name, self.files)

    def write_report(
        self,
        report: Report,
        markdown: str,
        html: str | None = None,
        *,
        results: Iterable[TrialResult] | None = None,
    ) -> None:
        """Write `report.md`, `report.html` where given, and last `report.json`, by which a run is finished.

        `results` are the complete results where those of the report are brief; they are read one by one.

        Raises:
            StorageError: The operating system refused a step; each file is the old or the new one, whole.
        """
        write_atomic(self.path / "report.md", markdown.encode(), files=self.files)
        if html is not None:
            write_atomic(self.path / "report.html", html.encode(), files=self.files)
        with report_file(report, report.results if results is None else results, self.path) as file:
            write_ending(self.path, report, file.sha256, self.plan, self.files)
            write_atomic(self.path / "report.json", file.chunks(), files=self.files)


def write_run(path: Path, plan: Plan, suite_text: bytes, *, files: Files = OS_FILES) -> RunDirectory:
    """Make an empty folder, or one that does not exist, a run; `plan.json` comes last and makes it one.

    Raises:
        StorageError: It cannot be created or written.
    """
    make_folder(path / "trials", files=files)
    write_atomic(path / "suite.yaml", suite_text, files=files)
    write_atomic(path / "plan.json", to_json(plan), files=files)
    return RunDirectory(path, plan, files)


def open_run(path: Path, *, files: Files = OS_FILES) -> RunDirectory:
    """The run in the folder `path`, which is only read.

    Raises:
        InvalidInputError: It has no plan, or one that is damaged, foreign or of a newer schema.
        StorageError: It cannot be read.
    """
    file = path / "plan.json"
    if not is_there(file):
        raise InvalidInputError(
            f"{path} is not the folder of a run: it has no plan.json", hint="harness list names the runs."
        )
    data = read_bytes(file, follow=False, limit=LARGEST_PLAN_BYTES)
    return RunDirectory(path, parse_strict(data, Plan, file), files)
