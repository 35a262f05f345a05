"""The notes below a table: what a reader must know to read its rows, one sentence a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.analysis.assets_used import stand_ins_of
from harness.analysis.checks.inputs import conflicting_inputs
from harness.analysis.checks.look_record import look_contradictions
from harness.analysis.checks.observed import UNMOVED, did_not_move
from harness.analysis.checks.verification import proof_contradictions, verified
from harness.analysis.comparison.matching import seed_option
from harness.analysis.compilation import break_even, recompiled
from harness.analysis.gates.rules import seeds_text
from harness.analysis.leading import leaders
from harness.analysis.probes import PROBE_BAND
from harness.analysis.rows import Row
from harness.analysis.training_verdicts import failed_checks, training_proofs
from harness.model.metrics import metric_named
from harness.model.results import Report
from harness.output.builders.report_parts.asset_notes import asset_notes
from harness.output.builders.report_parts.oddities import failure_notes, first_of
from harness.output.builders.report_parts.remarks import farthest
from harness.output.numbers import difference, duration
from harness.words import count, one_line


def notes(report: Report, rows: Sequence[Row]) -> list[str]:
    """What a reader must know to read the table right, one sentence a line."""
    return [
        *_recorded(report),
        *_session(report),
        *_earlier_proofs(report),
        *asset_notes(report),
        *_mixed(report, rows),
        *_reference(report, rows),
        *_degenerate(rows),
        *_below_majority(rows),
        *_ranking(report, rows),
        *_apart(rows),
        *_unmoved(report, rows),
        *_failed_training(report, rows),
        *_unproved(report),
        *_conditions(rows),
        *_break_even(report, rows),
        *failure_notes(rows),
        *_noisy(rows),
        *_held_back(rows),
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


def _earlier_proofs(report: Report) -> Iterable[str]:
    proofs = (*report.proofs, *report.training_proofs)
    if earlier := [proof.started for proof in proofs if proof.reused]:
        yield (
            f"{len(earlier)} of {count(len(proofs), 'proof')} are of earlier runs, from "
            f"{min(earlier):%Y-%m-%d} on: same code, libraries, inputs and machine"
        )


def _by_text(found: Iterable[tuple[Row, str]], rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield each text once, after the names of its variants: the first few of many, or `every variant`."""
    by_text: dict[str, dict[str, None]] = {}
    for row, text in found:
        by_text.setdefault(text, {})[row.label] = None
    for text, labels in by_text.items():
        yield "every variant" if len(labels) == len(rows) > 1 else first_of(list(labels), ", "), text


def _recorded(report: Report) -> Iterable[str]:
    """Return the notes of the run, without those on stand-ins, for which one line follows."""
    replaced = tuple(
        f"checkpoint {name}: stand-in {by}," for name, by in stand_ins_of(report.results).items()
    )
    return (note for note in report.notes if not note.startswith(replaced))


def contradictory(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    """Name the variants and proofs with stored numbers that contradict each other, and the first of these."""
    first: dict[str, str] = {}
    every = verified(report.results, report.suite.measure.warmup_steps)
    for result, found in zip(report.results, every, strict=True):
        if found:
            first.setdefault(result.trial.variant_id, f"seed {result.trial.seed}: {found[0]}")
    texts = ((row, first[row.variant]) for row in rows if row.variant in first)
    for names, text in _by_text(texts, rows):
        yield f"stored numbers contradict each other: {names}: {text}; `harness check` lists all"
    for proof in (*report.proofs, *report.training_proofs):
        if wrong := proof_contradictions(proof):
            yield f"stored numbers contradict each other: proof {proof.trial.id}: {wrong[0]}"
    for each in () if report.looks is None else look_contradictions(report.looks):
        yield f"stored numbers contradict each other: {each}"


def _mixed(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    mixed = ((row, found) for row in rows for found in row.mixed.values())
    for names, found in _by_text(mixed, rows):
        yield f"mixed inputs: {names}: not averaged, its trials differ in {found}"
    for sentence in conflicting_inputs(report):
        yield f"different inputs: {sentence}"


def _reference(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    if not report.suite.reference:
        return
    if not any(row.against_reference for row in rows):
        yield "reference: no row is compared with it: only real data and checkpoints are"
    found = (
        (
            row,
            ", ".join(
                f"{metric_named(metric).label} {difference(metric, value)}"
                for metric, value in row.against_reference.items()
            ),
        )
        for row in rows
        if row.against_reference
    )
    for names, differences in _by_text(found, rows):
        yield f"against the reference, {names}: {differences}"


def _scores_of(row: Row) -> str:
    return "accuracy and F1" if row.trial.task.kind == "classification" else "its scores"


def _degenerate(rows: Sequence[Row]) -> Iterable[str]:
    found = (
        (
            row,
            f"{row.degenerate} of {count(row.completed, 'completed trial')} predicted "
            f"{row.trial.task.collapsed} and {'was' if row.degenerate == 1 else 'were'} left out of "
            f"{_scores_of(row)}",
        )
        for row in rows
        if row.degenerate
    )
    for names, text in _by_text(found, rows):
        yield f"degenerate: {names}: {text}"


def _below_majority(rows: Sequence[Row]) -> Iterable[str]:
    found = (
        (row, f"{row.below_majority} of {count(row.completed, 'completed trial')}")
        for row in rows
        if row.below_majority
    )
    for names, which in _by_text(found, rows):
        yield (
            f"below the majority class: {names}: {which} scored below what answering with the most "
            "frequent class scores: check the learning rate, the labels and the number of steps"
        )


def _ranking(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    """Return the evidence for the fastest variants, or why there is none."""
    doubts = dict.fromkeys(each.doubt for each in leaders(report, rows) if each.doubt is not None)
    yield from (f"speeds not tested: {doubt}" for doubt in doubts)
    if any(row.rank == "tied" for row in rows):
        yield "tied fastest: the trials do not tell these variants apart (paired t tests at 5 %, Holm)"
    timed = [row for row in rows if row.speed is not None and row.concurrent == 1]
    if len(timed) > 1 and all(len(row.seeds) == 1 for row in timed):
        yield (
            "one trial a variant: none is shown to be the fastest; add seeds to rank them: "
            f"{seed_option(range(3))}"
        )


def _apart(rows: Sequence[Row]) -> Iterable[str]:
    if found := [row.apart for row in rows if row.apart is not None]:
        steps = sorted({each.steps for each in found})
        several = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
        at_once = max(each.jobs for each in found)
        yield (
            f"speed of a window: rates and step times are those of {several} steps of each trial, timed "
            "while no other trial ran; scores, losses and peaks of memory are those of whole trainings, "
            f"{at_once} at once"
        )
    for row in rows:
        for name, seeds in row.trained.items():
            part = "" if len(seeds) == row.completed else f" with {seeds_text(seeds)}"
            yield (
                f"shared quality: {row.label} did not train{part}: its scores are those of {name}, with the "
                "same batches and, by the proofs, the same function; its peak of memory is that of its window"
            )


def _unmoved(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    still = (
        (row, f"{row.unmoved} of {count(row.completed, 'completed trial')}") for row in rows if row.unmoved
    )
    for variants, which in _by_text(still, rows):
        yield f"{UNMOVED}: {variants}: {which}"
    names = {
        name: None
        for result in report.results
        if result.observed is not None and not did_not_move(result)
        for name in result.observed.unmoved
    }
    if names:
        yield f"parameters that did not change in some trial, as far as sampled: {', '.join(names)}"


def _failed_training(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    proofs = training_proofs(report) if any(row.fails_training for row in rows) else {}
    failed = (
        (row, f"{check.name}: {check.found}")
        for row in rows
        if row.variant in proofs
        for check in failed_checks(proofs[row.variant])
    )
    for names, found in _by_text(failed, rows):
        yield f"training of {names}: {found}"


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
    graphs = recompiled(report, rows)
    compiled = ((row, count(graphs[row.variant], "graph")) for row in rows if graphs.get(row.variant))
    for names, which in _by_text(compiled, rows):
        yield (
            f"recompiled: {names}: {which} compiled during the timed steps of a trial: its rates and train "
            "time include them"
        )


def _noisy(rows: Sequence[Row]) -> Iterable[str]:
    """One line for all noisy trials: the farthest reading of the probe of each row, and under which load."""
    found = [_reading(row) for row in rows if row.noisy]
    if found:
        yield f"noisy (beyond ±{100 * PROBE_BAND:g} % of this run's median): {first_of(found, '; ')}"


def _reading(row: Row) -> str:
    seed, found = farthest(row)
    load = "" if found.load_average is None else f", load average {found.load_average:.1f}"
    others = f", {count(len(row.noisy) - 1, 'more seed')} not as far" if len(row.noisy) > 1 else ""
    return (
        f"{row.label}, seed {seed}: {found.kind} {found.moment} its steps at {found.factor:.2f}{load}{others}"
    )


def _held_back(rows: Sequence[Row]) -> Iterable[str]:
    """Return one line for each set of causes that lowered the clocks of a device, or shared it."""
    found: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        for seed, causes in row.held_back.items():
            found.setdefault(causes, []).append(f"{row.label}, seed {seed}")
    for causes, trials in found.items():
        yield f"device held back: {first_of(trials, '; ')}: {', '.join(causes)}"


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
    """Return each reason once, with its metrics and its rows, or their seeds, unless it applies to all."""
    places: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for cause, seeds in row.unmeasured.items():
            part = "" if len(seeds) == row.completed else f", {seeds_text(seeds)}"
            places.setdefault(cause, []).append(row.label + part)
    every = [row.label for row in rows if row.completed]
    metrics: dict[tuple[str, str], list[str]] = {}
    for (metric, reason), found in places.items():
        where = "" if found == every else f" ({first_of(found, '; ')})"
        metrics.setdefault((where, reason), []).append(metric_named(metric).label)
    for (where, reason), names in metrics.items():
        yield f"{', '.join(names)} not measured{where}: {reason}"


def _spread(rows: Sequence[Row]) -> Iterable[str]:
    if any(found.spread is not None for row in rows for found in row.quality.values()):
        yield (
            "± is the sample standard deviation over seeds; rates and times are medians over them, with the "
            "range of rates in brackets"
        )
    if any(row.tokenizing is not None for row in rows):
        yield "time and rates are medians over passes and seeds; both splits are tokenised"
        yield "added memory: the most any first pass needed beyond the memory in use, its processes together"
