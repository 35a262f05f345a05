"""The table of engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.training import trainer_engine
from harness.training.engine import Training
from harness.trial import Engine

ENGINES: Final[dict[Engine, Callable[[Training], None]]] = {"trainer": trainer_engine.train}
