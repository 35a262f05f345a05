"""Scores, losses and counts of a result, computed once more from their definitions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from statistics import fmean
from typing import Final

import numpy as np
from torch import nn

from harness.model.proof import TrainingCheck
from harness.model.tasks import TaskKind
from harness.model.trial import Trial
from harness.training.evaluation import score
from harness.training.proofs.findings import largest, none_of, within
from harness.training.proofs.reference_batches import Batch, count_computed, share_out
from harness.training.proofs.small_trainings import SIZES, names_of
from harness.training.proofs.trajectory import LOSS_LIMIT, Trajectory

SCORE_LIMIT: Final = 1e-6
_COUNTED_LIMIT: Final = 1e-9
# Between a device's own events and the host's clock.
_CLOCK_LIMIT: Final = 0.02
_CLOCK_SECONDS: Final = 1e-3

Rows = Sequence[Sequence[float]]


def scores_of(logits: Rows, labels: Sequence[float]) -> dict[str, float]:
    """Return the scores by metric name, from their definitions and not from `analysis.stats.scoring`.

    F1 is that of class 1, beyond two classes the mean over the classes present. Rows of one number are
    outputs of a regression.
    """
    if len(logits[0]) == 1:
        return _scores_of_regression([row[0] for row in logits], labels)
    return _scores_of_classes(logits, [int(label) for label in labels])


def _scores_of_regression(outputs: Sequence[float], targets: Sequence[float]) -> dict[str, float]:
    """Pearson 1895, Spearman 1904 with mean ranks, and the mean squared error."""
    return {
        "eval_pearson": _pearson(outputs, targets),
        "eval_spearman": _pearson(_ranks(outputs), _ranks(targets)),
        "eval_mse": fmean((one - other) ** 2 for one, other in zip(outputs, targets, strict=True)),
    }


def _pearson(one: Sequence[float], other: Sequence[float]) -> float:
    first, second = fmean(one), fmean(other)
    product = sum((x - first) * (y - second) for x, y in zip(one, other, strict=True))
    spread = sum((x - first) ** 2 for x in one) * sum((y - second) ** 2 for y in other)
    return product / math.sqrt(spread) if spread else math.nan


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1, by counting the smaller values and half of the other equal ones."""
    return [
        sum(other < each for other in values) + (sum(other == each for other in values) + 1) / 2
        for each in values
    ]


def _scores_of_classes(logits: Rows, labels: Sequence[int]) -> dict[str, float]:
    predicted = [max(range(len(row)), key=row.__getitem__) for row in logits]
    pairs = list(zip(predicted, labels, strict=True))
    accuracy = sum(one == other for one, other in pairs) / len(pairs)
    classes = range(len(logits[0]))
    table = [[pairs.count((one, other)) for other in classes] for one in classes]
    present = [each for each in classes if sum(table[each]) or sum(row[each] for row in table)]
    f1 = _f1(table, 1) if len(classes) == 2 else sum(_f1(table, each) for each in present) / len(present)
    shares = [[math.exp(value - max(row)) for value in row] for row in logits]
    shares = [[value / sum(row) for value in row] for row in shares]
    losses = [
        math.log(sum(math.exp(value - max(row)) for value in row)) + max(row) - row[label]
        for row, label in zip(logits, labels, strict=True)
    ]
    return {
        "eval_accuracy": accuracy,
        "eval_f1": f1,
        "eval_mcc": _mcc(table),
        "eval_loss": sum(losses) / len(losses),
        "eval_ece": _calibration_error(shares, predicted, labels),
        "eval_brier": sum(map(_half_distance, shares, labels)) / len(labels),
    }


def _calibration_error(shares: Rows, predicted: Sequence[int], labels: Sequence[int]) -> float:
    """Guo et al. 2017, equation 3, with 15 bins."""
    error = 0.0
    for bin_ in range(15):
        inside = [at for at, row in enumerate(shares) if bin_ / 15 < max(row) <= (bin_ + 1) / 15]
        confidence = sum(max(shares[at]) for at in inside)
        error += abs(sum(predicted[at] == labels[at] for at in inside) - confidence)
    return error / len(labels)


def _half_distance(shares: Sequence[float], label: int) -> float:
    return sum((share - (at == label)) ** 2 for at, share in enumerate(shares)) / 2


def _f1(table: Sequence[Sequence[int]], each: int) -> float:
    right = table[each][each]
    found, there = sum(table[each]), sum(row[each] for row in table)
    return 2 * right / (found + there) if right else 0.0


def _mcc(table: Sequence[Sequence[int]]) -> float:
    """Matthews' correlation of any number of classes (Gorodkin 2004)."""
    found = [sum(row) for row in table]
    there = [sum(column) for column in zip(*table, strict=True)]
    count, right = sum(found), sum(table[each][each] for each in range(len(table)))
    spread = (count**2 - sum(each**2 for each in found)) * (count**2 - sum(each**2 for each in there))
    product = sum(one * other for one, other in zip(found, there, strict=True))
    return (right * count - product) / math.sqrt(spread) if spread else 0.0


def check_metrics(kind: TaskKind) -> TrainingCheck:
    """The metrics of fixed tables of logits of two and of three classes, or of outputs of a regression."""
    random = np.random.default_rng(0)
    apart: list[float] = []
    if kind == "regression":
        targets = random.integers(0, 26, 60) / 5
        outputs = (targets + random.normal(size=60)).round(1)[:, None].astype(np.float32)
        apart += _differences(score(outputs, targets).scores, scores_of(outputs.tolist(), targets.tolist()))
        return within("metrics", "largest difference of a score", largest(apart), SCORE_LIMIT)
    for classes in (2, 3):
        labels = random.integers(0, classes, 60)
        logits = random.normal(size=(60, classes)).astype(np.float32)
        logits[np.arange(60), labels] += 0.7
        apart += _differences(score(logits, labels).scores, scores_of(logits.tolist(), labels.tolist()))
    return within("metrics", "largest difference of a score", largest(apart), SCORE_LIMIT)


def _differences(given: Mapping[str, float], expected: Mapping[str, float]) -> list[float]:
    return [abs(given.get(metric, math.nan) - value) for metric, value in expected.items()]


def check_history(found: Trajectory) -> TrainingCheck:
    """Losses of steps and epochs, the scores of epochs, and those of the last epoch as measured."""
    labels = found.tokens.evaluation.labels.tolist()
    apart: list[float] = []
    for given, epoch in zip(found.result.epochs, found.epochs, strict=False):
        losses = [loss for step in epoch.steps for loss in step.losses]
        due = scores_of(epoch.logits.tolist(), labels) | {"train_loss": sum(losses) / len(losses)}
        # They jump where rounding moves a confidence over the edge of a bin, or swaps two outputs.
        due = {name: value for name, value in due.items() if name not in ("eval_ece", "eval_spearman")}
        apart += _differences(given.values, due)
    if len(found.result.epochs) != len(found.epochs):
        apart.append(float("nan"))
    last = found.result.epochs[-1].values
    apart += [abs((found.result.value(metric) or 0.0) - value) for metric, value in last.items()]
    by_step = [fmean(step.losses) for epoch in found.epochs for step in epoch.steps]
    recorded = found.result.measurement("train_step_loss")
    shown = () if recorded is None else recorded.values
    apart += [abs(one - other) for one, other in zip_longest(shown, by_step, fillvalue=math.nan)]
    return within(f"epochs{found.name}", "largest difference of a loss or score", largest(apart), LOSS_LIMIT)


def check_counts(found: Trajectory, trial: Trial, warmup_steps: int, reference: nn.Module) -> TrainingCheck:
    """Steps, examples and tokens behind the rates, counted from the reference's batches; and their time.

    And the parameters, all and those that train, of the reference's model.
    """
    return none_of(
        f"counts{found.name}",
        chain(
            _count_problems(found, trial, warmup_steps),
            _width_problems(found, trial),
            _parameter_problems(found, reference),
            _worker_problems(found),
            _time_problems(found, warmup_steps, ordered=not trial.device.startswith("cuda")),
        ),
        "steps, examples, tokens and parameters are the reference's, and times cover what they are of",
    )


def _width_problems(found: Trajectory, trial: Trial) -> Iterator[str]:
    """Each pass has to compute as many tokens as the padding strategy promises, no more and no less."""
    batches = [batch for epoch in found.epochs for step in epoch.steps for batch in step.batches]
    for at, (each, batch) in enumerate(zip(found.seen.training, batches, strict=False), start=1):
        due = _computed(found, batch, trial)
        if each.computed != due:
            yield f"pass {at} computes {each.computed} tokens in its linear layers, due {due}"
    yield from _evaluated_widths(found, trial)


def _evaluated_widths(found: Trajectory, trial: Trial) -> Iterator[str]:
    """Compare the passes of evaluations with batches of `per_device_eval_batch_size`, longest rows first."""
    lengths = sorted(found.tokens.evaluation.lengths.tolist(), reverse=True)
    size, longest = found.train.per_device_eval_batch_size, found.tokens.longest
    batches = [lengths[start : start + size] for start in range(0, len(lengths), size)]
    due = [(len(batch), count_computed(batch, trial.padding, longest)) for batch in batches]
    given = [(len(each.rows), each.computed) for each in found.seen.evaluation]
    for at, (one, other) in enumerate(zip(given, due * len(found.epochs), strict=False), start=1):
        if one != other:
            yield (
                f"evaluation pass {at} computes {one[1]} tokens for {one[0]} rows in its linear layers, "
                f"due {other[1]} for {other[0]}"
            )


def _parameter_problems(found: Trajectory, reference: nn.Module) -> Iterator[str]:
    every = list(reference.parameters())
    for name, due in (
        ("trainable_parameters", sum(each.numel() for each in every if each.requires_grad)),
        ("total_parameters", sum(each.numel() for each in every)),
    ):
        given = found.result.value(name)
        if given != due:
            yield f"{name} is {given}, due {due}"


def _worker_problems(found: Trajectory) -> Iterator[str]:
    """The data loader's workers run beside the training; they end before its last passes."""
    given = max((each.workers for each in found.seen.training), default=0)
    if given != found.train.dataloader_num_workers:
        yield f"{given} data loader workers load the batches, due {found.train.dataloader_num_workers}"


def _time_problems(found: Trajectory, warmup_steps: int, *, ordered: bool) -> Iterator[str]:
    """Reported times cover every step and evaluation as seen from outside, and do not overlap.

    Where steps are timed by the host's clock, `ordered`, each one covers its own and no more.
    """
    train, evaluate = (found.result.value(name) or 0.0 for name in ("train_seconds", "evaluate_seconds"))
    if train + evaluate > found.seconds:
        yield f"{train:.3g} s of training and {evaluate:.3g} s of evaluation in {found.seconds:.3g} s"
    seen = list(_step_seconds(found))
    timed = found.result.measurement("train_step_seconds")
    each_step = () if timed is None else timed.values
    if ordered:
        bounds = zip(each_step, seen[warmup_steps:], strict=False)
        for at, (given, (least, most)) in enumerate(bounds, start=1):
            if not least - _CLOCK_SECONDS <= given <= most + _CLOCK_SECONDS:
                yield (
                    f"step {at} after warm-up: {given:.3g} s, where passes and update took "
                    f"{least:.3g} s, and {most:.3g} s lie between those before and after it"
                )
    steady, in_passes = sum(each_step), sum(each.ended - each.began for each in found.seen.evaluation)
    # The time to compile the passes of an evaluation is counted apart.
    compiling = found.result.value("compile_seconds") or 0.0
    for what, given, least in (
        ("train_seconds", train, sum(least for least, _ in seen)),
        ("the steps after warm-up", steady, sum(least for least, _ in seen[warmup_steps:])),
        ("evaluate_seconds", evaluate, max(in_passes - compiling, 0.0)),
    ):
        if given < (1 - _CLOCK_LIMIT) * least - _CLOCK_SECONDS:
            yield f"{what}: {given:.3g} s, where what it covers took {least:.3g} s alone"


def _step_seconds(found: Trajectory) -> Iterator[tuple[float, float]]:
    """Yield the least and the most seconds of each step, timed by hooks.

    The least is from the first pass of the step to the end of its optimizer step, the most from the end of
    what came before to the beginning of what comes after.
    """
    passes, first, before = found.seen.passes, 0, -math.inf
    trained = [at for at, each in enumerate(passes) if each.trains]
    for update in found.seen.updates:
        if first >= len(trained) or update.passes > len(trained):
            return
        place, last = trained[first], trained[update.passes - 1]
        if place:
            before = max(before, passes[place - 1].ended)
        after = passes[last + 1].began if last + 1 < len(passes) else math.inf
        yield update.ended - passes[place].began, after - before
        first, before = update.passes, update.ended


def _count_problems(found: Trajectory, trial: Trial, warmup_steps: int) -> Iterator[str]:
    steps = [step for epoch in found.epochs for step in epoch.steps][warmup_steps:]
    batches = [batch for step in steps for batch in step.batches]
    lengths, value = found.tokens.train.lengths, found.result.value
    timed = found.result.measurement("train_step_seconds")
    if timed is None or len(timed.values) != len(steps):
        yield f"{0 if timed is None else len(timed.values)} step times, due {len(steps)}"
        return
    seconds = sum(timed.values)
    real = sum(int(lengths[batch].sum()) for batch in batches)
    computed = sum(_computed(found, batch, trial) for batch in batches)
    due = {
        "train_samples_per_second": sum(map(len, batches)) / seconds,
        "train_real_tokens_per_second": real / seconds,
        "padding_efficiency": real / computed,
    }
    # A config without sizes by these names has no FLOPs, and the report tells so.
    if value("model_flops") is not None:
        due["model_flops"] = sum(_flops(lengths[batch].tolist(), trial) for batch in batches)
    for name, expected in due.items():
        given = value(name)
        if given is None or abs(given / expected - 1) > _COUNTED_LIMIT:
            yield f"{name} is {given}, due {expected}"
    every = value("train_seconds")
    if every is None or every < seconds * (1 - _COUNTED_LIMIT):
        yield f"train_seconds is {every}, and steps after warm-up took {seconds}"


def _flops(lengths: Sequence[int], trial: Trial) -> float:
    """FLOPs of real tokens in matrix products: two a multiply-add, and three times those of a forward pass.

    Each layer multiplies a token by four square matrices and two of the feed-forward, and each query by all
    keys and values of its row. With `last_layer: cls` the last layer has one query a row, and its keys and
    values. Pooler and head see one position.
    """
    layers, hidden, inner = (
        SIZES[name] for name in ("num_hidden_layers", "hidden_size", "intermediate_size")
    )
    outputs = len(names_of(trial.task))
    total = 0
    for tokens in lengths:
        for queries in [tokens] * (layers - 1) + [tokens if trial.last_layer == "all" else 1]:
            of_query = 2 * hidden**2 + 2 * hidden * inner + 2 * tokens * hidden
            total += queries * of_query + tokens * 2 * hidden**2
        total += hidden**2 + hidden * outputs
    return 3.0 * 2 * total


def _computed(found: Trajectory, batch: Batch, trial: Trial) -> int:
    """Tokens that linear layers compute for a batch, each rank for its own rows."""
    lengths, longest = found.tokens.train.lengths, found.tokens.longest
    shares = [share for share in share_out(batch, trial.world_size) if share]
    return sum(count_computed(lengths[share].tolist(), trial.padding, longest) for share in shares)
