"""A training that was interrupted and continues from its kept state, against one that never was."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.model.proof import TrainingCheck
from harness.model.results import TrialResult
from harness.model.trial import Trial
from harness.training.proofs.findings import largest, none_of, within
from harness.training.proofs.small_trainings import Run, Runner, generated_data
from harness.training.resuming import StateFile, origin_of
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants.compiling import is_compiled

# In fp32 on the CPU every bit is equal; on CUDA sums have another order.
_LIMIT: Final = 1e-5
# Of six steps: within the second epoch, after which two are left, and at the end of the first.
_KEPT_AFTER: Final[dict[str, int]] = {"": 4, " between epochs": 3}


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
    yield check_states(runner.found.model_copy(update={"data": generated_data(tokens, trial)}))
    for name, after in _KEPT_AFTER.items():
        there = folder / str(after)
        there.mkdir(parents=True)
        keeping = runner.keeping(there, after)
        kept, continued = (keeping.train(checkpoint, trial, tokens) for _ in range(2))
        steps, due = len(continued.seen.updates), len(plain.seen.updates) - after
        yield none_of(
            f"steps after an interruption{name}",
            [] if steps == due else [f"{steps} optimizer steps were taken, {due} were left"],
            f"a training that was interrupted after step {after} takes the {due} steps that are left",
        )
        for what, run in (("a kept state", kept), ("an interruption", continued)):
            yield within(
                f"training with {what}{name}",
                "largest difference of a loss, logit or parameter",
                _apart(run, plain),
                _LIMIT,
            )


def check_states(found: TrialResult) -> TrainingCheck:
    """Whether a kept state counts for its own training alone, which `found` describes, and only whole."""
    with tempfile.TemporaryDirectory(prefix="harness-states-") as folder:
        return none_of(
            "kept states",
            chain(_origin_problems(found, Path(folder)), _file_problems(Path(folder))),
            "a state counts for the same trial, files, environment and code, and only whole",
        )


def _origin_problems(found: TrialResult, folder: Path) -> Iterator[str]:
    """Yield each part of a training that may change while the origin of its state does not."""
    environment, checkpoint, data = found.environment, found.checkpoint, found.data
    assert environment is not None
    assert checkpoint is not None
    assert data is not None
    (folder / "inner").mkdir()
    source = folder / "inner" / "step.py"
    source.write_text("step = 1\n", encoding="utf-8")
    due = origin_of(found, folder)
    parts: dict[str, dict[str, object]] = {
        "trial": {"trial": found.trial.model_copy(update={"seed": 10**6})},
        "checkpoint": {"checkpoint": checkpoint.model_copy(update={"weights_sha256": "1" * 64})},
        "data": {"data": data.model_copy(update={"content_sha256": "1" * 64})},
        "packages": {"environment": environment.model_copy(update={"packages": {"torch": "0"}})},
        "Python": {"environment": environment.model_copy(update={"python": "2.7"})},
        "threads": {"environment": environment.model_copy(update={"threads": 10**6})},
    }
    for name, part in parts.items():
        if origin_of(found.model_copy(update=part), folder) == due:
            yield f"a state counts for another {name}"
    if origin_of(found, folder) != due:
        yield "a state does not count for its own training"
    source.write_text("step = 2\n", encoding="utf-8")
    if origin_of(found, folder) == due:
        yield "a state counts for other code"


def _file_problems(folder: Path) -> Iterator[str]:
    """Yield each file whose state counts, and must not."""
    path = folder / "state"
    own, other = (StateFile(path, origin, 1) for origin in ("one", "two"))
    own.write({"step": 7})
    if own.read() != {"step": 7}:
        yield "a state is not read as it was written"
    if other.read() is not None:
        yield "a state of another origin counts"
    content = path.read_bytes()
    at = content.rindex(b"step")
    path.write_bytes(content[:at] + b"stop" + content[at + 4 :])
    if own.read() is not None:
        yield "a damaged state counts"


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
