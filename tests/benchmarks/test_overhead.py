"""What a trial costs beside its training: `harness run`, the plain script a trial, and one bare loop.

Promised: 12 tiny trials at least 8 times faster than 12 runs of the plain script, and under 0.7 s more a
trial than in the bare loop. All three do the same training: the same checkpoint, corpus, steps, batch size,
padding and threads. A harness with its defaults proves parity as well, which nobody else does; the rounds
take over the proofs of the warm-up.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple, get_args

import pyarrow.parquet as pq
from pytest_benchmark.fixture import BenchmarkFixture

from harness.assets.embedded import checkpoint_folder, corpus_files
from harness.machine.facts import physical_cores
from harness.model.results import TrialResult
from harness.model.values import Engine
from harness.store.reading import load_report
from tests.benchmarks.measured import REPOSITORY

TRIALS: Final = 12
STEPS: Final = 10
ROUNDS: Final = 3
# Plain scripts a round: they take longest.
SCRIPTS: Final = TRIALS // ROUNDS
CHECKPOINT: Final = "embedded/bert-uncased"
THREADS: Final = physical_cores()
ENGINES: Final = get_args(Engine)


class Took(NamedTuple):
    """Seconds on the clock, and of computing: these hardly depend on what else the machine does."""

    seconds: float
    cpu_seconds: float


SUITE: Final = f"""
name: ENGINE
task: glue/mrpc
matrix:
  checkpoint: [bert-base-uncased]
  padding: [dynamic]
  device: [cpu]
  engine: [ENGINE]
  seed: {list(range(TRIALS))}
train: {{max_steps: {STEPS}, per_device_train_batch_size: 8, learning_rate: 5e-5}}
measure: {{warmup_steps: 2, threads: {THREADS}}}
"""


def environ() -> dict[str, str]:
    """One environment for all: without idle threads that spin, so that a busy machine slows all alike."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    threads = {"OMP_NUM_THREADS": str(THREADS), "GOMP_SPINCOUNT": "3000", "TOKENIZERS_PARALLELISM": "false"}
    return kept | threads | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"}


def timed(*command: object, cwd: Path) -> tuple[Took, str]:
    """What a command took as a whole, and what it printed."""
    cpu, since = cpu_seconds(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    took = Took(time.perf_counter() - since, cpu_seconds() - cpu)
    assert done.returncode == 0, done.stderr[-2_000:]
    return took, done.stdout


def cpu_seconds() -> float:
    """What all processes started from here, and those they started, have computed until their end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_glue(folder: Path) -> None:
    """The embedded corpus in the form of GLUE's own files, as the plain script reads it."""
    for split, name in (("train", "train.tsv"), ("validation", "dev.tsv")):
        rows = pq.ParquetFile(corpus_files()[split][0]).read().to_pylist()
        lines = [
            f"{row['label']}\t{at}\t{at}\t{row['sentence1']}\t{row['sentence2']}"
            for at, row in enumerate(rows)
        ]
        (folder / name).write_text("\n".join(["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", *lines, ""]))


class Sides:
    """The plain script, the bare loop, the harness with each engine: each with what its runs took so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.took: dict[str, list[Took]] = {"plain": [], "bare": [], **{engine: [] for engine in ENGINES}}
        self.training_seconds: list[float] = []
        write_glue(folder)
        for engine in ENGINES:
            (folder / f"{engine}.yaml").write_text(SUITE.replace("ENGINE", engine))
        self._same = ["--checkpoint", checkpoint_folder(CHECKPOINT), "--data", folder]
        self._same += ["--max-steps", STEPS, "--batch-size", 8, "--threads", THREADS]

    def plain(self, seed: int) -> None:
        """One run of the plain script."""
        script = REPOSITORY / "tests" / "benchmarks" / "plain_script.py"
        same = [*self._same, "--padding", "dynamic", "--seed", seed]
        self.took["plain"].append(timed(script, *same, cwd=self._folder)[0])

    def bare(self) -> None:
        """All trainings in one process."""
        took, said = timed("-m", "tests.benchmarks.bare_loop", *self._same, cwd=self._folder)
        self.took["bare"].append(took)
        self.training_seconds += json.loads(said.splitlines()[-1])["training_seconds"]

    def harness(self, engine: str) -> None:
        """All trials in one new run."""
        command = ("-m", "harness", "run", f"{engine}.yaml", "--assets", "embedded", "--fresh")
        self.took[engine].append(timed(*command, cwd=self._folder)[0])

    def forget(self) -> None:
        """Drop the times of the warm-up."""
        self.took = {name: [] for name in self.took}
        self.training_seconds = []


def test_twelve_tiny_trials(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    sides = Sides(tmp_path)
    # Whoever comes first fills the caches: compiled modules, tokens, peaks of the machine.
    sides.plain(0)
    sides.bare()
    for engine in ENGINES:
        sides.harness(engine)
    sides.forget()
    seeds = iter(range(TRIALS))

    def one_round() -> None:
        for _ in range(SCRIPTS):
            sides.plain(next(seeds))
        sides.bare()
        for engine in ENGINES:
            sides.harness(engine)

    benchmark.pedantic(one_round, rounds=ROUNDS)  # type: ignore[no-untyped-call]  # the library's own
    benchmark.extra_info.update(figures(sides))
    for engine in ENGINES:
        benchmark.extra_info[f"{engine}_trials"] = own_figures(tmp_path, engine)


def figures(sides: Sides) -> dict[str, Any]:
    """The ratios to the plain scripts, and what a trial costs more than in the bare loop."""
    found: dict[str, Any] = {
        "trials": TRIALS,
        "steps": STEPS,
        "threads": THREADS,
        "bare_training_seconds": median(sides.training_seconds),
    }
    for unit in Took._fields:
        each = {name: [getattr(took, unit) for took in runs] for name, runs in sides.took.items()}
        # The scripts of a round stand for all twelve, against what ran beside them in that round.
        starts = range(0, TRIALS, SCRIPTS)
        plain = [ROUNDS * sum(each["plain"][start : start + SCRIPTS]) for start in starts]
        bare = each["bare"]
        found |= {f"plain_scripts_{unit}": median(plain), f"bare_loop_{unit}": median(bare)}
        found[f"all_{unit}"] = each
        for engine in ENGINES:
            ours = each[engine]
            ratios = [scripts / run for scripts, run in zip(plain, ours, strict=True)]
            above = [(run - loop) / TRIALS for loop, run in zip(bare, ours, strict=True)]
            found |= {
                f"{engine}_{unit}": median(ours),
                f"{engine}_times_less_{unit}_than_plain_scripts": median(ratios),
                f"{engine}_{unit}_a_trial_above_bare_loop": median(above),
            }
    return found


def own_figures(folder: Path, engine: str) -> dict[str, float]:
    """From the last run: what a trial takes, and how long after its scheduling it trains.

    What all share is imported before the first trial, for the proof.
    """
    last = max(folder.glob(f"reports/{engine}/*/report.json"))
    results = load_report(last).results
    assert [result.status for result in results] == ["completed"] * TRIALS
    waits = [seconds_until_training(result, last.parent) for result in results]
    return {
        "trial_seconds": median(result.duration_s for result in results),
        "trains_after_seconds": median(waits),
        "slowest_trains_after_seconds": max(waits),
    }


def seconds_until_training(result: TrialResult, run: Path) -> float:
    """From when its job was written until it had loaded everything."""
    scheduled = (run / "trials" / result.trial.id / "job.json").stat().st_mtime
    loading = (
        result.value(f"{phase}_seconds") for phase in ("load_data", "tokenize", "load_model", "roofline")
    )
    return result.started.timestamp() - scheduled + sum(filter(None, loading))
