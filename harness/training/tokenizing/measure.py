"""A trial that tokenises its data set in one way, several times over, and trains nothing."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch

from harness.machine.facts import describe_environment, physical_cores
from harness.model.job import Announce, Job, Progress, TrialStoppedError
from harness.model.measurements import Measurement, measured
from harness.model.results import TrialResult
from harness.model.values import Tokenization
from harness.training.data import load_corpus
from harness.training.describing import describe_data, describe_files
from harness.training.devices import describe_device
from harness.training.inputs import verify_inputs
from harness.training.measuring.added_memory import with_added_memory
from harness.training.measuring.counters import PeakMemory
from harness.training.measuring.probe import MachineProbe
from harness.training.preparing import prepare_tokens, truncation_length
from harness.training.tokenizing.token_cache import SPLITS
from harness.training.tokenizing.tokens import Tokenized
from harness.training.tokenizing.ways import (
    Encoded,
    differing,
    open_tokenizer,
    parallelism,
    tokenizing,
    write_rows,
)

# One pass of that length tells as much as three short ones, and seeds repeat it.
MOST_PASSES: Final = 3
LONG_SECONDS: Final = 0.5


def measure_tokenizing(job: Job, way: Tokenization, announce: Announce) -> TrialResult:
    """Tokenise both splits in one way: once for its memory and to warm up, then again for its time.

    The reference is computed last: it may start threads, and `num_proc` forks.

    Raises:
        TrialStoppedError: `unavailable` without such a tokenizer; `failed` where any example has other ids
            than in training.
    """
    started, since = datetime.now(UTC), time.monotonic()
    threads = job.measure.threads or physical_cores()
    announce(Progress(phase="load_data"))
    verify_inputs(job)
    corpus = load_corpus(job.trial.task, job.data)
    loaded_s = time.monotonic() - since
    announce(Progress(phase="tokenize"))
    tokenizer = open_tokenizer(job.trial.tokenizer, Path(job.checkpoint.path))
    device = torch.device("cpu")
    with TemporaryDirectory(prefix="harness-tokenize-") as folder, parallelism(way, threads):
        work = tokenizing(write_rows(corpus, Path(folder)), tokenizer, way, truncation_length(job))
        peaks = PeakMemory(device)
        # Threads of torch would block the forks of `num_proc`.
        probe = MachineProbe(device, threads=1, aside=peaks.paused)
        encoded, memory = with_added_memory(work)
        del encoded
        encoded, seconds = _timed(work, announce, probe.read if job.concurrent == 1 else lambda: None)
        peak = peaks.measurements()
        tokens = prepare_tokens(job, corpus)
        _check(encoded, tokens)
    verify_inputs(job)
    return TrialResult(
        trial=job.trial,
        status="completed",
        phase="write",
        checkpoint=describe_files(job),
        data=describe_data(job, corpus, tokens),
        environment=describe_environment(describe_device(device), threads),
        measurements=(*_rates(seconds, tokens), memory, *peak, measured("load_data_seconds", loaded_s)),
        probe=probe.found,
        notes=(f"tokenised by {type(tokenizer).__name__}", *tokens.notes),
        started=started,
        duration_s=time.monotonic() - since,
    )


def _timed(
    work: Callable[[], Encoded], announce: Announce, at_edge: Callable[[], None]
) -> tuple[Encoded, list[float]]:
    """Return the encoding of the last pass and the seconds of each; call `at_edge` before and after all."""
    seconds: list[float] = []
    at_edge()
    while True:
        announce(Progress(phase="tokenize", step=len(seconds) + 1, steps=MOST_PASSES))
        gc.collect()
        begin = time.perf_counter()
        encoded = work()
        seconds.append(time.perf_counter() - begin)
        if len(seconds) == MOST_PASSES or seconds[0] > LONG_SECONDS:
            at_edge()
            return encoded, seconds
        del encoded


def _check(encoded: Encoded, tokens: Tokenized) -> None:
    """Refuse a way whose ids are not those that training takes: its speed would be that of something else."""
    unlike = sum(differing(encoded[name], getattr(tokens, name)) for name in SPLITS)
    if not unlike:
        return
    what = f"{unlike:,} of {len(tokens.train) + len(tokens.evaluation):,} examples have other token ids than"
    if tokens.truncated:
        raise TrialStoppedError(
            "failed",
            f"{what} in training; {tokens.truncated:,} are longer than {tokens.max_length} tokens",
            hint="raise task.max_length: the two tokenizers cut the odd token from different texts of a pair",
        )
    raise TrialStoppedError(
        "failed", f"{what} in training", hint="the checkpoint's vocab.txt and tokenizer.json may not agree"
    )


def _rates(seconds: list[float], tokens: Tokenized) -> tuple[Measurement, ...]:
    examples = len(tokens.train) + len(tokens.evaluation)
    real = int(tokens.train.offsets[-1] + tokens.evaluation.offsets[-1])
    return (
        measured("tokenize_seconds", *seconds),
        measured("tokenize_examples_per_second", *(examples / one for one in seconds)),
        measured("tokenize_tokens_per_second", *(real / one for one in seconds)),
    )
