"""A training that was interrupted and continues from its kept state, against one that never was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.model.proof import TrainingCheck
from harness.model.trial import Trial
from harness.training.proofs.findings import largest, none_of, within
from harness.training.proofs.small_trainings import Run, Runner
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants.compiling import is_compiled

# In fp32 on the CPU every bit is equal; on CUDA sums have another order.
_LIMIT: Final = 1e-5
# Of six steps: one within the second epoch, after which two are left.
_KEPT_AFTER: Final = 4


def continues(trial: Trial) -> bool:
    """Return whether the proof interrupts a training of this trial; a compiled one would compile again."""
    return trial.engine == "loop" and trial.world_size == 1 and not is_compiled(trial)


def check_continued(
    plain: Run, runner: Runner, checkpoint: Path, trial: Trial, tokens: Tokenized, folder: Path
) -> Iterator[TrainingCheck]:
    """Train once with a state kept on the way, then from that state to the end.

    Args:
        plain: a training of the trial that keeps nothing.
        runner: trains.
        checkpoint: the small checkpoint that `plain` started from, with dropout.
        trial: see above.
        tokens: its rows.
        folder: is made, for the file of the state.
    """
    folder.mkdir()
    keeping = runner.keeping(folder, _KEPT_AFTER)
    kept, continued = (keeping.train(checkpoint, trial, tokens) for _ in range(2))
    steps, due = len(continued.seen.updates), len(plain.seen.updates) - _KEPT_AFTER
    yield none_of(
        "steps after an interruption",
        [] if steps == due else [f"{steps} optimizer steps were taken, {due} were left"],
        f"a training that was interrupted after step {_KEPT_AFTER} takes the {due} steps that are left",
    )
    for name, run in (("a kept state", kept), ("an interruption", continued)):
        yield within(
            f"training with {name}",
            "largest difference of a loss, logit or parameter",
            _apart(run, plain),
            _LIMIT,
        )


def _apart(run: Run, plain: Run) -> float:
    """The largest difference of two trainings; NaN where one has what the other lacks."""
    pairs = [(_numbers(run), _numbers(plain))]
    if run.end.keys() != plain.end.keys():
        return float("nan")
    pairs += [(each.double().numpy(), plain.end[name].double().numpy()) for name, each in run.end.items()]
    return largest(
        [
            float(np.abs(one - other).max()) if one.shape == other.shape else float("nan")
            for one, other in pairs
        ]
    )


def _numbers(run: Run) -> npt.NDArray[np.float64]:
    """Losses of steps and epochs, and logits of a training, end to end."""
    losses = run.result.measurement("train_step_loss")
    predictions = run.result.predictions
    return np.concatenate(
        [
            np.asarray(() if losses is None else losses.values, dtype=np.float64),
            np.asarray([epoch.train_loss for epoch in run.result.epochs], dtype=np.float64),
            np.asarray([] if predictions is None else predictions.logits, dtype=np.float64).ravel(),
        ]
    )
