"""What `torch.compile` costs and saves: eager and compiled steps in turns, in one process.

Each round takes one step of either model over the same static batch of real pairs, in changing order, so that
other load on the machine hits both alike. Compilation starts from empty caches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.analysis.stats.ratios import compare_trials
from harness.machine.facts import physical_cores
from harness.model.suite import Measure
from harness.model.trial import Trial
from harness.model.values import Compile, Padding
from harness.running.preflight import RealAssets, prepare, this_machine

ROUNDS: Final = 15
EAGER, COMPILED = (Compile(mode=mode) for mode in ("off", "default"))


def test_a_static_batch_of_a_pretrained_checkpoint(
    benchmark: BenchmarkFixture,
    mrpc_dir: Path,
    minilm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    steps = {chosen.mode: step_of(chosen, tmp_path) for chosen in (EAGER, COMPILED)}
    began = time.perf_counter()
    steps["default"]()
    spent = time.perf_counter() - began
    seconds: dict[str, list[float]] = {name: [] for name in steps}

    def one_round() -> None:
        forwards = len(seconds["off"]) % 2
        for name in sorted(steps, reverse=bool(forwards)):
            started = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - started)

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)  # type: ignore[no-untyped-call]  # the library's own
    kept = {name: values[1:] for name, values in seconds.items()}
    effect = compare_trials(kept["default"], kept["off"], paired=True)
    saved = median(kept["off"]) - median(kept["default"])
    benchmark.extra_info.update(
        threads=physical_cores(),
        first_step_seconds=spent,
        step_seconds=kept,
        eager_over_compiled={"ratio": effect.value, "interval": effect.interval},
        break_even_steps=math.ceil(spent / saved) if saved > 0 else None,
    )


def step_of(chosen: Compile, folder: Path) -> Callable[[], None]:
    """Return one training step of MiniLM over the first planned batch, with AdamW."""
    import torch  # noqa: PLC0415 - collected without it

    from harness.training.batching import plan_epoch  # noqa: PLC0415 - as above
    from harness.training.data import load_corpus  # noqa: PLC0415 - as above
    from harness.training.padding import Collator  # noqa: PLC0415 - as above
    from harness.training.preparing import prepare_model, prepare_tokens  # noqa: PLC0415 - as above

    torch.set_num_threads(physical_cores())
    trial = Trial(checkpoint="minilm", padding=Padding(strategy="static"), device="cpu", compile=chosen)
    found = prepare([trial], Measure(), RealAssets("auto"), this_machine(), lambda _: None)
    job = found.jobs[trial.id].model_copy(update={"cache_dir": str(folder / "cache")})
    corpus = load_corpus(trial.task, job.data)
    tokens = prepare_tokens(job, corpus)
    loaded = prepare_model(job, corpus, tokens, torch.device("cpu"))
    collate = Collator(tokens.train, trial.padding, loaded.columns, tokens.longest, tokens.pad_token_id)
    plan = plan_epoch(tokens.train.lengths, 8, trial.padding, longest=tokens.longest, seed=0, epoch=0)
    inputs: dict[str, Any] = collate(plan[0].rows.tolist())
    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=5e-5, fused=True)

    def step() -> None:
        loaded.model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
