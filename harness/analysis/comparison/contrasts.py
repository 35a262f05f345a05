"""Contrasts: one metric of one aligned variant, measured on both sides, before its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Final

import numpy as np

from harness.analysis.checks.contradiction import Contradiction
from harness.analysis.comparison.conditions import CONDITIONS, STORED_VALUE, concerns
from harness.analysis.comparison.gathered import Evidence
from harness.analysis.comparison.shared_training import shared_training
from harness.analysis.comparison.terms import Terms, varies_between_runs
from harness.analysis.over_time.evidence import SeedEvidence, run_evidence, seed_evidence
from harness.analysis.probes import machine_changed, probe_band
from harness.analysis.stats.quality_tests import Drawn, compare_drawn
from harness.analysis.stats.ratios import Separate, compare_trials
from harness.analysis.stats.resampling import Case
from harness.analysis.stats.scoring import SCORINGS, Numbers, are_summable
from harness.analysis.stats.sheets import PairedSheets, Sheet, scores_of
from harness.analysis.stats.tests import Effect
from harness.model.looks import Verdict
from harness.model.metrics import METRICS, OWN, Goal, is_own, metric_named, score_and_split
from harness.model.quality import OwnScore, OwnScores
from harness.model.results import TrialResult

# Ratios are formed between this and its inverse only: nothing measured lies outside.
_SMALLEST: Final = 1e-30
# With no value more common than every other one, a resample of so many is never constant.
_LEAST_TO_CORRELATE: Final = 50


@dataclass(frozen=True, slots=True)
class Contrast:
    """The measurement of one metric of one pair.

    `settled` is a verdict that needs no statistics. `case` is a score that is still to be tested, since a
    whole table is tested faster in one call.
    """

    metric: str
    settled: Verdict | None = None
    case: Case | None = None
    effect: Effect | None = None
    before: float | None = None
    after: float | None = None
    goal: Goal | None = None
    across_devices: bool = False
    mismatches: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def direction(self) -> Goal:
        """The direction that is better; `goal` is that of a user's metric."""
        return self.goal or metric_named(self.metric).goal


def contrast(evidence: Evidence, metric: str, terms: Terms) -> Contrast:
    """Measure one metric on both sides, unless a condition forbids it."""
    matched = evidence.match_for(metric)
    if matched.settled is not None:
        return Contrast(metric, settled=matched.settled)
    meaning = metric_named(metric)
    found = _stored_mismatch(evidence.contradictions, metric)
    found |= {
        name: texts
        for name, texts in (matched.mismatches or {}).items()
        if concerns(CONDITIONS[name].affects, on_machine=meaning.depends_on_machine)
    }
    names = tuple(found)
    blocking = [name for name in names if name not in terms.allowed]
    across = "device" in names
    if blocking and blocking != ["device"]:
        notes = tuple(_sentence(name, found[name]) for name in blocking)
        return Contrast(metric, "not comparable", across_devices=across, mismatches=names, notes=notes)
    if terms.one_run and _of_training(metric) and (shared := shared_training(evidence.pair, matched)):
        before, after = _means(evidence, metric)
        verdict, note = shared
        return Contrast(metric, verdict, before=before, after=after, mismatches=names, notes=(note,))
    if is_own(metric):
        measured = _own(evidence, metric)
    elif meaning.family == "quality":
        measured = _quality(evidence.on(score_and_split(metric)[1]), metric)
    else:
        measured = _trials(evidence, metric, terms)
    measured = replace(measured, across_devices=across, mismatches=names)
    return _only_labelled(measured) if blocking else measured


def _scores(sheets: Sequence[Sheet | None], metric: str) -> list[float | None]:
    known = iter(scores_of([sheet for sheet in sheets if sheet is not None], metric))
    return [None if sheet is None else next(known) for sheet in sheets]


def _of_training(metric: str) -> bool:
    """Return whether a training gives the metric, also to the trials that share it."""
    return metric_named(metric).family == "quality" or metric in ("train_loss", "train_step_loss")


def _means(evidence: Evidence, metric: str) -> tuple[float | None, float | None]:
    """Return the mean of each side, None for one with a trial that was not measured."""
    if is_own(metric):
        found = _own(evidence, metric)
        return found.before, found.after
    before, after = (_values(side, metric) for side in (evidence.match.before, evidence.match.after))
    return (
        None if isinstance(before, str) else fmean(before),
        None if isinstance(after, str) else fmean(after),
    )


def _sentence(name: str, texts: tuple[str, str]) -> str:
    meaning = CONDITIONS[name].meaning if name in CONDITIONS else "stored values that contradict each other"
    return f"{meaning}: {texts[0]} against {texts[1]}"


def _only_labelled(measured: Contrast) -> Contrast:
    """Return a ratio across devices without a verdict: the numbers remain, untested."""
    if measured.effect is None:
        return measured
    effect = replace(measured.effect, components=None, test=None, identical=False)
    notes = (*measured.notes, "another device: a ratio, not a verdict, unless `--speed-across-devices`")
    return replace(measured, settled="not comparable", effect=effect, notes=notes)


def _stored_mismatch(found: Sequence[Contradiction], metric: str) -> dict[str, tuple[str, str]]:
    """Return the first contradiction between a stored value of this metric and others, by condition."""
    texts = next(((each.stored, each.implied) for each in found if metric in each.metrics), None)
    return {} if texts is None else {STORED_VALUE: texts}


def _quality(evidence: Evidence, metric: str) -> Contrast:
    """Return the case of a score, whose evidence is that of its evaluation split."""
    score, split = score_and_split(metric)
    paired = evidence.paired
    if paired is None:
        why = "predictions were not kept: nothing to pair"
        kept = any(
            result.predictions is not None for result in (*evidence.match.before, *evidence.match.after)
        )
        if split is not None and kept:
            why = f"not every trial was evaluated on the split {split}"
        return Contrast(metric, "missing", notes=(why,))
    if isinstance(paired, str):
        return Contrast(metric, "not comparable", notes=(paired,))
    kind = "regression" if paired.before[0].regression else "classification"
    if METRICS[score].of != kind:
        return Contrast(metric, "missing", notes=(f"{score} is no score of a {kind}",))
    before, after = (
        np.stack([sheet.column(score) for sheet in side]) for side in (paired.before, paired.after)
    )
    if not (are_summable(before) and are_summable(after)):
        why = f"the logits are too large for {METRICS[score].label}"
        return Contrast(metric, "not comparable", notes=(why,))
    scored = _scores(evidence.sheets, score)
    if (reason := _not_resampled(score, paired.labels, before, after)) is not None:
        known = [each for each in scored if each is not None and not paired.left_out]
        sides = (known[: len(paired.before)], known[len(paired.before) :])
        first, second = (fmean(side) if side else None for side in sides)
        return Contrast(metric, "not comparable", before=first, after=second, notes=(reason,))
    if paired.left_out:
        scored = [sheet.score(score) for sheet in (*paired.before, *paired.after)]
    values = [each for each in scored if each is not None]
    left_out = f"{paired.left_out} examples that not every trial has were left out"
    earlier = _seeds(evidence, paired, metric)
    case = Case(
        score,
        paired.labels,
        before,
        after,
        paired=evidence.match.paired,
        earlier=earlier.columns,
        earlier_freedom=earlier.freedom,
    )
    return Contrast(
        metric,
        case=case,
        before=fmean(values[: len(paired.before)]),
        after=fmean(values[len(paired.before) :]),
        notes=(*((left_out,) if paired.left_out else ()), *earlier.notes),
    )


def _own(evidence: Evidence, metric: str) -> Contrast:
    """Measure a user's metric by the scores in the reports, which were resampled when they were computed."""
    label, pair, matched = metric.removeprefix(OWN), evidence.pair, evidence.match
    stored = [
        None if side is None else next((own for own in side.report.own_metrics if own.label == label), None)
        for side in (pair.before, pair.after)
    ]
    before, after = stored
    if before is None or after is None:
        lacking = ["the baseline", pair.candidate]
        names = " and ".join(name for name, own in zip(lacking, stored, strict=True) if own is None)
        return Contrast(metric, "missing", notes=(f"no scores by the metric {label} in {names}",))
    if (before.version, before.goal) != (after.version, after.goal):
        files = " against ".join(f"{own.version}, goal {own.goal}" for own in (before, after))
        return Contrast(metric, "not comparable", notes=(f"another metric: {files}",))
    sides = []
    for name, own, results in (
        ("the baseline", before, matched.before),
        (pair.candidate, after, matched.after),
    ):
        found = _own_scores(own, results)
        if isinstance(found, str):
            return Contrast(metric, "missing", notes=(f"{label} was not measured in {name}: {found}",))
        sides.append(found)
    return _own_contrast(evidence, metric, sides, before.goal)


def _own_scores(own: OwnScores, results: Sequence[TrialResult]) -> list[OwnScore] | str:
    """Return the score of each trial, or why a trial has none."""
    found = []
    for result in results:
        score = own.scores.get(result.trial.id)
        if score is None or score.value is None:
            return (score.reason if score is not None else None) or "the report lacks it"
        found.append(score)
    return found


def _own_contrast(
    evidence: Evidence, metric: str, sides: Sequence[Sequence[OwnScore]], goal: Goal
) -> Contrast:
    paired = evidence.paired
    if paired is None or isinstance(paired, str) or paired.left_out:
        why = paired if isinstance(paired, str) else "the sides were not scored on the same examples"
        return Contrast(metric, "not comparable", notes=(why,), goal=goal)
    values = [np.asarray([score.value for score in side], dtype=np.float64) for side in sides]
    first, second = (float(each.mean()) for each in values)
    columns = [np.stack([sheet.predicted for sheet in side]) for side in (paired.before, paired.after)]
    every = [score for side in sides for score in side]
    if np.array_equal(columns[0], columns[1]) and np.array_equal(values[0], values[1]):
        effect = Effect(0.0, trials=len(sides[0]), identical=True, reason="the predictions agree")
    elif len({len(score.resampled) for score in every}) > 1 or not every[0].resampled:
        unresampled = (score.unresampled for score in every if score.unresampled is not None)
        why = next(unresampled, "the report has no scores on resamples of the examples")
        effect = Effect(second - first, center=second - first, trials=min(map(len, sides)))
        effect = replace(effect, reason=f"the error over examples is unknown: {why}")
    else:
        before, after = (
            Drawn(value, np.asarray([score.resampled for score in side], dtype=np.float64))
            for value, side in zip(values, sides, strict=True)
        )
        effect = compare_drawn(before, after, paired.labels.size, paired=evidence.match.paired)
    return Contrast(metric, effect=effect, before=first, after=second, goal=goal)


def _not_resampled(metric: str, labels: Numbers, before: Numbers, after: Numbers) -> str | None:
    """Return why resampling examples gives no error of a correlation, or None."""
    if not METRICS[metric].correlates:
        return None
    if not SCORINGS[metric].resamples:
        return (
            f"no verdict on {METRICS[metric].label}: ranks depend on all examples together, so that no sum "
            "over resampled ones gives it; compare eval_pearson or eval_mse"
        )
    if labels.size < _LEAST_TO_CORRELATE:
        return f"{labels.size} examples: an error of a correlation needs {_LEAST_TO_CORRELATE} or more"
    common = max(int(np.unique(each, return_counts=True)[1].max()) for each in (labels, *before, *after))
    if 2 * common > labels.size:
        return f"one value for {common} of {labels.size} examples: a resample may have no correlation"
    return None


def _seeds(evidence: Evidence, paired: PairedSheets, metric: str) -> SeedEvidence:
    """Return the earlier seeds for the variance over seeds; empty if the sides are paired over several."""
    matched = evidence.match
    if not evidence.earlier.asked or (matched.paired and len(matched.before) > 1):
        return SeedEvidence()
    several = [side for side in (matched.before, matched.after) if len(side) > 1]
    taken = [result.trial.seed for side in several for result in side]
    return seed_evidence(evidence.earlier.scored, paired, metric, taken)


def _trials(evidence: Evidence, metric: str, terms: Terms) -> Contrast:
    matched = evidence.match_for(metric)
    before, after = (_values(side, metric) for side in (matched.before, matched.after))
    for name, values in (("the baseline", before), (evidence.pair.candidate, after)):
        if isinstance(values, str):
            return Contrast(metric, "missing", notes=(f"{metric} was not measured in {name}: {values}",))
    assert not isinstance(before, str)
    assert not isinstance(after, str)
    if min(*before, *after) <= _SMALLEST or max(*before, *after) >= 1 / _SMALLEST:
        why = f"values from {min(*before, *after):g} to {max(*before, *after):g}: no ratio can be formed"
        return Contrast(metric, "not comparable", before=median(before), after=median(after), notes=(why,))
    separate, notes = _separate(evidence, metric, terms)
    effect = compare_trials(
        before, after, paired=terms.interleaved, band=terms.noise.get(metric), separate=separate
    )
    return Contrast(metric, effect=effect, before=median(before), after=median(after), notes=notes)


def _separate(evidence: Evidence, metric: str, terms: Terms) -> tuple[Separate | None, tuple[str, ...]]:
    """Return the variance between the two sides' runs, None if they took turns, and notes on the evidence.

    The variance between runs comes from the history or from the calibration, whichever has more runs.
    """
    matched, known = evidence.match_for(metric), terms.run_variance.get(metric)
    if not varies_between_runs(metric):
        return None, ()
    if terms.one_run:
        doubt = None if terms.turns is None else terms.turns.doubt(matched.before, matched.after)
        return None if doubt is None else Separate(changed=doubt), ()
    changed = machine_changed(matched.before, matched.after, probe_band(terms.noise.get(metric)))
    if changed is not None or not evidence.earlier.asked:
        return Separate(known, changed), ()
    earlier = run_evidence(evidence.earlier.timed, metric)
    if known is not None and (earlier.variance is None or earlier.variance.runs < known.runs):
        return Separate(known), (f"variance between runs from the calibration of {known.runs} states",)
    return Separate(earlier.variance), earlier.notes


def _values(results: Sequence[TrialResult], metric: str) -> list[float] | str:
    """Return one number per trial, or why a trial has none."""
    values = []
    for result in results:
        value = result.value(metric)
        if value is None:
            found = result.measurement(metric)
            return (found.reason if found is not None else None) or "the report lacks it"
        values.append(value)
    return values
