"""The notes below a table: what a reader must know to read its rows, one sentence a line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from harness.analysis.comparison.matching import seed_option
from harness.analysis.compilation import break_even, recompiled
from harness.analysis.inputs import conflicting_inputs
from harness.analysis.observed import UNMOVED, did_not_move
from harness.analysis.probes import PROBE_BAND
from harness.analysis.rows import Failure, Row
from harness.analysis.training import failed_checks, training_proofs
from harness.data.corpus import DuplicateRows
from harness.data.remarks import data_remarks
from harness.model.assets import Data
from harness.model.metrics import METRICS
from harness.model.results import Report
from harness.model.status import Phase, StatusName
from harness.output.builders.remarks import farthest
from harness.output.numbers import difference, duration
from harness.words import count, one_line

MOST_FAILURES: Final = 20
MOST_VARIANTS: Final = 8
_MOST_WEIGHTS: Final = 3


def notes(report: Report, rows: Sequence[Row]) -> list[str]:
    """What a reader must know to read the table right, one sentence a line."""
    return [
        *report.notes,
        *_session(report),
        *_stand_ins(report),
        *_synthetic(report),
        *_limited(report),
        *_data(report),
        *_allowed_weights(report),
        *_mixed(report, rows),
        *_reference(report, rows),
        *_degenerate(rows),
        *_below_majority(rows),
        *_ranking(rows),
        *_unmoved(report, rows),
        *_failed_training(report, rows),
        *_unproved(report),
        *_conditions(rows),
        *_break_even(report, rows),
        *_failures(rows),
        *_noisy(rows),
        *_own_metrics(report),
        *_unmeasured(rows),
        *_spread(rows),
    ]


def _session(report: Report) -> Iterable[str]:
    if report.session is not None:
        yield (
            f"A/B session {report.session.id}: this is its {report.session.side}; its trials took turns with "
            "those of the other side, and `harness compare` pairs them"
        )


def _stand_ins(report: Report) -> Iterable[str]:
    replaced = {
        result.checkpoint.requested: result.checkpoint.name
        for result in report.results
        if result.checkpoint is not None and result.checkpoint.stand_in
    }
    if len(replaced) == 1:
        ((requested, name),) = replaced.items()
        yield f"stand-in: {name} was used in place of {requested}; its numbers are not those of {requested}"
    elif replaced:
        pairs = ", ".join(f"{name} in place of {requested}" for requested, name in replaced.items())
        yield f"stand-ins: {pairs}; their numbers are not those of the checkpoints they replace"


def _synthetic(report: Report) -> Iterable[str]:
    names = {
        (result.data.requested, result.data.name)
        for result in report.results
        if result.data is not None and result.data.synthetic
    }
    for requested, name in sorted(names):
        yield f"synthetic data: {name}, a generated corpus, was used in place of {requested}"


def _limited(report: Report) -> Iterable[str]:
    tasks = dict.fromkeys(result.trial.task for result in report.results)
    for name, limit in dict.fromkeys(
        (task.name, str(task.limit)) for task in tasks if task.limit is not None
    ):
        yield (
            f"limit: only the first rows of {name} in the order of its files: {limit}; scores are not "
            "those of the whole data set"
        )


def _data(report: Report) -> Iterable[str]:
    """Remarks on the data behind each result, each once."""
    return {
        f"data {data.name}: {remark}": None
        for data in (result.data for result in report.results)
        if data is not None
        for remark in data_remarks(data.published, _duplicates(data), data.train_examples, data.eval_examples)
    }


def _duplicates(data: Data) -> DuplicateRows:
    counted = data.duplicates
    if counted is None:
        return DuplicateRows(0, 0, 0)
    return DuplicateRows(counted.train, counted.evaluation, counted.leaked)


def _allowed_weights(report: Report) -> Iterable[str]:
    """Each checkpoint once whose weights do not fit its config and were accepted by the suite."""
    checkpoints = [result.checkpoint for result in report.results if result.checkpoint is not None]
    for name, weights in dict.fromkeys((one.name, one.allowed_weights) for one in checkpoints):
        if weights:
            shown = ", ".join(weights[:_MOST_WEIGHTS])
            more = f" and {len(weights) - _MOST_WEIGHTS:,} more" if len(weights) > _MOST_WEIGHTS else ""
            yield f"allowed weights: {name}: random or unused, as allow_weights accepts: {shown}{more}"


def _mixed(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        for found in row.mixed.values():
            yield f"mixed inputs: {row.label}: not averaged, its trials differ in {found}"
    for sentence in conflicting_inputs(report):
        yield f"different inputs: {sentence}"


def _reference(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    if not report.suite.reference:
        return
    if not any(row.against_reference for row in rows):
        yield "reference: no row is compared with it: only real data and checkpoints are"
    for row in rows:
        found = row.against_reference.items()
        if found:
            differences = ", ".join(
                f"{METRICS[metric].label} {difference(metric, value)}" for metric, value in found
            )
            yield f"against the reference, {row.label}: {differences}"


def _scores_of(row: Row) -> str:
    return "accuracy and F1" if row.trial.task.kind == "classification" else "its scores"


def _degenerate(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        if row.degenerate:
            which = f"{row.degenerate} of {count(row.completed, 'completed trial')}"
            were = "was" if row.degenerate == 1 else "were"
            yield (
                f"degenerate: {row.label}: {which} predicted {row.trial.task.collapsed} "
                f"and {were} left out of {_scores_of(row)}"
            )


def _below_majority(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        if row.below_majority:
            which = f"{row.below_majority} of {count(row.completed, 'completed trial')}"
            yield (
                f"below the majority class: {row.label}: {which} scored below what answering with the most "
                "frequent class scores: check the learning rate, the labels and the number of steps"
            )


def _ranking(rows: Sequence[Row]) -> Iterable[str]:
    """Return the evidence for the fastest variants, or why there is none."""
    if any(row.rank == "tied" for row in rows):
        yield "tied fastest: the trials do not tell these variants apart (paired t tests at 5 %, Holm)"
    timed = [row for row in rows if row.speed is not None and row.concurrent == 1]
    if len(timed) > 1 and all(len(row.seeds) == 1 for row in timed):
        yield (
            "one trial a variant: none is shown to be the fastest; add seeds to rank them: "
            f"{seed_option(range(3))}"
        )


def _unmoved(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        if row.unmoved:
            yield f"{UNMOVED}: {row.label}: {row.unmoved} of {count(row.completed, 'completed trial')}"
    names = {
        name: None
        for result in report.results
        if result.observed is not None and not did_not_move(result)
        for name in result.observed.unmoved
    }
    if names:
        yield f"parameters that did not change in some trial, as far as sampled: {', '.join(names)}"


def _failed_training(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    proofs = training_proofs(report)
    for row in rows:
        for check in failed_checks(proofs[row.variant]) if row.variant in proofs else ():
            yield f"training of {row.label}: {check.name}: {check.found}"


def _unproved(report: Report) -> Iterable[str]:
    left = {
        text: None
        for proof in report.training_proofs
        if proof.training is not None
        for text in proof.training.unproved
    }
    if left:
        yield f"not proved of training: {'; '.join(left)}"


def _conditions(rows: Sequence[Row]) -> Iterable[str]:
    strategies = {row.trial.padding.strategy for row in rows}
    for strategy in sorted(strategies & {"bucketed", "group_by_length", "batch_rebalance"}):
        if len(strategies) > 1:
            yield (
                f"{strategy} batches rows of similar length: another order of training than the other "
                "strategies'"
            )
    if "batch_rebalance" in strategies:
        yield "batch_rebalance trains in one order for all seeds, since Trainer passes its sampler no seed"
    if len({row.trial.adapter.kind for row in rows}) > 1:
        yield "an adapter trains a small part of the parameters: another training than that of all of them"
    if any(row.trial.world_size > 1 for row in rows):
        yield _global_batches(rows)


def _global_batches(rows: Sequence[Row]) -> str:
    """Return the examples of an optimizer step, over all devices of a trial."""
    by_size: dict[int, list[str]] = {}
    for row in rows:
        by_size.setdefault(row.trial.global_batch_size, []).append(row.label)
    if len(by_size) == 1:
        return f"global batch: {count(next(iter(by_size)), 'example')} a step over all devices of a trial"
    sizes = "; ".join(f"{size} in {', '.join(labels)}" for size, labels in sorted(by_size.items()))
    return f"global batches differ, which is another training condition: {sizes}"


def _break_even(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    """For each compiled row the steps that repay its compilation, by medians of steps."""
    for found in break_even(report, rows):
        spent = duration(found.compile_seconds)
        steps = f"{duration(found.step_seconds)} a step instead of {duration(found.eager_seconds)} eagerly"
        repaid = "never repaid" if found.steps is None else f"repaid after {count(found.steps, 'step')}"
        doubt = "; noisy, so that another run may differ" if found.noisy else ""
        yield f"break-even of {found.row.label}: {spent} of compilation {repaid}: {steps}{doubt}"
    by_variant = recompiled(report, rows)
    for row in rows:
        if graphs := by_variant.get(row.variant):
            yield (
                f"recompiled: {row.label}: {count(graphs, 'graph')} compiled during the timed steps of a "
                "trial: its rates and train time include them"
            )


def _failures(rows: Sequence[Row]) -> Iterable[str]:
    """Each reason once, with the variants that share it."""
    by_reason: dict[tuple[StatusName, Phase, str], list[tuple[Row, Failure]]] = {}
    for row in rows:
        for failure in row.failures:
            by_reason.setdefault((failure.status, failure.phase, failure.reason), []).append((row, failure))
    for (status, phase, reason), failed in list(by_reason.items())[:MOST_FAILURES]:
        happened = status if status == "pending" else f"{status} in {phase.replace('_', ' ')}"
        yield f"{_where(failed, len(rows))}: {happened}: {one_line(reason)}"
    left = sum(map(len, list(by_reason.values())[MOST_FAILURES:]))
    if left:
        yield f"and {left:,} more that did not complete; `--format json` has every one"


def _where(failed: Sequence[tuple[Row, Failure]], variants: int) -> str:
    """`static, seed 0; dynamic, seeds 0, 1`, the first few of many; `every variant` for all their seeds."""
    if len(failed) == variants > 1 and all(failure.seeds == row.seeds for row, failure in failed):
        return "every variant"
    places = [
        f"{row.label}, seed{'' if len(failure.seeds) == 1 else 's'} {', '.join(map(str, failure.seeds))}"
        for row, failure in failed
    ]
    more = [f"{len(places) - MOST_VARIANTS:,} more variants"] if len(places) > MOST_VARIANTS else []
    return "; ".join([*places[:MOST_VARIANTS], *more])


def _noisy(rows: Sequence[Row]) -> Iterable[str]:
    """One line for each row with noisy trials: the farthest reading of the probe, and under which load."""
    for row in rows:
        if not row.noisy:
            continue
        seed, found = farthest(row)
        load = "" if found.load_average is None else f", load average {found.load_average:.1f}"
        others = count(len(row.noisy) - 1, "seed")
        others_too = "" if len(row.noisy) == 1 else f"; {others} more, not as far"
        yield (
            f"noisy: {row.label}, seed {seed}: {found.kind} {found.moment} its steps at {found.factor:.2f} "
            f"of this run's median (limit ±{100 * PROBE_BAND:g} %){load}{others_too}"
        )


def _own_metrics(report: Report) -> Iterable[str]:
    """The file behind each of the user's metrics, and each reason why a trial has no score."""
    for found in report.own_metrics:
        better = "higher" if found.goal == "max" else "lower"
        yield f"own metric {found.label}: {found.version}, from the stored logits; {better} is better"
        reasons = [score.reason for score in found.scores.values() if score.reason is not None]
        for reason in dict.fromkeys(reasons):
            which = count(reasons.count(reason), "trial")
            yield f"own metric {found.label} not measured in {which}: {one_line(reason)}"


def _unmeasured(rows: Sequence[Row]) -> Iterable[str]:
    """Return each reason once, with its rows unless it applies to all."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for metric, reason in row.unmeasured.items():
            by_reason.setdefault((metric, reason), []).append(row.label)
    completed = sum(row.completed > 0 for row in rows)
    for (metric, reason), labels in by_reason.items():
        where = "" if len(labels) == completed else f" ({', '.join(labels)})"
        yield f"{METRICS[metric].label} not measured{where}: {reason}"


def _spread(rows: Sequence[Row]) -> Iterable[str]:
    if any(found.spread is not None for row in rows for found in row.quality.values()):
        yield (
            "± is the sample standard deviation over seeds; rates and times are medians over them, with the "
            "range of rates in brackets"
        )
    if any(row.tokenizing is not None for row in rows):
        yield "time and rates are medians over passes and seeds; both splits are tokenised"
        yield "added memory: the most any first pass needed beyond the memory in use, its processes together"
