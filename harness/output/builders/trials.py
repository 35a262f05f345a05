"""What programs read of a report: its trials as cases and as records, its variants as benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from statistics import fmean

from harness.analysis.assets_used import is_stand_in, is_synthetic
from harness.analysis.naming import axes
from harness.analysis.parity import verdicts
from harness.analysis.rows import Row
from harness.analysis.summary import quantile
from harness.analysis.training_verdicts import training_verdicts
from harness.model.metrics import METRICS, metric_named
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed
from harness.model.status import STATUSES
from harness.model.tasks import further_scores, quality_headlines
from harness.output.builders.report_parts.remarks import row_doubts
from harness.output.document import Benchmark, Case, Each, Machine, Value
from harness.output.progress import describe_result, trial_names


def trial_cases(report: Report, results: Sequence[TrialResult]) -> Iterable[Case]:
    """One case for each of these trials of a report.

    A degenerate trial failed; what could not or did not yet run is skipped.
    """
    names = cache(lambda: trial_names(result.trial for result in report.results))

    def case(result: TrialResult) -> Case:
        return Case(
            name=names()[result.trial.id],
            classname=f"harness.{report.suite.name}",
            status="failed" if result.degenerate else STATUSES[result.status].junit,
            message=describe_result(result),
            details=result.log_tail,
            seconds=result.duration_s,
        )

    return Each(case, results)


def trial_records(report: Report, results: Sequence[TrialResult]) -> Iterable[dict[str, Value]]:
    """Return each of these trials as a line of CSV: raw numbers in base units, None where not measured.

    The verdicts of the proofs are those of the variant. `window_steps` is given where times are those of a
    window. `trained` is the trial whose training gave the scores, if another: they are not a second sample.
    """
    functions, trainings = cache(lambda: verdicts(report)), cache(lambda: training_verdicts(report))

    def record(result: TrialResult) -> dict[str, Value]:
        variant = result.trial.variant_id
        return _trial_record(
            report, result, {"parity": functions()[variant], "training": trainings()[variant]}
        )

    return Each(record, results)


def _trial_record(report: Report, result: TrialResult, proofs: Mapping[str, str]) -> dict[str, Value]:
    steps, apart = result.measurement("train_step_seconds"), result.apart
    return {
        "suite": report.suite.name,
        "run": report.run,
        "trial": result.trial.id,
        "variant": result.trial.variant_id,
        **axes(result.trial),
        "seed": plain_seed(result.trial.seed),
        "status": result.status,
        "phase": result.phase,
        "reason": result.reason or "",
        "degenerate": result.degenerate,
        "stand_in": is_stand_in(result),
        "synthetic_data": is_synthetic(result),
        **proofs,
        "concurrent": result.concurrent,
        "window_steps": None if apart is None else apart.steps,
        "trained": "" if apart is None else apart.trained or "",
        "attempts": result.attempts,
        "started": result.started.isoformat(),
        "duration_s": result.duration_s,
        **{metric: result.value(metric) for metric in METRICS},
        **{metric: result.value(metric) for metric in further_scores(report.suite.tasks)},
        "train_step_seconds_p95": quantile(sorted(steps.values), 0.95) if steps and steps.values else None,
    }


def benchmarks(report: Report, rows: Sequence[Row]) -> Iterable[Benchmark]:
    """One benchmark a variant; a variant whose trials have different inputs is left out."""
    variants = report.variants()

    def benchmark(row: Row) -> Benchmark:
        results = [result for result in variants[row.variant] if result.status == "completed"]
        timed = "train_step_seconds" if row.trial.tokenization is None else "tokenize_seconds"
        found = [result.measurement(timed) for result in results]
        marks = row_doubts(row) if row.apart is None else ("window", *row_doubts(row))
        return Benchmark(
            name=f"{report.suite.name}/{row.label}",
            marks=marks,
            timed=timed,
            seconds=tuple(second for one in found if one is not None for second in one.values),
            params=axes(row.trial),
            extra=_extra(row),
            measures=dict(_measures(results)),
        )

    return Each(benchmark, [row for row in rows if not row.mixed])


def machine_of(report: Report) -> Machine:
    """The machine and the code of a run."""
    where = report.environment
    return Machine(
        processor=where.cpu.model,
        architecture=where.cpu.architecture,
        logical_cores=where.cpu.logical_cores,
        python=where.python,
        system=where.system,
        commit=where.git.commit if where.git else None,
        dirty=where.git is not None and where.git.dirty,
        measured=report.created,
        warmup_steps=report.suite.measure.warmup_steps,
    )


def _extra(row: Row) -> dict[str, object]:
    return {
        "seeds": list(map(plain_seed, row.seeds)),
        **{
            metric: found.mean if (found := row.quality.get(metric)) else None
            for metric in quality_headlines([row.trial.task])
        },
        "train_real_tokens_per_second": row.real_tokens_per_second,
        **({"tokenize_tokens_per_second": row.speed} if row.tokenizing else {}),
        "degenerate": row.degenerate,
        "stand_in": row.stand_in is not None,
        "synthetic_data": row.synthetic,
        "concurrent": row.concurrent,
        "parity": row.parity,
        "training": row.training,
        "window_steps": None if row.apart is None else row.apart.steps,
        "trained": list(row.trained),
    }


def plain_seed(seed: Seed) -> int | str:
    """Return a seed with roles as text, any other as its number."""
    return seed if isinstance(seed, int) else str(seed)


def _measures(results: Sequence[TrialResult]) -> Iterator[tuple[str, tuple[float, float, float]]]:
    """Mean over seeds, smallest and largest by metric; quality leaves degenerate trials out."""
    for metric in (*METRICS, *further_scores(result.trial.task for result in results[:1])):
        scored = metric_named(metric).family == "quality"
        counted = [result for result in results if result.sound or not scored]
        found = [value for result in counted if (value := result.value(metric)) is not None]
        if found:
            yield metric, (fmean(found), min(found), max(found))
