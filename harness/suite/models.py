"""What a suite file may say, as frozen models; `reading` fills them, `matrix` expands them into trials."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from harness.frozen import Frozen
from harness.trial import Task, Train

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]


class Measure(Frozen):
    """How trials are measured and how long they may take; all times in seconds.

    `warmup_steps` training steps at the start of a trial are left out of every rate and step time.
    `threads` is the number of CPU threads inside a trial; None means one for each physical core.
    """

    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    threads: Annotated[int, Field(ge=1, le=4_096)] | None = None
    trial_timeout_seconds: Seconds | None = None
    start_timeout_seconds: Seconds = 300.0
    stall_timeout_seconds: Seconds = 900.0


class Gate(Frozen):
    """A rule that a report must pass: bounds on a metric, or its largest drop against a baseline.

    `max_drop` is in the metric's own unit (`0.02`) or relative (`10%`), and in the metric's own direction.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    max_drop: Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=r"^\d+(\.\d+)?%$")] | None = None


class Suite(Frozen):
    """One suite file, validated. `matrix` holds, by axis, the values as they were written."""

    name: Name
    task: Task = Task()
    matrix: dict[str, tuple[Any, ...]]
    include: tuple[dict[str, Any], ...] = ()
    exclude: tuple[dict[str, Any], ...] = ()
    train: Train = Train()
    measure: Measure = Measure()
    reference: dict[str, float] = Field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
