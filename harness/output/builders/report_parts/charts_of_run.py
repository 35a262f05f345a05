"""The charts of a run's page, from the rows of its summary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Final

from harness.analysis.checks.expected_work import expected_work
from harness.analysis.leading import by_speed
from harness.analysis.peak_shares import rooflines
from harness.analysis.rows import Row
from harness.analysis.step_bins import HIGH, LOW, has_steps, step_bins
from harness.analysis.summary import estimate, speeds
from harness.model.metrics import headlines, metric_named
from harness.model.results import Report, TrialResult
from harness.output.builders.report_parts.remarks import doubt
from harness.output.builders.report_parts.roofline import HEADING as ROOFLINE
from harness.output.builders.trials import plain_seed
from harness.output.document import Chart
from harness.output.drawings import Axis, Bar, Bars, Line, Lines, Point, Sample, Scatter, Seed, Unit
from harness.output.numbers import amount, percent, rate
from harness.words import count

# More points or rows are a table, which every page has.
MOST_DRAWN: Final = 24
# More ribbons cover each other.
_MOST_LINES: Final = 5
_LOSS: Final = "train_step_loss"
_REST: Final = "the rest"
_PHASES: Final = {
    "load": ("load_data_seconds", "tokenize_seconds", "load_model_seconds"),
    "compile": ("compile_seconds",),
    "train": ("train_seconds",),
    "evaluate": ("evaluate_seconds",),
}


def charts(report: Report, rows: Sequence[Row]) -> tuple[Chart, ...]:
    """Return every chart that the measurements of the report allow, for each device and task.

    Neither speeds of different devices nor scores of different tasks share an axis.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.trial.device, row.trial.task.name), []).append(row)
    varying = [len({key[at] for key in groups}) > 1 for at in range(2)]
    found: list[Chart] = []
    for place, (key, group) in enumerate(groups.items()):
        of = ", ".join(name for name, varies in zip(key, varying, strict=True) if varies)
        found += (
            replace(chart, name=f"{chart.name}-{place}", title=f"{chart.title}: {of}") if of else chart
            for chart in _charts(report, group)
        )
    return tuple(found)


def _charts(report: Report, rows: Sequence[Row]) -> Iterator[Chart]:
    drawn = by_speed(rows)[:MOST_DRAWN]
    left = len(rows) - len(drawn)
    note = (f"the {count(len(drawn), 'fastest variant')} of {len(rows)}; the table has all",) if left else ()
    made = (
        _quality_and_speed(report, drawn, note),
        _work(drawn, note),
        _step_times(report, rows),
        _losses(report, rows),
        _phases(report, drawn, note),
        _memory(drawn, note),
        _shares(report, drawn, note),
    )
    return (chart for chart in made if chart is not None)


def _quality_and_speed(report: Report, rows: Sequence[Row], note: tuple[str, ...]) -> Chart | None:
    """Every variant that has both, with its seeds; F1 where the task has it."""
    metric = next(
        (name for name in reversed(headlines("training")) if any(name in r.quality for r in rows)), ""
    )
    shown = [row for row in rows if row.speed is not None and metric in row.quality]
    if not shown:
        return None
    label = metric_named(metric).label
    results = report.variants()
    points = tuple(_point(row, results[row.variant], metric) for row in shown)
    several = any(len(point.seeds) > 1 for point in points)
    spreads = "whiskers: smallest to largest speed, and one standard deviation of the scores, over seeds"
    best = max(shown, key=lambda row: row.quality[metric].mean)
    return Chart(
        "quality",
        f"{label} against speed",
        f"{_fastest(shown)}; {best.label} has the highest {label}, "
        f"{amount(metric, best.quality[metric].mean)}",
        Scatter(
            Axis("real tokens per second", "rate"),
            Axis(label, _unit(metric), cut=True),
            points,
            x_meaning="smallest to largest",
            y_meaning="one standard deviation",
        ),
        notes=(
            f"{spreads}; small dots: single seeds" if several else "one seed a variant: no interval",
            f"the axis of {label} does not start at zero",
            *_hollow(shown),
            *note,
        ),
        lead=True,
    )


def _point(row: Row, results: Sequence[TrialResult], metric: str) -> Point:
    found, fast = row.quality[metric], speeds(results)
    around = None if found.spread is None else (found.mean - found.spread, found.mean + found.spread)
    seeds = tuple(
        Seed(plain_seed(result.trial.seed), fast[result.trial.seed], score)
        for result in results
        if result.sound and result.trial.seed in fast and (score := result.value(metric)) is not None
    )
    assert row.speed is not None
    return Point(row.label, row.speed, found.mean, row.speed_range, around, seeds, doubt(row))


def _unit(metric: str) -> Unit:
    return "percent" if metric_named(metric).shown == "percent" else "number"


def _hollow(rows: Sequence[Row]) -> list[str]:
    """Explain hollow points and pale bars."""
    doubts = dict.fromkeys(map(doubt, rows))
    found = "; ".join(filter(None, doubts))
    if not found:
        return []
    return [f"hollow or pale: every variant: {found}" if len(doubts) == 1 else f"hollow or pale: {found}"]


def _fastest(rows: Sequence[Row]) -> str:
    first, last = by_speed(rows)[0], by_speed(rows)[-1]
    if first is last:
        return f"{first.label}: {rate(first.speed)} real tokens per second"
    return (
        f"{first.label} has the highest median speed, {rate(first.speed)} real tokens per second, "
        f"{last.label} the lowest, {rate(last.speed)}"
    )


def _work(rows: Sequence[Row], note: tuple[str, ...]) -> Chart | None:
    """Computed tokens per second, of which padding is the wasted part."""
    shown = [row for row in rows if row.speed]
    if not shown:
        return None
    split = any((row.padding_efficiency or 1.0) < 1.0 for row in shown)
    bars = tuple(Bar(row.label, _split(row) if split else (row.speed or 0.0,), doubt(row)) for row in shown)
    title = "Where the time goes: real tokens and padding" if split else "Real tokens per second"
    return Chart(
        "work",
        title,
        _fastest(shown),
        Bars(
            Axis("tokens per second", "rate"),
            bars,
            ("real tokens/s", "padding/s") if split else ("real tokens/s",),
        ),
        notes=(
            *(["a whole bar: the tokens that linear layers compute per second"] if split else []),
            *_hollow(shown),
            *note,
        ),
        lead=True,
    )


def _split(row: Row) -> tuple[float, float]:
    real = row.speed or 0.0
    return real, real / (row.padding_efficiency or 1.0) - real


def _step_times(report: Report, rows: Sequence[Row]) -> Chart | None:
    variants, first = report.variants(), report.suite.measure.warmup_steps + 1
    timed = [row for row in by_speed(rows) if has_steps(variants[row.variant], "train_step_seconds")]
    if not timed:
        return None
    drawn = [
        (row.label, step_bins(_completed(variants[row.variant]), "train_step_seconds", first))
        for row in timed[:_MOST_LINES]
    ]
    ribbons = any(each.band is not None for _, bins in drawn for each in bins)
    lines = tuple(
        Line(label, tuple(Sample(each.step, each.median, each.band) for each in bins))
        for label, bins in drawn
    )
    return Chart(
        "steps",
        "Step time",
        "; ".join(
            f"{label}: {amount('train_step_seconds', bins[-1].median)} at the end" for label, bins in drawn
        ),
        Lines(Axis("optimizer step", "count", cut=True), Axis("step time", "seconds"), lines),
        notes=(
            f"median and {100 * LOW:g}-{100 * HIGH:g} % ribbon over the steps of a bin and all seeds"
            if ribbons
            else "median over the steps of a bin",
            *_left(len(timed)),
        ),
    )


def _left(found: int) -> list[str]:
    return [f"the {_MOST_LINES} fastest variants of {found}"] if found > _MOST_LINES else []


def _completed(results: Sequence[TrialResult]) -> list[TrialResult]:
    return [result for result in results if result.status == "completed"]


def _losses(report: Report, rows: Sequence[Row]) -> Chart | None:
    """Training loss by step where the steps are stored, else by epoch: seeds thin, their mean thick."""
    variants = report.variants()
    shown = [row for row in by_speed(rows) if row.completed]
    by_step = [line for row in shown[:_MOST_LINES] for line in _by_step(row, variants[row.variant])]
    by_epoch = [line for row in shown[:_MOST_LINES] for line in _by_epoch(row, variants[row.variant])]
    lines = by_step or by_epoch
    if not lines:
        return None
    thick = [line for line in lines if line.seed is None]
    return Chart(
        "loss",
        "Training loss",
        "; ".join(f"{line.label}: {line.samples[-1].y:.3g} at the end" for line in thick),
        Lines(
            Axis("optimizer step" if by_step else "epoch", "count", cut=True),
            Axis("training loss, nats", "number"),
            tuple(lines),
        ),
        notes=(
            "the median of the steps of a bin" if by_step else "the mean loss of each epoch",
            *(["thin: single seeds; thick: all of them"] if len(thick) < len(lines) else []),
            *_left(len(shown)),
        ),
    )


def _by_step(row: Row, results: Sequence[TrialResult]) -> Iterator[Line]:
    sound = [result for result in results if result.sound]
    for seed, chosen in [(None, sound), *((plain_seed(r.trial.seed), [r]) for r in sound if len(sound) > 1)]:
        if bins := step_bins(chosen, _LOSS, 1, _steps_of_a_loss(sound)):
            yield Line(row.label, tuple(Sample(each.step, each.median) for each in bins), seed)


def _steps_of_a_loss(results: Sequence[TrialResult]) -> int:
    """Return the number of steps that each stored loss is the mean of: long trainings store 2,000 losses."""
    for result in results:
        found = result.measurement(_LOSS)
        if found is not None and found.values and result.data is not None:
            return -(-expected_work(result.trial, result.data, 0).steps // len(found.values))
    return 1


def _by_epoch(row: Row, results: Sequence[TrialResult]) -> Iterator[Line]:
    sound = [result for result in results if result.sound and len(result.epochs) > 1]
    if not sound:
        return
    longest = max(len(result.epochs) for result in sound)
    means = (
        (at + 1, estimate(r.epochs[at].train_loss for r in sound if at < len(r.epochs)))
        for at in range(longest)
    )
    yield Line(row.label, tuple(Sample(epoch, found.mean) for epoch, found in means if found is not None))
    for result in sound if len(sound) > 1 else ():
        samples = tuple(Sample(epoch.epoch, epoch.train_loss) for epoch in result.epochs)
        yield Line(row.label, samples, plain_seed(result.trial.seed))


def _phases(report: Report, rows: Sequence[Row], note: tuple[str, ...]) -> Chart | None:
    """The seconds of a trial by phase; the rest, such as its start and the probes, is hatched."""
    variants = report.variants()
    found = [(row, _seconds(_completed(variants[row.variant]))) for row in rows if row.train_seconds]
    used = [name for name in (*_PHASES, _REST) if any(seconds[name] for _, seconds in found)]
    if len(used) < 2:
        return None
    bars = [Bar(row.label, tuple(seconds[name] for name in used)) for row, seconds in found]
    longest = max(bars, key=lambda bar: sum(bar.values))
    return Chart(
        "phases",
        "Where the time of a trial goes",
        f"{longest.label} takes the longest, {amount('train_seconds', sum(longest.values))} a trial",
        Bars(Axis("seconds of a trial", "seconds"), tuple(bars), tuple(used)),
        notes=(
            "means over the trials; hatched: the start of the process, and the measurement of the machine",
            *note,
        ),
    )


def _seconds(results: Sequence[TrialResult]) -> dict[str, float]:
    """Return the mean seconds of each phase, and of the rest of a trial."""
    found = {
        name: fmean(sum(result.value(metric) or 0.0 for metric in metrics) for result in results)
        for name, metrics in _PHASES.items()
    }
    whole = fmean(result.duration_s for result in results)
    return found | {_REST: max(whole - sum(found.values()), 0.0)}


def _memory(rows: Sequence[Row], note: tuple[str, ...]) -> Chart | None:
    """Peak memory of one kind: a device's and a host's are not comparable."""
    kinds = dict.fromkeys(row.peak_memory_of for row in rows if row.peak_memory_bytes is not None)
    if len(kinds) != 1:
        return None
    kind = next(iter(kinds))
    shown = [row for row in rows if row.peak_memory_bytes is not None]
    bars = tuple(Bar(row.label, (row.peak_memory_bytes or 0.0,), doubt(row)) for row in shown)
    most = max(bars, key=lambda bar: bar.values[0])
    return Chart(
        "memory",
        f"Peak {kind} memory",
        f"{most.label} needs the most {kind} memory, {amount('peak_memory_host_bytes', most.values[0])}",
        Bars(Axis(f"peak {kind} memory", "bytes"), bars, (f"{kind} memory",)),
        notes=(*_hollow(shown), *note),
        repeats=True,
    )


def _shares(report: Report, rows: Sequence[Row], note: tuple[str, ...]) -> Chart | None:
    found = rooflines(report)
    shares = [
        (row, share)
        for row in rows
        if row.variant in found and (share := found[row.variant].share) is not None
    ]
    if not shares:
        return None
    best, most = max(shares, key=lambda pair: pair[1])
    return Chart(
        "roofline",
        ROOFLINE,
        f"{best.label} reaches the largest share of the measured matrix products, {percent(most)}",
        Bars(
            Axis("share of the fastest matrix products measured here", "percent"),
            tuple(Bar(row.label, (share,), doubt(row)) for row, share in shares),
            ("share of peak",),
        ),
        notes=("real FLOPs only: padding counts as none", *_hollow([row for row, _ in shares]), *note),
        repeats=True,
    )
