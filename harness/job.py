"""Job and Progress: what a worker is given, and what it says while it works."""

from __future__ import annotations

from collections.abc import Callable

from harness.assets.models import ResolvedCheckpoint, ResolvedData
from harness.frozen import Frozen
from harness.results.models import Phase
from harness.suite.models import Measure
from harness.trial import Trial


class Job(Frozen):
    """A trial and all it needs on this machine. `cache_dir` holds what trials share: tokenised arrays."""

    trial: Trial
    measure: Measure
    checkpoint: ResolvedCheckpoint
    data: ResolvedData
    cache_dir: str


class Progress(Frozen):
    """One line of a worker's progress; `step` counts optimizer steps over all epochs."""

    phase: Phase
    step: int = 0
    steps: int = 0
    epoch: int = 0
    loss: float | None = None
    real_tokens_per_second: float | None = None


Announce = Callable[[Progress], None]
