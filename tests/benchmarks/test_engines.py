"""How fast training is: our engines beside the plain script, round by round in one run.

The yardstick is what people use today: transformers' `Trainer` in a process of its own, padded to 128 in fp32
as run_glue.py does it, and padded to each batch's longest row in bf16. All take the same checkpoint, corpus,
batch size, number of steps and threads, and each of them trains once a round, so that drift hits all alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from pytest_benchmark.fixture import BenchmarkFixture

from harness.analysis.naming import labels
from harness.analysis.stats.ratios import compare_trials
from harness.assets.embedded import checkpoint_folder
from harness.machine.facts import physical_cores
from harness.store.reading import load_report
from tests.benchmarks.measured import REPOSITORY
from tests.benchmarks.test_overhead import timed, write_glue

ROUNDS: Final = 4
THREADS: Final = physical_cores()
WARM_UP: Final = 10
SCRIPTS: Final = {
    "plain script, static 128, fp32": ("--padding", "static"),
    "plain script, dynamic, bf16": ("--padding", "dynamic", "--bf16"),
}
SUITE: Final = """
name: engines
task: {max_length: 128}
matrix:
  checkpoint: [CHECKPOINT]
  padding: [dynamic, unpadded]
  device: [cpu]
  precision: [bf16]
  engine: [trainer, loop]
  last_layer: [all, cls]
exclude: [{padding: dynamic, last_layer: cls}, {engine: trainer, last_layer: cls}]
train: {max_steps: STEPS, per_device_train_batch_size: 8, learning_rate: 5e-5}
measure: {warmup_steps: WARM_UP, threads: THREADS}
"""
Rates = dict[str, list[float]]


def test_a_pretrained_checkpoint_on_real_pairs(
    benchmark: BenchmarkFixture, mrpc_dir: Path, minilm: Path, tmp_path: Path
) -> None:
    race(benchmark, tmp_path, Contest("minilm", minilm, mrpc_dir, steps=40))


def test_an_embedded_checkpoint_where_overhead_dominates(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    write_glue(tmp_path)
    folder = checkpoint_folder("embedded/bert-uncased")
    race(benchmark, tmp_path, Contest("bert-base-uncased", folder, tmp_path, steps=110))


class Contest:
    """What all of them train on, and how each is started; `checkpoint` is its name in a suite."""

    def __init__(self, checkpoint: str, folder: Path, data: Path, *, steps: int) -> None:
        self._same = ["--checkpoint", folder, "--data", data, "--max-steps", steps, "--batch-size", 8]
        self._same += ["--threads", THREADS, "--warmup-steps", WARM_UP]
        values = {"CHECKPOINT": checkpoint, "STEPS": steps, "WARM_UP": WARM_UP, "THREADS": THREADS}
        self.suite = SUITE
        for name, value in values.items():
            self.suite = self.suite.replace(name, str(value))
        self._assets = "auto" if checkpoint == "minilm" else "embedded"

    def script(self, options: Sequence[str], cwd: Path) -> float:
        """Examples a second of one run of the plain script."""
        plain = REPOSITORY / "tests" / "benchmarks" / "plain_script.py"
        _, said = timed(plain, *self._same, *options, cwd=cwd)
        return float(json.loads(said.splitlines()[-1])["train_samples_per_second"])

    def ours(self, cwd: Path) -> dict[str, tuple[float, float | None]]:
        """Of each variant examples a second, and the share of the matrix peak, in one run of `harness`."""
        command = ["-m", "harness", "run", "engines.yaml", "--assets", self._assets, "--fresh"]
        timed(*command, "--no-parity", cwd=cwd)
        results = load_report(max(cwd.glob("reports/engines/*/report.json"))).results
        named = labels(result.trial for result in results)
        return {
            named[result.trial.variant_id]: (
                result.value("train_samples_per_second") or 0.0,
                result.value("matmul_peak_share"),
            )
            for result in results
        }


def race(benchmark: BenchmarkFixture, folder: Path, contest: Contest) -> None:
    """Let all train once a round, and keep the rates and the ratio of each pair with its interval."""
    rates: Rates = {}
    shares: Rates = {}
    (folder / "engines.yaml").write_text(contest.suite)

    def one_round() -> None:
        for name, options in SCRIPTS.items():
            rates.setdefault(name, []).append(contest.script(options, folder))
        for name, (rate, share) in contest.ours(folder).items():
            rates.setdefault(name, []).append(rate)
            if share is not None:
                shares.setdefault(name, []).append(share)

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]  # the library's own
    # The round that filled the caches.
    kept = {name: values[1:] for name, values in rates.items()}
    benchmark.extra_info.update(
        threads=THREADS,
        train_samples_per_second=kept,
        matmul_peak_share={name: values[1:] for name, values in shares.items()},
        ratios=ratios(kept),
    )


def ratios(rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """How many times as fast the later of each two is, with the interval at 95 %."""
    found = {}
    for before, after in combinations(rates, 2):
        effect = compare_trials(rates[before], rates[after], paired=True)
        found[f"{after} / {before}"] = {"ratio": effect.value, "interval": effect.interval}
    return found
