"""The table of engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from transformers import PreTrainedModel

from harness.model.trial import Trial
from harness.model.values import Engine
from harness.training.engines import loop as loop_engine
from harness.training.engines import trainer as trainer_engine
from harness.training.engines.engine import Training
from harness.training.tokenizing.tokens import Tokenized


@dataclass(frozen=True, slots=True)
class TrainingEngine:
    """`prepare` changes a loaded model in place, for training and evaluation; `train` trains it."""

    prepare: Callable[[Trial, PreTrainedModel, Tokenized], None]
    train: Callable[[Training], None]


def _as_loaded(_trial: Trial, _model: PreTrainedModel, _tokens: Tokenized) -> None:
    """Leave the model as transformers made it."""


ENGINES: Final[dict[Engine, TrainingEngine]] = {
    "trainer": TrainingEngine(_as_loaded, trainer_engine.train),
    "loop": TrainingEngine(loop_engine.prepare, loop_engine.train),
}
