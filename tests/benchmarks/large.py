"""Reports of many trials, each as large as that of one epoch of MRPC, written without running them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Final

from harness.model.arguments import Train
from harness.model.measurements import measured, unmeasured
from harness.model.observations import Observed
from harness.model.results import TrialResult
from harness.store.report_file import report_file
from tests.factories import (
    make_checkpoint,
    make_data,
    make_measurements,
    make_predictions,
    make_probe,
    make_report,
    make_result,
    make_trial,
)

SEEDS: Final = 5
EXAMPLES: Final = 408
_STEPS: Final = 459
_WARM_UP: Final = 10
_BATCH: Final = 8
# Variants with numbers of their own; the others repeat them under another learning rate and load.
_DISTINCT: Final = 20


_FURTHER: Final = (
    *(measured(f"{phase}_seconds", 0.01) for phase in ("load_data", "tokenize", "load_model", "write")),
    *(measured(f"{which}_parameters", make_checkpoint().parameters) for which in ("trainable", "total")),
    *(unmeasured(metric, "not here") for metric in ("energy_joules", "compile_seconds", "recompiles")),
)


def write_large(folder: Path, trials: int, accuracy: float = 0.85) -> Path:
    """Write the report of so many trials, five seeds of each learning rate, and return its path."""
    path = folder / "report.json"
    report = make_report([], run=f"{accuracy:g}")
    with report_file(report, large_results(trials, accuracy), folder) as made, path.open("wb") as file:
        file.writelines(made.chunks())
    return path


def large_results(trials: int, accuracy: float = 0.85) -> Iterator[TrialResult]:
    """Yield the results of so many trials, five seeds of each learning rate."""
    count = trials // SEEDS
    distinct = [
        [_result(variant, seed, accuracy) for seed in range(SEEDS)]
        for variant in range(min(_DISTINCT, count))
    ]
    for variant in range(count):
        for seed, found in enumerate(distinct[variant % len(distinct)]):
            rate = (variant + 1) * 1e-6
            train = found.trial.train.model_copy(update={"learning_rate": rate})
            assert found.environment is not None
            assert found.observed is not None
            load = (variant * SEEDS + seed) % 991 / 100
            yield found.model_copy(
                update={
                    "trial": found.trial.model_copy(update={"train": train}),
                    "environment": found.environment.model_copy(update={"load_average": load}),
                    # It falls in a straight line to 0 after the last step.
                    "observed": found.observed.model_copy(
                        update={"first_learning_rate": rate, "last_learning_rate": rate / _STEPS}
                    ),
                }
            )


def _result(variant: int, seed: int, accuracy: float) -> TrialResult:
    """Return a result whose numbers follow from each other, so that a check passes."""
    place = variant * SEEDS + seed
    lengths = tuple(20 + 7 * example % 83 for example in range(EXAMPLES))
    predictions = make_predictions(place, EXAMPLES, accuracy).model_copy(update={"lengths": lengths})
    losses = [0.7 - 0.6 * step / _STEPS + place * 1e-7 for step in range(_STEPS)]
    loss = fmean(losses)
    timed = make_measurements(
        predictions, samples_per_second=25.0 + variant, steps=_STEPS - _WARM_UP, seed=seed
    )
    kept = (each for each in timed if each.metric != "train_loss")
    of_losses = (measured("train_loss", loss), measured("train_step_loss", *losses))
    found = make_result(
        make_trial(seed=seed, train=Train(num_train_epochs=1)),
        predictions=predictions,
        measurements=(*kept, *_FURTHER, *of_losses),
        data=make_data(
            train_examples=_STEPS * _BATCH,
            eval_examples=EXAMPLES,
            eval_majority_share=sum(predictions.labels) / EXAMPLES,
        ),
        probe=make_probe(1 + seed / 1_000),
        observed=Observed(
            optimizer_steps=_STEPS,
            first_learning_rate=1e-6,
            last_learning_rate=1e-9,
            dropped_share=0.1,
            dropout_rate=0.1,
            dropout_elements=1_000_000,
            parameter_change=0.01,
            unmoved=(),
            training_mode=(True,),
        ),
    )
    (epoch,) = found.epochs
    return found.model_copy(update={"epochs": (epoch.model_copy(update={"train_loss": loss}),)})
