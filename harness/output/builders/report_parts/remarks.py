"""The words above a table and in its rows; the texts are raw, and each format makes them safe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from harness.analysis.checks.observed import UNMOVED
from harness.analysis.comparison.conditions import at_once
from harness.analysis.naming import attention_of, label, notable, only_tokenise, shared_axes, task_names
from harness.analysis.parity import ParityVerdict
from harness.analysis.probes import Deviation
from harness.analysis.rows import Row
from harness.analysis.training_verdicts import TrainingVerdict
from harness.model.arguments import IGNORED
from harness.model.results import Report, TrialResult
from harness.model.seeds import Seed, repeated_roles
from harness.words import count

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


def title(report: Report) -> str:
    """`padding: 4 variants, 12 trials of glue/mrpc`."""
    variants = len(report.variants())
    trials = count(len(report.results), "trial")
    return f"{report.suite.name}: {count(variants, 'variant')}, {trials} of {task_names(report.suite.tasks)}"


def place(report: Report) -> str:
    """Describe the machine of a run: processor, devices, version of torch."""
    environments = [result.environment for result in report.results if result.environment]
    names = dict.fromkeys(one.device.name for one in environments if one.device)
    cpu = report.environment.cpu
    cores = f"{cpu.model}, {count(cpu.physical_cores, 'core')}"
    devices = [name for name in names if name not in (cpu.model, "cpu")]
    packages = (environments[0] if environments else report.environment).packages
    versions = [f"{name} {packages[name]}" for name in ("torch", "transformers") if name in packages]
    return "; ".join([*devices, cores, *versions])


def constants(report: Report) -> str:
    """Return the settings that all variants share: `common settings: cpu, fp32, 3 epochs, ...`."""
    trials = [result.trial for result in report.results]
    trains = {trial.train for trial in trials}
    shared = shared_axes(trials)
    ran = _attentions(report.results)
    if shared.get("attention") == "auto" and len(ran) == 1:
        shared["attention"] = ran.pop()
    unused = {f"train.{rule.setting}" for rule in IGNORED if all(map(rule.applies, trains))}
    names = [name for name in notable(trials[0]) if name not in unused] if trials else []
    words = [label(shared, [name], trials[0]) for name in names if name in shared]
    if only_tokenise(trials):
        words.append("no training")
    return f"common settings: {', '.join(words)}" if words else ""


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
    if row.apart is not None:
        words.append("speed of a window")
    if row.trained:
        shared = sum(map(len, row.trained.values()))
        part = "" if shared == row.completed else f" in {shared} of {row.completed}"
        words.append(f"quality of {' and '.join(row.trained)}{part}")
    if row.mixed:
        words.append("mixed inputs")
    if row.noisy:
        words.append(_noisy_words(row))
    if row.held_back:
        words.append(
            "device held back"
            if len(row.held_back) == len(row.seeds)
            else f"device held back in {len(row.held_back)} of {len(row.seeds)}"
        )
    if repeated := repeated_roles(row.seeds):
        words.append(f"{' and '.join(repeated)} not varied with the seed")
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
    ran = {
        variant: sorted(_attentions(results))
        for variant, results in report.variants().items()
        if results[0].trial.attention == "auto"
    }
    return {variant: f"{' and '.join(names)} attention" for variant, names in ran.items() if names}


def _attentions(results: Iterable[TrialResult]) -> set[str]:
    """The implementations that these trials recorded."""
    return {attention_of(result) for result in results} - {"auto"}


def _rank(row: Row, devices: int) -> list[str]:
    if row.rank is None:
        return []
    word = "fastest" if row.rank == "fastest" else "tied fastest"
    return [f"{word} on {row.trial.device}" if devices > 1 else word]


def doubt(row: Row) -> str:
    """Return why the numbers of a row are not those of its real variant, or not comparable; else nothing."""
    return ", ".join(row_doubts(row))


def row_doubts(row: Row) -> tuple[str, ...]:
    """Return each reason why the numbers of a row are not those of its real variant, or not comparable."""
    words = [] if row.concurrent == 1 else [f"{row.concurrent} at once"]
    if row.fails_parity:
        words.append("fails parity")
    if row.fails_training:
        words.append("fails training proof")
    words += [name for name, applies in (("stand-in", row.stand_in), ("synthetic", row.synthetic)) if applies]
    return tuple(words)


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
    return f"{of_seeds}noisy: machine at {farthest(row)[1].factor:.2f} of this run's median"


def farthest(row: Row) -> tuple[Seed, Deviation]:
    """The seed of the trial whose probe lies farthest from the run's median, and by how much."""
    return max(row.noisy.items(), key=lambda item: max(item[1].factor, 1 / item[1].factor))


def parity(report: Report, rows: Sequence[Row]) -> Iterable[str]:
    """Return the results of the proofs, which a reader needs before the speeds."""
    if only_tokenise(row.trial for row in rows):
        yield "the same token ids: every trial that completed gave each example those that training takes"
        return
    for verdict, text in _PARITY.items():
        names = [row.label for row in rows if row.parity == verdict]
        if names:
            yield f"parity: {'every variant' if len(names) == len(rows) else ', '.join(names)}: {text}"
    if report.training_proofs:
        yield from _training(rows)


def _training(rows: Sequence[Row]) -> Iterable[str]:
    for verdict, text in _TRAINING.items():
        names = [row.label for row in rows if row.training == verdict]
        if names:
            yield f"training: {'every variant' if len(names) == len(rows) else ', '.join(names)}: {text}"
