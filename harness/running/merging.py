"""Merge the shards of one plan into a run with every trial, its proofs, and one report."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.analysis.naming import describe
from harness.analysis.parity import function_of
from harness.analysis.training_verdicts import training_of
from harness.errors import InvalidInputError, NotComparableError
from harness.model.quality import OwnScores
from harness.model.results import Report, TrialResult
from harness.model.status import STATUSES
from harness.model.trial import Trial
from harness.running.proof_store import passes
from harness.running.reporting import shard_note
from harness.running.seams import Render
from harness.store.folders import is_real_folder, is_there, make_folder, names_in, refuse_inside_run
from harness.store.locking import LOCK, hold_lock
from harness.store.plan_file import Plan, shard_number
from harness.store.reading import load_report, read_bytes
from harness.store.run_directory import RunDirectory, open_run, write_run
from harness.store.trial_folder import LOG, write_result
from harness.store.writing import canonical_json, write_atomic
from harness.words import count

_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the runs to merge; without a report it has not finished."""

    run: RunDirectory
    report: Report | None

    @property
    def name(self) -> str:
        return str(self.run.path)


@dataclass(frozen=True, slots=True)
class _Found:
    """A result and the run that it comes from."""

    result: TrialResult
    part: _Part


def merge_runs(paths: Sequence[Path], output: Path, render: Render) -> Report:
    """Merge runs of shards of one plan into the new run `output`, and return its report.

    Args:
        paths: the run directories, in any order; together they have every trial of the plan.
        output: a folder that does not exist or is empty.
        render: the report as Markdown and as HTML, which are written next to it.

    Raises:
        NotComparableError: The runs are not of one plan, version and suite; a trial is missing, or has
            different results in two runs.
        InvalidInputError: A run or its report is damaged, or `output` is not empty or inside of a run.
        LockedError: Another process merges into `output`.
        StorageError: A file cannot be read or written; `output` is as it was.
    """
    parts = [_read(path) for path in paths]
    refuse_inside_run(output.parent)
    plan = _common_plan(parts)
    reports = [part.report for part in parts if part.report is not None]
    _check_reports(reports)
    found = _results(parts)
    _refuse_missing(plan, found, parts)
    _refuse_taken(output)
    results = [found[trial.id] for trial in plan.trials]
    functions = _proofs((report.proofs, part) for report, part in _with_reports(parts))
    trainings = _proofs((report.training_proofs, part) for report, part in _with_reports(parts))
    report = reports[0].model_copy(
        update={
            "run": output.absolute().name,
            "created": datetime.now(UTC),
            "notes": _notes(parts, plan),
            "proofs": _in_order(functions, _function_ids(results)),
            "training_proofs": _in_order(trainings, _training_ids(results)),
            "own_metrics": _own_metrics(reports),
            "results": tuple(each.result for each in results),
        }
    )
    suite_text = read_bytes(parts[0].run.path / "suite.yaml", follow=False)
    with _claimed(output):
        run = write_run(output, plan, suite_text)
        for each in results:
            # A trial that did not run has no folder in a run either.
            if STATUSES[each.result.status].ran:
                _copy(each, "trials", run.trial_folder(each.result.trial.id))
        for each in (*functions.values(), *trainings.values()):
            _copy(each, "proofs", run.proof_folder(each.result.trial.id))
        run.write_report(report, *render(report))
    return report


def _refuse_taken(output: Path) -> None:
    if names_in(output) - {LOCK} or (is_there(output) and not output.is_dir()):
        raise InvalidInputError(
            f"{output}: it exists and is not an empty folder", hint="Give a new folder, or remove this one."
        )


@contextmanager
def _claimed(output: Path) -> Iterator[None]:
    """Lock the folder as a run does; after an error it is as it was, so that the same command can follow."""
    was_there = is_there(output)
    make_folder(output)
    with hold_lock(output / LOCK):
        # Another merge may have written it since it was looked at.
        _refuse_taken(output)
        try:
            yield
        except BaseException:
            # The error that led here counts, not one of the cleaning.
            with suppress(OSError):
                for entry in output.iterdir():
                    if is_real_folder(entry):
                        shutil.rmtree(entry)
                    else:
                        entry.unlink()
                if not was_there:
                    output.rmdir()
            raise


def _read(path: Path) -> _Part:
    run = open_run(path)
    report = load_report(path) if is_there(path / "report.json") else None
    if report is not None and {result.trial.id for result in report.results} != set(run.plan.trial_ids):
        raise InvalidInputError(
            f"{path}: the trials of its report are not those of its plan",
            hint="Restore the folder as `harness run` wrote it.",
        )
    return _Part(run, report)


def _with_reports(parts: Iterable[_Part]) -> Iterator[tuple[Report, _Part]]:
    return ((part.report, part) for part in parts if part.report is not None)


def _common_plan(parts: Sequence[_Part]) -> Plan:
    first = parts[0].run.plan.whole
    for part in parts[1:]:
        plan = part.run.plan.whole
        for what, one, other in (
            ("plan", first.digest, plan.digest),
            ("identity version", first.identity_version, plan.identity_version),
            ("harness version", first.harness_version, plan.harness_version),
        ):
            if one != other:
                raise NotComparableError(
                    f"{parts[0].name} and {part.name} are not shards of one run: "
                    f"{what} {one[:12]} against {other[:12]}",
                    hint="Run every shard with the same suite, options and version of harness, and name its "
                    "devices: `auto` and `all` are others on another machine.",
                )
    return first


def _check_reports(reports: Sequence[Report]) -> None:
    suites = [
        report.suite.with_tasks(lambda task: task.model_copy(update={"data_dir": None})) for report in reports
    ]
    for report, suite in zip(reports, suites, strict=True):
        if suite != suites[0]:
            raise NotComparableError(
                f"runs {reports[0].run} and {report.run} are of different versions of the suite {suite.name}",
                hint="Run every shard with the same suite.",
            )


def _own_metrics(reports: Sequence[Report]) -> tuple[OwnScores, ...]:
    """Return the scores of all reports by each of the users' metrics."""
    found: dict[str, OwnScores] = {}
    for report in reports:
        for own in report.own_metrics:
            first = found.setdefault(own.label, own)
            if own.version != first.version:
                raise NotComparableError(
                    f"runs {reports[0].run} and {report.run} were scored by different files as {own.label}: "
                    f"{first.version} and {own.version}",
                    hint="Score one of them again with its present file: "
                    "harness rescore RUN -o RUN/report.json.",
                )
            found[own.label] = first.model_copy(update={"scores": {**own.scores, **first.scores}})
    return tuple(found.values())


def _results(parts: Sequence[_Part]) -> dict[str, _Found]:
    """Return the final results by trial id; equal ones of two runs count once."""
    found: dict[str, _Found] = {}
    for report, part in _with_reports(parts):
        for result in report.results:
            if not STATUSES[result.status].final:
                continue
            first = found.setdefault(result.trial.id, _Found(result, part))
            if canonical_json(first.result) != canonical_json(result):
                raise NotComparableError(
                    f"trial {result.trial.id} ({_name(result.trial)}) has different results in "
                    f"{first.part.name} and {part.name}",
                    hint="Leave out one of the two runs.",
                )
    return found


def _refuse_missing(plan: Plan, found: Collection[str], parts: Sequence[_Part]) -> None:
    missing = [trial for trial in plan.trials if trial.id not in found]
    if not missing:
        return
    counts = {part.run.plan.shard.count for part in parts if part.run.plan.shard is not None}
    names = [f"{trial.id} ({_name(trial)}{_shard_of(trial, counts)})" for trial in missing[:_MOST_NAMED]]
    if len(missing) > _MOST_NAMED:
        names.append(f"and {len(missing) - _MOST_NAMED} more")
    stopped = [part.name for part in parts if part.report is None]
    raise NotComparableError(
        "\n".join(
            [
                f"{len(missing)} of {count(len(plan.trials), 'trial')} missing:",
                *names,
                *(f"{name} has no report: it is running, or was stopped" for name in stopped),
            ]
        ),
        hint="Run these shards, or the same command again where one was stopped, and give all folders.",
    )


def _shard_of(trial: Trial, counts: Collection[int]) -> str:
    """Return the shard of a trial in words where all runs have the same number of shards."""
    if len(counts) != 1:
        return ""
    (number,) = counts
    return f", shard {shard_number(trial.id, number)}/{number}"


def _name(trial: Trial) -> str:
    return f"{describe(trial)}, seed {trial.seed}"


def _proofs(given: Iterable[tuple[Iterable[TrialResult], _Part]]) -> dict[str, _Found]:
    """Return one proof for each id: the first that does not pass, else the first of these runs."""
    found: dict[str, _Found] = {}
    for proofs, part in given:
        for proof in proofs:
            first = found.setdefault(proof.trial.id, _Found(proof, part))
            if (passes(proof), proof.reused) < (passes(first.result), first.result.reused):
                found[proof.trial.id] = _Found(proof, part)
    return found


def _function_ids(results: Iterable[_Found]) -> Iterator[str]:
    return (function_of(each.result.trial).id for each in results)


def _training_ids(results: Iterable[_Found]) -> Iterator[str]:
    return (
        training_of(each.result.trial, each.result.checkpoint.model_type).id
        for each in results
        if each.result.checkpoint is not None
    )


def _in_order(proofs: Mapping[str, _Found], ids: Iterable[str]) -> tuple[TrialResult, ...]:
    """Return the proofs in the order of the trials that they cover, as one run has them."""
    return tuple(proofs[each].result for each in dict.fromkeys((*ids, *proofs)) if each in proofs)


def _notes(parts: Sequence[_Part], plan: Plan) -> tuple[str, ...]:
    """Return the notes of all reports once each, assets in the order of the plan as one run has them."""
    own = {shard_note(part.run.plan) for part in parts}
    reports = [report for report, _ in _with_reports(parts)]
    notes = dict.fromkeys(note for report in reports for note in report.notes if note not in own)
    assets = [
        *dict.fromkeys(f"checkpoint {trial.checkpoint}: " for trial in plan.trials),
        *dict.fromkeys(f"data {trial.task.name}: " for trial in plan.trials),
    ]

    def place(note: str) -> int:
        return next((at for at, asset in enumerate(assets) if note.startswith(asset)), len(assets))

    return (*sorted(notes, key=place), *_apart(reports))


def _apart(reports: Sequence[Report]) -> Iterator[str]:
    """Return notes on properties that differ between the merged runs."""
    machines = {
        result.environment.fingerprint
        for report in reports
        for result in report.results
        if result.environment is not None
    }
    if len(machines) > 1:
        yield f"merged from {len(machines)} different machines: compare speed within one alone"
    packages = [report.environment.packages for report in reports]
    names = sorted({name for each in packages for name in each})
    if differing := [name for name in names if len({each.get(name) for each in packages}) > 1]:
        yield f"merged from runs with different versions of {', '.join(differing)}"
    if len({report.environment.git for report in reports}) > 1:
        yield "merged from runs at different commits, or with files that differ from them"


def _copy(found: _Found, kind: str, folder: Path) -> None:
    log = found.part.run.path / kind / found.result.trial.id / LOG
    if is_there(log):
        write_atomic(folder / LOG, read_bytes(log, follow=False))
    write_result(folder, found.result)
