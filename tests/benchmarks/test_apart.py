"""Windows of steps and shared trainings against whole trainings one at a time: rates, verdicts, and time.

Aims: the rates of windows equal those of whole trainings within the noise of this machine, and `padding.yaml`
on stand-ins comes to the same verdicts in at most a third of the time. `HARNESS_BENCH_APART` names the
checkpoint of the suite and its seeds: `distilbert-base-uncased 0,1,2` by default.

A machine that others use changes its speed within minutes, so both kinds of rates are taken in turn, seed by
seed, first the one and then the other. `chosen_steps` is free of other load: the rate of the steps that a
window chooses, by their times in the whole training, over that of all its steps.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Final

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.analysis.comparison.comparing import compare
from harness.assets.embedded import checkpoint_folder
from harness.assets.find_data import find_data
from harness.model.results import Report, TrialResult
from harness.model.tasks import Task
from harness.store.reading import load_report
from harness.training.batching import Batch, plan_epoch, step_window
from harness.training.loading import load_corpus
from harness.training.tokenizing.tokens import tokenize
from tests.benchmarks.measured import REPOSITORY, harness

CHECKPOINT, SEEDS = os.environ.get("HARNESS_BENCH_APART", "distilbert-base-uncased 0,1,2").split()
SUITE: Final = REPOSITORY / "suites" / "padding.yaml"
RATE: Final = "train_real_tokens_per_second"
METRICS: Final = ("eval_accuracy", "eval_f1", RATE)
WARM_UP: Final = 10
ROUNDS: Final = 8
SIDES: Final = {
    "whole": (),
    "apart": ("-s", "measure.separate=true", "-s", "measure.quality=once_per_function", "--jobs", "auto"),
}


class Runs:
    """The reports of both sides, and the seconds that each took."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.reports: dict[str, Report] = {}
        self.seconds: dict[str, float] = {}

    def run(self, side: str, seeds: str = SEEDS) -> None:
        """Run the suite as this side does; both prove everything, and tokenize for themselves."""
        place = self._folder / side
        place.mkdir()
        chosen = ("-s", f"matrix.checkpoint=[{CHECKPOINT}]", "-s", f"matrix.seed=[{seeds}]")
        since = time.perf_counter()
        done = harness("run", SUITE, "--assets", "embedded", *chosen, *SIDES[side], cwd=place)
        self.seconds[side] = time.perf_counter() - since
        assert done.code in (0, 1), done.errors[-2_000:]
        (report,) = place.glob("reports/padding/*/report.json")
        self.reports[side] = load_report(report)


def rates(report: Report) -> dict[str, float]:
    """The rate of the only trial of each padding."""
    found: dict[str, float] = {}
    for result in report.results:
        assert result.status == "completed", result.reason
        rate = result.value(RATE)
        assert rate is not None
        found[result.trial.padding.strategy] = rate
    return found


def memory(report: Report) -> dict[str, float]:
    """The peak of host memory by padding."""
    found = {each.trial.padding.strategy: each.value("peak_memory_host_bytes") for each in report.results}
    return {name: peak for name, peak in found.items() if peak is not None}


def of_chosen_steps(result: TrialResult, lengths: np.ndarray) -> float:
    """Rate of the steps that a window would choose over that of all, by the times of the whole training."""
    trial = result.trial
    size, longest = trial.batch_size, int(lengths.max())
    steps = [
        [batch]
        for epoch in range(trial.train.num_train_epochs)
        for batch in plan_epoch(
            lengths, size, trial.padding, longest=longest, seed=int(str(trial.seed)), epoch=epoch
        )
    ][WARM_UP:]
    found = result.measurement("train_step_seconds")
    assert found is not None
    seconds = dict(zip(map(id, steps), found.values, strict=True))

    def rate(chosen: Sequence[Sequence[Batch]]) -> float:
        return sum(step[0].real_tokens for step in chosen) / sum(seconds[id(step)] for step in chosen)

    return rate(step_window(steps, 0).timed) / rate(steps)


def lengths_of(result: TrialResult, cache: Path) -> np.ndarray:
    """The tokens of every training example."""
    assert result.checkpoint is not None
    corpus = load_corpus(Task(), find_data(Task(), "embedded", note=lambda _text: None))
    return tokenize(corpus, checkpoint_folder(result.checkpoint.name), 512, cache).train.lengths


def verdicts(report: Report) -> dict[str, str]:
    """The verdict of every padding against dynamic."""
    rows = compare([report], by="padding", baseline="dynamic", metrics=METRICS).rows
    return {f"{row.candidate.name} {row.metric}": row.verdict for row in rows}


@pytest.mark.timeout(3600)
def test_windows_and_shared_trainings_against_whole_trainings(
    benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    runs = Runs(tmp_path)
    runs.run("whole")
    benchmark.pedantic(runs.run, args=("apart",), rounds=1)  # type: ignore[no-untyped-call]  # the library's own
    whole, apart = (memory(runs.reports[side]) for side in SIDES)
    benchmark.extra_info.update(
        checkpoint=CHECKPOINT,
        seconds=runs.seconds,
        time_ratio=runs.seconds["apart"] / runs.seconds["whole"],
        memory_ratio={name: apart[name] / whole[name] for name in whole},
        verdicts={side: verdicts(report) for side, report in runs.reports.items()},
    )


@pytest.mark.timeout(3600)
def test_rates_of_windows_and_of_whole_trainings_in_turn(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    ratios: dict[str, list[float]] = {}
    chosen: list[float] = []

    def seed_by_seed() -> None:
        for seed in range(ROUNDS):
            runs = Runs(tmp_path / str(seed))
            (tmp_path / str(seed)).mkdir()
            for side in sorted(SIDES, reverse=bool(seed % 2)):
                runs.run(side, str(seed))
            whole, apart = (rates(runs.reports[side]) for side in SIDES)
            for padding, rate in whole.items():
                ratios.setdefault(padding, []).append(apart[padding] / rate)
            trials = runs.reports["whole"].results
            lengths = lengths_of(trials[0], tmp_path / "cache")
            chosen.extend(of_chosen_steps(result, lengths) for result in trials)

    benchmark.pedantic(seed_by_seed, rounds=1)  # type: ignore[no-untyped-call]  # the library's own
    # Trials of one seed ran within the same minutes: their mean is one value.
    means = [fmean(map(math.log, of_seed)) for of_seed in zip(*ratios.values(), strict=True)]
    benchmark.extra_info.update(
        checkpoint=CHECKPOINT,
        rate_ratios=ratios,
        rate_ratio=math.exp(fmean(means)),
        standard_error=stdev(means) / math.sqrt(ROUNDS),
        chosen_steps=[round(each, 4) for each in chosen],
    )
