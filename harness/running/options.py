"""The options of a run, each declared once with its help, its group and its bounds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal, get_type_hints

from harness.errors import InvalidInputError
from harness.model.assets import AssetsMode
from harness.model.looks import FEWEST_SEEDS, MOST_SEEDS
from harness.model.suite import LONGEST_S
from harness.words import quoted

DEFAULT_RUNNER: Final = "harness.training.run_trial:run_trial"
"""The function that runs a trial, by name: importing it here would import torch."""

_SHARD: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")

ExecutorName = Literal["local", "ray", "slurm"]
Rerun = Literal["failed", "all"]
Group = Literal["What to run", "Where", "Limits", "Gates", "Output"]


@dataclass(frozen=True, slots=True)
class Option:
    """Metadata of a field of `RunOptions`: its help text and heading on the command line, and its bounds.

    `least` and `most` are included in the range, `above` is not. A `hidden` option is for tests.
    """

    help: str = ""
    group: Group = "What to run"
    least: float | None = None
    most: float | None = None
    above: float | None = None
    metavar: str | None = None
    hidden: bool = False

    @property
    def range(self) -> str:
        """The bounds in words: `from 0 to 10`, `above 0`, `above 0, at most 10`."""
        if self.most is not None and self.least is not None:
            return f"from {self.least:g} to {self.most:g}"
        if self.most is not None:
            return f"above {self.above:g}, at most {self.most:,.0f}"
        return f"above {self.above:g}" if self.above is not None else f"{self.least:g} or more"

    def admits(self, value: float) -> bool:
        """Return whether a number is within the bounds; NaN never is, where there are any."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
        )


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a suite is run. The command line derives its options from these fields; see `declared`.

    Raises:
        InvalidInputError: a number is out of its range.
    """

    assets: Annotated[
        AssetsMode,
        Option(
            "Where checkpoints and data come from. `auto` uses a labelled stand-in where the named one is "
            "missing, `hub` never does, `embedded` uses stand-ins and the folder of task.data_dir only.",
            "Where",
        ),
    ] = "auto"
    reports: Annotated[
        Path, Option("The folder of run directories, and of baselines in `baselines`.", "Where")
    ] = Path("reports")
    executor: Annotated[
        ExecutorName,
        Option(
            "Where trials run: in processes of this machine, on a Ray cluster (extra `ray`), or as jobs of "
            "Slurm (extra `slurm`).",
            "Where",
        ),
    ] = "local"
    ray_address: Annotated[
        str | None,
        Option(
            "The head of the Ray cluster; by default RAY_ADDRESS, or the cluster of which this machine is a "
            "node.",
            "Where",
            metavar="HOST:PORT",
        ),
    ] = None
    slurm: Annotated[
        tuple[str, ...],
        Option(
            "An option of `sbatch` for every trial, by its long name: partition=gpu, gpus=1, time=04:00:00. "
            "Repeatable.",
            "Where",
            metavar="KEY=VALUE",
        ),
    ] = ()
    save_models: Annotated[
        Path | None,
        Option(
            "Save the model of every trial to DIR/<trial id>: weights, tokenizer and a model card. On a "
            "cluster DIR must be on a shared file system.",
            "Output",
            metavar="DIR",
        ),
    ] = None
    strict: Annotated[bool, Option("Run nothing if anything is unavailable.")] = False
    fresh: Annotated[bool, Option("Start a new run even if an earlier one can be resumed.")] = False
    rerun: Annotated[Rerun | None, Option("Run these trials of the run again.")] = None
    shard: Annotated[
        str | None,
        Option(
            "Run part I of N of the trials, chosen by their ids; `harness merge` joins the parts.",
            metavar="I/N",
        ),
    ] = None
    parity: Annotated[bool, Option("First prove what each variant computes.")] = True
    wait: Annotated[bool, Option("Wait while another process works on this run.")] = False
    trial_timeout_s: Annotated[
        float | None,
        Option("End a trial that takes longer.", "Limits", above=0, most=LONGEST_S, metavar="SECONDS"),
    ] = None
    retries: Annotated[
        int,
        Option(
            "More attempts for a trial that was killed, timed out or could not start.",
            "Limits",
            least=0,
            most=10,
            metavar="N",
        ),
    ] = 0
    fail_fast: Annotated[bool, Option("End the run at the first trial that does not complete.", "Limits")] = (
        False
    )
    stop_after_same_error: Annotated[
        int,
        Option(
            "After N identical failures for one axis value, skip its remaining trials; 0 never does.",
            "Limits",
            least=0,
            metavar="N",
        ),
    ] = 0
    jobs: Annotated[
        int | Literal["auto"],
        Option(
            "Run N trials concurrently per device. Timings are marked unusable if N > 1, unless the suite "
            "times windows first (measure.separate); then also `auto`, as many as cores and memory allow.",
            "Limits",
            least=1,
            most=256,
            metavar="N",
        ),
    ] = 1
    runner: Annotated[str, Option(hidden=True)] = DEFAULT_RUNNER
    slurm_local: Annotated[bool, Option(hidden=True)] = False
    grace_s: Annotated[float, Option(hidden=True, least=0)] = 10.0

    def __post_init__(self) -> None:
        for each in declared():
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not each.option.admits(value):
                raise InvalidInputError(
                    f"{each.name} is {value!r}", hint=f"Give a number {each.option.range}."
                )
        if self.shard is not None:
            parse_shard(self.shard)
        if self.fresh and self.rerun == "failed":
            raise InvalidInputError(
                "a fresh run has no failed trials to run again",
                hint="Leave out --rerun failed, or --fresh; --rerun all also makes stored proofs again.",
            )


@dataclass(frozen=True, slots=True)
class UntilDecided:
    """Run seeds until the values of an axis are decided against its first value.

    `by` is the axis, None for the only one that varies. `metrics` and `margin` are those of `compare`, None
    for its defaults. After `budget_s` seconds no further look begins.

    Raises:
        InvalidInputError: a number is out of its range.
    """

    by: str | None = None
    metrics: tuple[str, ...] | None = None
    margin: float | Mapping[str, float] | None = None
    most_seeds: int = 20
    budget_s: float | None = None

    def __post_init__(self) -> None:
        if not FEWEST_SEEDS <= self.most_seeds <= MOST_SEEDS:
            raise InvalidInputError(
                f"most_seeds is {self.most_seeds}", hint=f"Give a number from {FEWEST_SEEDS} to {MOST_SEEDS}."
            )
        if self.budget_s is not None and not self.budget_s > 0:
            raise InvalidInputError(f"budget_s is {self.budget_s}", hint="Give a number above 0.")


def parse_shard(text: str) -> tuple[int, int]:
    """Return the number of a shard, from 1, and the count of shards.

    Raises:
        InvalidInputError: The text is none.

    >>> parse_shard("2/8")
    (2, 8)
    """
    found = _SHARD.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InvalidInputError(
            f"shard {quoted(text)} is no part of a run", hint="Write I/N with I from 1 to N: 2/8."
        )
    return int(found[1]), int(found[2])


def jobs_at_once(options: RunOptions, *, separate: bool) -> int:
    """Return the number of trials at once on a device whose times count, or would.

    Raises:
        InvalidInputError: `--jobs auto` without windows that measure what a training needs, or windows on a
            cluster.
    """
    if separate:
        if options.executor != "local":
            raise InvalidInputError(
                "measure.separate times windows on this machine, and the trials run on a cluster",
                hint="Set -s measure.separate=false, or use --executor local.",
            )
        return 1
    if options.jobs == "auto":
        raise InvalidInputError(
            "--jobs auto needs the peak memory of the trials, which is not measured before they train",
            hint="Give a number, or time windows first: -s measure.separate=true.",
        )
    return options.jobs


@dataclass(frozen=True, slots=True)
class Declared:
    """A field of `RunOptions`: its name, its type, its default, and its metadata."""

    name: str
    type: object
    default: object
    option: Option = field(repr=False)


@cache
def declared() -> tuple[Declared, ...]:
    """Return every option of a run in the order of its declaration."""
    hints = get_type_hints(RunOptions, include_extras=True)
    return tuple(
        Declared(each.name, hints[each.name].__origin__, each.default, hints[each.name].__metadata__[0])
        for each in fields(RunOptions)
    )
