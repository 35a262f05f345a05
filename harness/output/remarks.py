"""What stands beside and below a table in words; the texts are raw, and each format makes them safe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from harness.analysis.conditions import at_once
from harness.analysis.inputs import conflicting_inputs
from harness.analysis.matching import seed_option
from harness.analysis.naming import attention_of, only_tokenise, shared_axes
from harness.analysis.observed import UNMOVED, did_not_move
from harness.analysis.parity import ParityVerdict, verdicts
from harness.analysis.probes import PROBE_BAND, Deviation
from harness.analysis.rows import Failure, Row
from harness.analysis.training import TrainingVerdict, failed_checks, training_proofs, training_verdicts
from harness.data.corpus import DuplicateRows
from harness.data.remarks import data_remarks
from harness.output.numbers import count, points
from harness.output.safe_text import one_line
from harness.results.models import Data, Phase, Report, Status, TrialResult

_SHARED: Final = ("checkpoint", "padding", "device", "precision", "engine", "attention")
_SHARED_TOKENIZING: Final = ("checkpoint", "tokenization", "tokenizer")
_SHARED_TRAIN: Final[dict[str, Callable[[str], str]]] = {
    "train.num_train_epochs": lambda value: count(int(value), "epoch"),
    "train.per_device_train_batch_size": "batch {}".format,
    "train.learning_rate": "learning rate {}".format,
}
QUALITY_NAMES: Final = {"eval_accuracy": "accuracy", "eval_f1": "F1", "eval_mcc": "MCC"}
MOST_FAILURES: Final = 20
MOST_VARIANTS: Final = 8
_MOST_WEIGHTS: Final = 3
_PARITY: Final[dict[ParityVerdict, str]] = {
    "exact": "computes the plain padded fp32 model's function exactly",
    "within": "computes the plain padded fp32 model's function within the limits of its precision",
    "differs": "computes another function, so that its speed is no improvement",
    "unproven": "not proved to compute the plain model's function",
}
_TRAINING: Final[dict[TrainingVerdict, str]] = {
    "same": "trains as the independent reference, step by step",
    "differs": "trains in another way than the independent reference, so that its results do not count",
    "unproven": "not proved to train as the independent reference",
}
_METRIC_NAMES: Final = {
    "model_flops_utilization": "FLOPs use",
    "energy_joules": "energy",
    "tokenize_memory_bytes": "added memory",
}


def title(report: Report) -> str:
    """`padding: 4 variants, 12 trials of glue/mrpc`."""
    variants = len({result.trial.variant_id for result in report.results})
    trials = count(len(report.results), "trial")
    return f"{report.suite.name}: {count(variants, 'variant')}, {trials} of {report.suite.task.name}"


def place(report: Report) -> str:
    """What the run happened on: processor, devices, the library that computes."""
    environments = [result.environment for result in report.results if result.environment]
    names = dict.fromkeys(one.device.name for one in environments if one.device)
    cpu = report.environment.cpu
    cores = f"{cpu.model}, {count(cpu.physical_cores, 'core')}"
    devices = [name for name in names if name not in (cpu.model, "cpu")]
    packages = (environments[0] if environments else report.environment).packages
    versions = [f"{name} {packages[name]}" for name in ("torch", "transformers") if name in packages]
    return "; ".join([*devices, cores, *versions])


def constants(report: Report) -> str:
    """What all variants share and no label says: `in all: bert-base-uncased, cpu, fp32, 3 epochs, ...`."""
    shared = shared_axes(result.trial for result in report.results)
    if only_tokenise(result.trial for result in report.results):
        words = [shared[name] for name in _SHARED_TOKENIZING if name in shared]
        return f"in all: {', '.join([*words, 'no training'])}"
    if shared.get("attention") == "auto":
        ran = _attentions(report.results)
        shared["attention"] = ran.pop() if len(ran) == 1 else "attention auto"
    words = [shared[name] for name in _SHARED if name in shared]
    words += ["last layer: cls only"] if shared.get("last_layer") == "cls" else []
    words += ["CUDA graphs"] if shared.get("cuda_graphs") == "true" else []
    words += [text(shared[name]) for name, text in _SHARED_TRAIN.items() if name in shared]
    return f"in all: {', '.join(words)}" if words else ""


def status(row: Row) -> str:
    """`completed`, `3 completed`, `2 completed, 1 failed`."""
    if len(row.statuses) == 1 and len(row.seeds) == 1:
        return next(iter(row.statuses))
    return ", ".join(f"{number} {name}" for name, number in row.statuses.items())


def remarks(row: Row, devices: int) -> list[str]:
    """Return the words that mark a row: fastest, at once, noisy, mixed inputs, stand-in and so on."""
    words = _rank(row, devices)
    if row.concurrent > 1:
        words.append(at_once(row.concurrent))
    if row.mixed:
        words.append("mixed inputs")
    if row.noisy:
        words.append(_noisy_words(row))
    words += _doubts(row)
    if row.stand_in:
        words.append("stand-in")
    if row.synthetic:
        words.append("synthetic")
    return words


def attention_remarks(report: Report) -> dict[str, str]:
    """`eager attention`, by variant id, for what `attention: auto` became where no line above tells it."""
    if len({attention_of(result) for result in report.results} - {"auto"}) < 2:
        return {}
    variants: dict[str, list[TrialResult]] = {}
    for result in report.results:
        if result.trial.attention == "auto":
            variants.setdefault(result.trial.variant_id, []).append(result)
    ran = {variant: sorted(_attentions(results)) for variant, results in variants.items()}
    return {variant: f"{' and '.join(names)} attention" for variant, names in ran.items() if names}


def _attentions(results: Iterable[TrialResult]) -> set[str]:
    """The implementations that these trials recorded."""
    return {attention_of(result) for result in results} - {"auto"}


def _rank(row: Row, devices: int) -> list[str]:
    if row.rank is None:
        return []
    word = "fastest" if row.rank == "fastest" else "tied fastest"
    return [f"{word} on {row.trial.device}" if devices > 1 else word]


def _doubts(row: Row) -> list[str]:
    """The words for trials whose training or scores are in doubt."""
    words = []
    if row.fails_parity:
        words.append("fails parity")
    if row.fails_training:
        words.append("fails training proof")
    if row.unmoved:
        words.append(UNMOVED if len(row.seeds) == 1 else f"{UNMOVED} in {row.unmoved}")
    if row.below_majority:
        words.append("below the majority class")
    if row.degenerate:
        words.append("degenerate" if len(row.seeds) == 1 else f"{row.degenerate} degenerate")
    return words


def _noisy_words(row: Row) -> str:
    """`noisy: machine at 0.71 of this run's median`, or of several seeds how many and the farthest."""
    of_seeds = "" if len(row.seeds) == 1 else f"{len(row.noisy)} of {len(row.seeds)} "
    return f"{of_seeds}noisy: machine at {_farthest(row)[1].factor:.2f} of this run's median"


def _farthest(row: Row) -> tuple[int, Deviation]:
    """The seed of the trial whose probe lies farthest from the run's median, and by how much."""
    return max(row.noisy.items(), key=lambda item: max(item[1].factor, 1 / item[1].factor))


def notes(report: Report, rows: Sequence[Row]) -> list[str]:
    """What a reader must know to read the table right, one sentence a line."""
    return [
        *report.notes,
        *_session(report),
        *_stand_ins(report),
        *_synthetic(report),
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
        *_failures(rows),
        *_noisy(rows),
        *_unmeasured(rows),
        *_spread(rows),
    ]


def parity(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    """What was proved of the variants, which a reader must know before their speed."""
    if only_tokenise(row.trial for row in rows):
        yield "the same token ids: every trial that completed gave each example those that training takes"
        return
    found = verdicts(report)
    for verdict, text in _PARITY.items():
        names = [row.label for row in rows if found[row.variant] == verdict]
        if names:
            yield f"parity: {'every variant' if len(names) == len(rows) else ', '.join(names)}: {text}"
    if report.training_proofs:
        yield from _training(report, rows)


def _training(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    proved = training_verdicts(report)
    for verdict, text in _TRAINING.items():
        names = [row.label for row in rows if proved[row.variant] == verdict]
        if names:
            yield f"training: {'every variant' if len(names) == len(rows) else ', '.join(names)}: {text}"


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
    for requested, name in replaced.items():
        yield f"stand-in: {name} was used in place of {requested}; its numbers say nothing about {requested}"


def _synthetic(report: Report) -> Iterable[str]:
    names = {
        (result.data.requested, result.data.name)
        for result in report.results
        if result.data is not None and result.data.synthetic
    }
    for requested, name in sorted(names):
        yield f"synthetic data: {name}, a generated corpus, was used in place of {requested}"


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
        for difference in row.mixed.values():
            yield f"mixed inputs: {row.label}: not averaged, its trials differ in {difference}"
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
                f"{QUALITY_NAMES.get(metric, metric)} {points(difference)}" for metric, difference in found
            )
            yield f"against the reference, {row.label}: {differences}"


def _degenerate(rows: Sequence[Row]) -> Iterable[str]:
    for row in rows:
        if row.degenerate:
            which = f"{row.degenerate} of {count(row.completed, 'completed trial')}"
            were = "was" if row.degenerate == 1 else "were"
            yield (
                f"degenerate: {row.label}: {which} predicted a single class "
                f"and {were} left out of accuracy and F1"
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
    """What the marks of the fastest rest on, or why there is none."""
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
    if "bucketed" in strategies and len(strategies) > 1:
        yield "bucketed batches rows of similar length: another order of training than the other strategies'"


def _failures(rows: Sequence[Row]) -> Iterable[str]:
    """Each reason once, with the variants that share it."""
    alike: dict[tuple[Status, Phase, str], list[tuple[Row, Failure]]] = {}
    for row in rows:
        for failure in row.failures:
            alike.setdefault((failure.status, failure.phase, failure.reason), []).append((row, failure))
    for (status, phase, reason), failed in list(alike.items())[:MOST_FAILURES]:
        happened = status if status == "pending" else f"{status} in {phase.replace('_', ' ')}"
        yield f"{_where(failed, len(rows))}: {happened}: {one_line(reason)}"
    left = sum(map(len, list(alike.values())[MOST_FAILURES:]))
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
        seed, found = _farthest(row)
        load = "" if found.load_average is None else f", load average {found.load_average:.1f}"
        others = count(len(row.noisy) - 1, "seed")
        farthest = "" if len(row.noisy) == 1 else f"; {others} more, not as far"
        yield (
            f"noisy: {row.label}, seed {seed}: {found.kind} {found.moment} its steps at {found.factor:.2f} "
            f"of this run's median (limit ±{100 * PROBE_BAND:g} %){load}{farthest}"
        )


def _unmeasured(rows: Sequence[Row]) -> Iterable[str]:
    """Each reason once, with the rows it holds for unless it holds for all."""
    alike: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for metric, reason in row.unmeasured.items():
            alike.setdefault((metric, reason), []).append(row.label)
    completed = sum(row.completed > 0 for row in rows)
    for (metric, reason), labels in alike.items():
        where = "" if len(labels) == completed else f" ({', '.join(labels)})"
        yield f"{_METRIC_NAMES.get(metric, metric)} not measured{where}: {reason}"


def _spread(rows: Sequence[Row]) -> Iterable[str]:
    if any(row.accuracy is not None and row.accuracy.spread is not None for row in rows):
        yield (
            "± is the sample standard deviation over seeds; rates and times are medians over them, with the "
            "range of rates in brackets"
        )
    if any(row.tokenizing is not None for row in rows):
        yield "time and rates are medians over passes and seeds; both splits are tokenised"
        yield "added memory: the most any first pass needed beyond what was in use, its processes together"
