"""A report as a document: the variants, their proofs, the epochs, and the environment of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from functools import partial

from harness.analysis.leading import places
from harness.analysis.machines import Machines, machines
from harness.analysis.rows import Row
from harness.analysis.selecting import select
from harness.analysis.summary import estimate, summarize
from harness.model.environment import Environment
from harness.model.metrics import metric_named
from harness.model.quality import Epoch
from harness.model.results import Report
from harness.output.builders.charts_of_comparison import machine_charts, machine_table
from harness.output.builders.proof_tables import PARITY, parity_charts, proof_cases, proved, proved_training
from harness.output.builders.report_parts.accuracy_tables import breakdown_tables
from harness.output.builders.report_parts.answer import RANKS, answer, doubts, looks_line, looks_table
from harness.output.builders.report_parts.arranging import sorted_rows, with_columns
from harness.output.builders.report_parts.cells import columns, mean_and_spread
from harness.output.builders.report_parts.charts_of_run import charts
from harness.output.builders.report_parts.notes import contradictory, notes
from harness.output.builders.report_parts.oddities import differing, failures
from harness.output.builders.report_parts.remarks import constants, parity, place, title
from harness.output.builders.report_parts.roofline import HEADING as ROOFLINE
from harness.output.builders.report_parts.roofline import no_roofline, roofline_columns, roofline_notes
from harness.output.builders.trials import benchmarks, machine_of, trial_cases, trial_records
from harness.output.document import Column, Document, Later, Ranking, Table
from harness.output.numbers import size
from harness.words import count, quoted


def report_document(  # noqa: PLR0913 - the options of `show`, mostly left at their defaults
    report: Report,
    *,
    roofline: bool = False,
    by_epoch: bool = False,
    selection: str | None = None,
    names: Sequence[str] = (),
    order: str | None = None,
    verify: bool = False,
) -> Document:
    """The variants and all that belongs to them.

    A terminal shows the machine's peaks with `roofline`, and the scores after each epoch with `by_epoch`.
    A `selection` of labels leaves the other variants out, and the document tells how many it shows; the
    labels stay those of the whole report. `names` are the columns of the main table, and `order` is the one
    that sorts its rows. With `verify` a note names variants whose stored numbers contradict each other; it
    needs a report as stored, and not the results in brief that a run of many trials keeps.

    Raises:
        InvalidInputError: The selection cannot be read or selects nothing, or a column does not exist.
    """
    rows, results = summarize(report), report.results
    devices = machines([("", report)], lambda _: rows)
    heading = title(report) if rows else f"{title(report)}: nothing has run"
    if selection is not None:
        every, rows = rows, _selected(rows, selection)
        heading += f" (-k {quoted(selection, 200)}: {len(rows)} of {count(len(every), 'variant')})"
        shown = {row.variant for row in rows}
        results = tuple(result for result in results if result.trial.variant_id in shown)
    if order is not None:
        rows = sorted_rows(rows, order, columns(report, rows))
    asked = {"roofline": roofline, "epochs": by_epoch}
    tables = tuple(_tables(report, rows, devices, asked)) if rows else ()
    if names and tables:
        tables = (with_columns(tables[0], names), *tables[1:])
    return Document(
        kind="report",
        title=heading,
        model=report,
        answer=answer(report, rows) if rows else "",
        remarks=tuple(doubts(report, rows)),
        summary=tuple(_summary(report, rows)) if rows else (),
        tables=tables,
        details=Later(partial(_details, report, rows, asked)) if rows else (),
        charts=Later(
            lambda: (*machine_charts(devices), *charts(report, rows), *parity_charts(report.proofs))
        ),
        notes=tuple(_notes(report.model_copy(update={"results": results}), rows, verify=verify)),
        name=report.suite.name,
        records=trial_records(report, results),
        cases=Later(lambda: (*trial_cases(report, results), *proof_cases(report))),
        benchmarks=benchmarks(report, rows),
        machine=machine_of(report),
        footer=f"Run {report.run}, {report.created.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, "
        f"harness {report.harness_version}.",
    )


def _notes(report: Report, rows: Sequence[Row], *, verify: bool) -> Iterator[str]:
    if not rows:
        return
    if verify:
        yield from contradictory(report, rows)
    yield from notes(report, rows)


def _selected(rows: Sequence[Row], selection: str) -> tuple[Row, ...]:
    labels = select(selection, [row.label for row in rows])
    return tuple(row for row in rows if row.label in labels)


def _summary(report: Report, rows: Sequence[Row]) -> Iterator[str]:
    yield from filter(None, (constants(report), place(report)))
    if report.looks is not None:
        yield looks_line(report.looks)
    yield from parity(report, rows)


def _tables(
    report: Report, rows: Sequence[Row], devices: Machines | None, asked: Mapping[str, bool]
) -> Iterator[Table]:
    at = {row.variant: place for place, row in enumerate(rows)}
    ranking = tuple((place, at[variant]) for variant, place in places(rows).items())
    yield Table("Variants", tuple(columns(report, rows)), ranking=Ranking(RANKS, ranking))
    if report.looks is not None and report.looks.rows:
        yield looks_table(report.looks)
    if devices is not None:
        yield machine_table(devices)
    if asked["roofline"]:
        yield _roofline(report, rows) or Table(no_roofline(report))
    if asked["epochs"]:
        yield _epochs(report, rows) or Table("Epochs", notes=("no completed trial has epochs",))


def _details(report: Report, rows: Sequence[Row], asked: Mapping[str, bool]) -> Iterator[Table]:
    yield from filter(None, (differing(report, rows), failures(report, rows)))
    if report.proofs:
        yield Table(PARITY, proved(report.proofs))
    if report.training_proofs:
        yield Table("Training against the reference", proved_training(report.training_proofs))
    if not asked["roofline"] and (roofline := _roofline(report, rows)) is not None:
        yield roofline
    if not asked["epochs"] and (by_epoch := _epochs(report, rows)) is not None:
        yield by_epoch
    yield from breakdown_tables(report)
    yield Table("Environment", pairs=tuple(environment(report)))
    yield Table("Run it again", notes=tuple(reproduce(report)))


def _roofline(report: Report, rows: Sequence[Row]) -> Table | None:
    peaks = roofline_columns(report, rows)
    return Table(ROOFLINE, peaks, notes=tuple(roofline_notes(report, rows))) if peaks else None


def _epochs(report: Report, rows: Sequence[Row]) -> Table | None:
    found = epochs(report, rows)
    return Table("Epochs", found, notes=("means over the seeds",)) if found else None


def epochs(report: Report, rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return each variant's epochs, mean over its sound trials; empty where no trial finished one."""
    labelled = {row.variant: row.label for row in rows}
    found = [
        (labelled[variant], [result.epochs[at] for result in results if at < len(result.epochs)])
        for variant, trials in report.variants().items()
        if variant in labelled and (results := [result for result in trials if result.sound])
        for at in range(max(len(result.epochs) for result in results))
    ]
    if not found:
        return ()
    metrics = dict.fromkeys(metric for _, equal in found for one in equal for metric in one.values)
    return (
        Column("variant", tuple(name for name, _ in found), numeric=False),
        Column("epoch", tuple(str(equal[0].epoch) for _, equal in found)),
        Column("seeds", tuple(str(len(equal)) for _, equal in found)),
        *(
            Column(metric_named(metric).label, tuple(_mean(metric, equal) for _, equal in found))
            for metric in metrics
        ),
    )


def _mean(metric: str, epochs: Sequence[Epoch]) -> str:
    values = (value for epoch in epochs if (value := epoch.values.get(metric)) is not None)
    return mean_and_spread(metric, estimate(values))


def environment(report: Report) -> list[tuple[str, str]]:
    """Where the run happened, as pairs of a name and a text."""
    of_run = report.environment
    of_trials = [result.environment for result in report.results if result.environment is not None]
    first = of_trials[0] if of_trials else of_run
    pairs = [
        ("processor", f"{of_run.cpu.model}, {of_run.cpu.architecture}, {_cores(of_run)}"),
        ("memory", size(of_run.memory_bytes)),
        *dict.fromkeys(("device", _device(one)) for one in of_trials if one.device is not None),
        ("threads", "" if first.threads is None else str(first.threads)),
        ("system", f"{of_run.system}, Python {of_run.python}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in sorted(first.packages.items()))),
        ("variables", ", ".join(f"{name}={value}" for name, value in sorted(of_run.variables.items()))),
        ("commit", _commit(of_run)),
        *dict.fromkeys(("data", text) for text in _data(report)),
        *dict.fromkeys(("checkpoint", text) for text in _checkpoints(report)),
    ]
    return [(name, text) for name, text in pairs if text]


def reproduce(report: Report) -> list[str]:
    """What to type to see this report again and to run its suite again."""
    return [
        "the table again: harness show report.json",
        "the page again, with the times of every step: harness show report.json --output page.html",
        "the same suite again: harness run suite.yaml --fresh, with the suite.yaml of this folder",
        f"the same code: harness {report.harness_version}" + _at_commit(report.environment),
    ]


def _at_commit(of_run: Environment) -> str:
    return f" at commit {_commit(of_run)}" if of_run.git else ""


def _commit(of_run: Environment) -> str:
    if of_run.git is None:
        return ""
    return of_run.git.commit + (", with uncommitted changes" if of_run.git.dirty else "")


def _cores(of_run: Environment) -> str:
    flags = f", {' '.join(of_run.cpu.flags)}" if of_run.cpu.flags else ""
    return f"{count(of_run.cpu.physical_cores, 'physical core')}, {of_run.cpu.logical_cores} logical{flags}"


def _device(of_trial: Environment) -> str:
    device = of_trial.device
    if device is None:
        return ""
    index = "" if device.index is None else f":{device.index}"
    memory = "" if device.memory_bytes is None else f", {size(device.memory_bytes)}"
    driver = "" if device.driver is None else f", driver {device.driver}"
    return f"{device.kind}{index} {device.name}{memory}{driver}"


def _data(report: Report) -> list[str]:
    return [
        f"{data.name} from {data.source}{f' at {data.revision}' if data.revision else ''}, "
        f"{count(data.train_examples, 'training pair')}, {count(data.eval_examples, 'validation pair')}, "
        f"content {data.content_sha256[:12]}{', synthetic' if data.synthetic else ''}"
        for result in report.results
        if (data := result.data) is not None
    ]


def _checkpoints(report: Report) -> list[str]:
    return [
        f"{found.name} from {found.source}{f' at {found.revision}' if found.revision else ''}, "
        f"{found.model_type}, {count(found.parameters, 'parameter')}, weights {found.weights_sha256[:12]}"
        f"{f', stand-in for {found.requested}' if found.stand_in else ''}"
        f"{f'; {found.columns_note}' if found.columns_note else ''}"
        for result in report.results
        if (found := result.checkpoint) is not None
    ]
