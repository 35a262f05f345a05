"""Verification: find stored numbers of a trial that contradict the raw numbers stored with them.

A digest detects accidental changes of a file, but anyone who can write the file can also update the digest.
So every derived number is recomputed, for `show`, `check`, `compare` and `rescore`. That includes the
steps, examples and tokens that a trial's settings and its data imply.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, get_args

from harness.analysis.checks.asset_labels import mislabelled
from harness.analysis.checks.contradiction import Contradiction
from harness.analysis.checks.expected_work import Bounds, ExpectedWork, expected_work, work_of_window
from harness.analysis.checks.overlapping import beside_others
from harness.analysis.checks.training_record import recorded
from harness.analysis.checks.unverifiable import NEEDS
from harness.analysis.stats.sheets import Sheet, losses_of, read_sheet, scores_of
from harness.model.metrics import METRICS, metrics_of, score_and_split
from harness.model.results import TrialResult
from harness.model.status import Phase

# Older reports may store scores in single precision.
SCORE_TOLERANCE: Final = 1e-6
# Both sides are computed in double precision from the same stored numbers.
_RATIO_TOLERANCE: Final = 1e-9
# Phases and the whole trial are timed by different clock readings.
_CLOCK_SLACK: Final = 0.01
_QUALITY: Final = metrics_of("quality")
_TIMED: Final = ("train_step_seconds", "train_samples_per_second", "train_real_tokens_per_second")
_PHASES: Final = tuple(metric for phase in get_args(Phase) if (metric := f"{phase}_seconds") in METRICS)


@dataclass(frozen=True, slots=True)
class _Scored:
    """The `stored` scores of a completed trial, its predictions, and the scores computed from them `again`.

    Scores are by evaluation split, first those of the first one, which has no name.
    """

    stored: Mapping[str | None, Mapping[str, float]]
    sheets: Mapping[str | None, Sheet | None]
    again: dict[str, float]


# Scores of so many trials are computed together.
_AT_ONCE: Final = 64


def contradictions(result: TrialResult, warmup_steps: int) -> tuple[Contradiction, ...]:
    """Return the contradictions inside one completed trial; empty for other statuses."""
    return next(verified([result], warmup_steps))


def verified(results: Sequence[TrialResult], warmup_steps: int) -> Iterator[tuple[Contradiction, ...]]:
    """Yield the contradictions inside each of many trials of one report, and between them."""
    alone = beside_others(results)
    for start in range(0, len(results), _AT_ONCE):
        some = results[start : start + _AT_ONCE]
        for result, scored in zip(some, _scored_again(some), strict=True):
            of_scores = _quality(result, scored) if result.status == "completed" else ()
            beside = (alone[result.trial.id],) if result.trial.id in alone else ()
            yield (*of_scores, *beside, *beyond_scores(result, warmup_steps))


def beyond_scores(result: TrialResult, warmup_steps: int) -> tuple[Contradiction, ...]:
    """Return the contradictions except in scores and `degenerate`, which `rescore` recomputes."""
    if result.status != "completed":
        return ()
    found = [
        *mislabelled(result),
        *_last_epoch(result),
        *_counts(result),
        *_phases(result),
        *_derived(result),
    ]
    if result.trial.tokenization is not None:
        return (*found, *_tokenizing(result))
    return (*found, *_training(result, warmup_steps), *recorded(result, _scores(result)))


def proof_contradictions(proof: TrialResult) -> tuple[Contradiction, ...]:
    """Return the contradictions inside one proof of function or of training."""
    found = []
    if proof.parity is not None and proof.predictions is not None:
        stored, kept = proof.parity.examples, len(proof.predictions.labels)
        if stored != kept:
            found.append(Contradiction((), f"a proof of {stored} examples", f"logits of {kept} are stored"))
    for check in () if proof.training is None else proof.training.checks:
        if check.limit is None:
            continue
        within = check.measured is not None and check.measured <= check.limit
        if check.passed != within:
            number = "not a number" if check.measured is None else f"{check.measured:.2g}"
            text = f"the check {check.name} is stored as {'passed' if check.passed else 'failed'}"
            found.append(Contradiction((), text, f"it measured {number}, at most {check.limit:.2g} passes"))
    return tuple(found)


def _stored_scores(result: TrialResult) -> dict[str | None, dict[str, float]]:
    found: dict[str | None, dict[str, float]] = {None: {}}
    for metric in _scores(result):
        if (value := result.value(metric)) is not None:
            found.setdefault(score_and_split(metric)[1], {})[metric] = value
    return found


def _scores(result: TrialResult) -> tuple[str, ...]:
    """Return every score, those of further splits as far as the trial has any."""
    return (*_QUALITY, *(metric for metric in result.metrics if score_and_split(metric)[1] is not None))


def _scored_again(results: Sequence[TrialResult]) -> list[_Scored]:
    found: list[_Scored] = []
    of_metric: dict[str, list[tuple[Sheet, dict[str, float]]]] = {}
    for result in results:
        stored = _stored_scores(result) if result.status == "completed" else {}
        sheets = {split: read_sheet(result, split) for split in stored}
        again: dict[str, float] = {}
        found.append(_Scored(stored, sheets, again))
        for split, metrics in stored.items():
            if (sheet := sheets[split]) is None:
                continue
            kind = "regression" if sheet.regression else "classification"
            for metric in metrics:
                if METRICS[score_and_split(metric)[0]].of == kind:
                    of_metric.setdefault(metric, []).append((sheet, again))
    for metric, some in of_metric.items():
        score, _ = score_and_split(metric)
        scored = [sheet for sheet, _ in some]
        values = losses_of(scored) if score == "eval_loss" else scores_of(scored, score)
        for (_, again), value in zip(some, values, strict=True):
            again[metric] = value
    return found


def _quality(result: TrialResult, scored: _Scored) -> Iterator[Contradiction]:
    for split, values in scored.stored.items():
        if (sheet := scored.sheets[split]) is not None:
            yield from _wrong_scores(sheet, values, scored.again)
        elif values:
            yield Contradiction(tuple(values), "scores are stored", "the predictions behind them are missing")
    kept = [sheet for sheet in scored.sheets.values() if sheet is not None]
    single = any(sheet.degenerate for sheet in kept)
    if kept and single != result.degenerate:
        one, several = "of one class", "of several classes"
        if kept[0].regression:
            one, several = "constant", "not constant"
        implied = f"predictions or labels are {one}" if single else f"predictions are {several}"
        yield Contradiction(_scores(result), f"degenerate is {str(result.degenerate).lower()}", implied)


def _wrong_scores(
    sheet: Sheet, scored: Mapping[str, float], scores: Mapping[str, float]
) -> Iterator[Contradiction]:
    for metric, stored in scored.items():
        if (again := scores.get(metric)) is None:
            kind = "a regression" if sheet.regression else "classes"
            yield Contradiction((metric,), f"{metric} is stored", f"it is no score of {kind}")
            continue
        if not math.isclose(stored, again, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE):
            yield Contradiction(
                (metric,), f"{metric} {stored:.8g} is stored", f"{again:.8g} from predictions"
            )


def _last_epoch(result: TrialResult) -> Iterator[Contradiction]:
    if not result.epochs:
        return
    of_epoch = result.epochs[-1].values
    for metric in ("train_loss", *_scores(result)):
        last, stored = of_epoch.get(metric), result.value(metric)
        if stored is None:
            continue
        if last is None:
            yield Contradiction((metric,), f"{metric} {stored:.6g} is stored", "the last epoch lacks it")
        elif not math.isclose(last, stored, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE):
            yield Contradiction(
                (metric,), f"{metric} {stored:.6g} is stored", f"{last:.6g} in the last epoch"
            )


def _counts(result: TrialResult) -> Iterator[Contradiction]:
    data, kept = result.data, result.predictions
    if data is None or kept is None:
        return
    majority = _majority_share((kept.on() or kept).labels)
    for name, stored, again in (
        ("eval_examples", data.eval_examples, len(kept.labels)),
        ("the number of classes", len(data.labels), len(kept.logits[0])),
        ("eval_majority_share", data.eval_majority_share, majority),
    ):
        if not math.isclose(stored, again, rel_tol=SCORE_TOLERANCE):
            yield Contradiction(
                _scores(result), f"{name} {stored:.6g} is stored", f"{again:.6g} from predictions"
            )
    splits = result.trial.task.eval_splits
    due = data.eval_splits if len(splits) > 1 else {}
    if kept.splits != due or (due and tuple(due) != splits):
        found = ", ".join(f"{split} {examples:,}" for split, examples in kept.splits.items()) or "one split"
        stored_splits = ", ".join(f"{split} {examples:,}" for split, examples in due.items()) or "one split"
        yield Contradiction(
            _scores(result), f"evaluation of {stored_splits}", f"the predictions are of {found}"
        )


@lru_cache(maxsize=32)
def _majority_share(labels: tuple[int | float, ...]) -> float:
    """Return the share of the most common label, which the trials of a report have in common."""
    return max(Counter(labels).values()) / len(labels)


def _phases(result: TrialResult) -> Iterator[Contradiction]:
    # A step in which a graph is compiled again has that time, too.
    twice = {"compile_seconds"} if result.value("recompiles") else set()
    names = tuple(name for name in _PHASES if name not in twice and result.value(name) is not None)
    total = sum(sum(result.values(name)) for name in names)
    if total > result.duration_s * (1 + _CLOCK_SLACK) + _CLOCK_SLACK:
        yield Contradiction(names, f"phases of {total:.4g} s", f"the trial took {result.duration_s:.4g} s")


def _derived(result: TrialResult) -> Iterator[Contradiction]:
    """Check shares and rates that are a quotient of two stored metrics."""
    seconds = _steady_seconds(result)
    flops, rate = result.value("model_flops"), result.value("model_flops_per_second")
    for name, upper, lower in (
        ("model_flops_per_second", flops, seconds),
        ("matmul_peak_share", rate, result.value("matmul_peak_flops_per_second")),
        ("padding_efficiency", result.value("train_real_tokens"), result.value("train_computed_tokens")),
        ("train_real_tokens_per_second", result.value("train_real_tokens"), seconds),
        (
            "train_real_tokens_per_second_per_device",
            result.value("train_real_tokens_per_second"),
            result.trial.world_size,
        ),
        (
            "model_flops_utilization",
            None if flops is None or not seconds else flops / seconds,
            result.value("published_peak_flops_per_second"),
        ),
    ):
        stored = result.value(name)
        if stored is None or upper is None or not lower:
            continue
        if not math.isclose(stored, upper / lower, rel_tol=_RATIO_TOLERANCE):
            metrics = (name, *NEEDS[name], "train_real_tokens", "train_computed_tokens")
            yield Contradiction(metrics, f"{name} {stored:.6g} is stored", f"{upper / lower:.6g} follows")


def _steady_seconds(result: TrialResult) -> float | None:
    steps = result.values("train_step_seconds")
    return sum(steps) if steps else None


def _training(result: TrialResult, warmup_steps: int) -> Iterator[Contradiction]:
    """Check counts against the plan of a training: steps, examples, and possible tokens."""
    steps, seconds = result.values("train_step_seconds"), _steady_seconds(result)
    if result.data is None or not seconds:
        return
    work = expected_work(result.trial, result.data, warmup_steps)
    if result.apart is not None:
        work = work_of_window(work, result.trial, result.data, result.apart.steps)
    if len(steps) != work.steps:
        text = f"{len(steps)} step times are stored"
        planned = "the plan has" if result.apart is None else "a window has"
        yield Contradiction(_TIMED, text, f"{planned} {work.steps} steps after warm-up")
        return
    total = result.value("train_seconds")
    all_timed = (seconds, math.inf if warmup_steps else seconds)
    if total is not None and not _within(total, all_timed):
        text = f"train_seconds {total:.6g} is stored"
        yield Contradiction(("train_seconds", *_TIMED), text, f"the steps took {seconds:.6g}")
    yield from _rates(result, work, seconds)


def _rates(result: TrialResult, work: ExpectedWork, seconds: float) -> Iterator[Contradiction]:
    """Check the examples and tokens implied by the rates of the timed steps against the plan."""
    examples, tokens = (
        None if (rate := result.value(name)) is None else rate * seconds for name in _TIMED[1:]
    )
    if examples is None:
        return
    if not _within(examples, work.examples):
        yield _impossible(_TIMED[:2], "examples", examples, work.examples)
    if tokens is None:
        return
    if not _within(tokens, work.real_tokens):
        yield _impossible((*_TIMED, "train_real_tokens"), "real tokens", tokens, work.real_tokens)
    if efficiency := result.value("padding_efficiency"):
        possible = work.computed_tokens(examples, tokens)
        if not _within(tokens / efficiency, possible):
            metrics = (*_TIMED, "padding_efficiency", "train_computed_tokens")
            yield _impossible(metrics, "computed tokens", tokens / efficiency, possible)


def _tokenizing(result: TrialResult) -> Iterator[Contradiction]:
    names = ("tokenize_seconds", "tokenize_examples_per_second", "tokenize_tokens_per_second")
    passes, *rates = map(result.values, names)
    data = result.data
    if data is None or not passes:
        return
    examples = float(data.train_examples + data.eval_examples)
    known = data.train_examples * data.mean_length
    possible = ((examples, examples), (known + data.eval_examples, known + data.eval_examples * data.longest))
    for name, what, values, bounds in zip(names[1:], ("examples", "tokens"), rates, possible, strict=True):
        if values and len(values) != len(passes):
            yield Contradiction(names, f"{len(values)} values of {name}", f"{len(passes)} passes are stored")
            continue
        work = [rate * seconds for rate, seconds in zip(values, passes, strict=False)]
        wrong = next((each for each in work if not _within(each, bounds)), None)
        if wrong is not None:
            yield _impossible((names[0], name), what, wrong, bounds)
        elif work and not math.isclose(min(work), max(work), rel_tol=_RATIO_TOLERANCE):
            yield Contradiction(
                (names[0], name), f"{min(work):.6g} {what} in a pass", f"{max(work):.6g} in another"
            )


def _within(value: float, bounds: Bounds) -> bool:
    low, high = bounds
    return low * (1 - _RATIO_TOLERANCE) <= value <= high * (1 + _RATIO_TOLERANCE)


def _impossible(metrics: tuple[str, ...], what: str, value: float, bounds: Bounds) -> Contradiction:
    low, high = bounds
    among = f"{low:.6g}" if math.isclose(low, high) else f"{low:.6g} to {high:.6g}"
    return Contradiction(metrics, f"rates and times give {value:.6g} {what}", f"the plan has {among}")
