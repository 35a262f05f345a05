"""One trial from its job to its result: load, tokenise, then train it or prove it; or tokenise alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import datasets
import torch
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoConfig
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.utils.logging import disable_progress_bar

from harness.analysis.checks.observed import breaches
from harness.assets.digest import checkpoint_digests, files_sha256
from harness.machine.facts import describe_environment, physical_cores
from harness.model.assets import Data
from harness.model.job import Announce, Job, TrialStoppedError
from harness.model.measurements import measured
from harness.model.quality import Predictions, Score, parts_of
from harness.model.results import TrialResult
from harness.model.tasks import Task
from harness.store.trial_folder import STATE
from harness.training import ranks
from harness.training.checkpoints import LoadedModel
from harness.training.describing import describe_checkpoint, describe_data, describe_files
from harness.training.devices import describe_device, open_device
from harness.training.evaluation import METRIC_VERSION, load_metric, predictions_of
from harness.training.fitting import Fitting
from harness.training.input_files import verify_checkpoint, verify_inputs
from harness.training.loading import load_corpus
from harness.training.measuring.phases import PhaseClock
from harness.training.measuring.trial_roofline import find_peaks, with_shares
from harness.training.preparing import prepare_model, prepare_tokens
from harness.training.proofs.function import prove
from harness.training.proofs.own_rows import check_rows
from harness.training.proofs.training_proof import prove_training
from harness.training.resuming import origin_of
from harness.training.saving import save_model
from harness.training.tokenizing.measure import measure_tokenizing
from harness.training.tokenizing.tokens import Tokenized


def run_trial(job: Job, announce: Announce) -> TrialResult:
    """Run a trial in this process, which has touched no device yet.

    Raises:
        TrialStoppedError: with the status and the reason, for everything that can be told apart.
    """
    started, since = datetime.now(UTC), time.monotonic()
    datasets.disable_progress_bars()
    disable_progress_bar()  # type: ignore[no-untyped-call] # transformers leaves it so
    if job.trial.tokenization is not None:
        return measure_tokenizing(job, job.trial.tokenization, announce)
    clock = PhaseClock(announce)
    threads = job.measure.threads or physical_cores()
    # Several ranks share the threads of the trial.
    torch.set_num_threads(max(1, threads // job.trial.world_size))
    device = open_device(ranks.device_of(job.trial), job.trial.precision)
    with ranks.joined(job.trial, device):
        run = _prove_training if job.purpose == "prove_training" else _run
        result = run(job, device, clock, threads, started)
    return result.model_copy(update={"duration_s": time.monotonic() - since})


def _run(job: Job, device: torch.device, clock: PhaseClock, threads: int, started: datetime) -> TrialResult:
    """Train, or prove the function."""
    with clock.phase("load_data"):
        verify_inputs(job)
        corpus = load_corpus(job.trial.task, job.data)
    with clock.phase("tokenize"):
        tokens = ranks.first_alone(lambda: prepare_tokens(job, corpus))
    with clock.phase("load_model"):
        loaded = prepare_model(job, corpus, tokens, device)
        verify_inputs(job)
    data = describe_data(job, corpus, tokens)
    if job.purpose != "time" and ranks.rank() == 0:
        check_rows(job, corpus, tokens, data)
    found = TrialResult(
        trial=job.trial,
        status="completed",
        phase="write",
        checkpoint=describe_checkpoint(job, loaded),
        data=data,
        environment=describe_environment(describe_device(device), threads),
        notes=tokens.notes,
        started=started,
        duration_s=0.0,
    )
    if job.purpose == "prove":
        with clock.phase("prove"):
            parity, predictions = prove(job, device, corpus, tokens, loaded)
            # The plain model was loaded once more.
            verify_checkpoint(job)
        return found.model_copy(update={"parity": parity, "predictions": predictions})
    return _train(job, device, tokens, loaded, clock, found)


def _prove_training(
    job: Job, device: torch.device, clock: PhaseClock, threads: int, started: datetime
) -> TrialResult:
    """The proof of how the job's engine trains, which needs no more than the checkpoint's files."""
    verify_checkpoint(job)
    found = TrialResult(
        trial=job.trial,
        status="completed",
        phase="write",
        checkpoint=describe_files(job),
        environment=describe_environment(describe_device(device), threads),
        started=started,
        duration_s=0.0,
    )
    with clock.phase("prove"):
        proof = prove_training(job, device, found, _train)
        # It reads the config and the tokenizer; later runs take it over for files of these digests.
        verify_checkpoint(job)
    return found.model_copy(update={"training": proof})


def _train(
    job: Job,
    device: torch.device,
    tokens: Tokenized,
    loaded: LoadedModel,
    clock: PhaseClock,
    found: TrialResult,
) -> TrialResult:
    """Return the findings so far, completed by those of a training."""
    environment = found.environment
    assert environment is not None
    assert environment.device is not None
    with clock.phase("roofline"):
        peaks = find_peaks(job, device, tokens, loaded, environment.fingerprint)
    fitting = Fitting(job, device, tokens, loaded, clock)
    every = job.measure.checkpoint_every
    if every is not None and job.folder is not None and job.purpose in ("train", "prove_training"):
        fitting.keep_state(Path(job.folder) / STATE, origin_of(found), every)
    with clock.phase("train"):
        fitting.run()
    with clock.phase("write"):
        # The model maps the file of its weights: a change in place reaches it while it trains.
        verify_checkpoint(job, ("weights",))
        memory = fitting.memory.measurements()
        if job.purpose == "time":
            timings = with_shares(fitting.timings(environment.device), peaks)
            counted = (*timings, *clock.measurements(), *memory)
            return found.model_copy(update={"measurements": counted, "probe": fitting.probe.found})
        if not fitting.leads and job.purpose == "train":
            # It has evaluated nothing: the result is rank 0's.
            return found
        if job.purpose == "train":
            fitting.check_evaluation()
        predictions = predictions_of(fitting.logits, fitting.evaluation, tokens.splits)
    measurements = (
        *with_shares(fitting.measurements(environment.device), peaks),
        measured("trainable_parameters", loaded.trainable),
        measured("total_parameters", loaded.parameters + loaded.added),
        *fitting.of_whole((*clock.measurements(), *memory)),
    )
    result = _with_scores(job.trial.task, found, fitting, loaded, predictions).model_copy(
        update={"measurements": measurements}
    )
    _refuse_breaches(result)
    if job.purpose == "train":
        fitting.check_steps()
    if job.save_to is not None and job.purpose == "train":
        with clock.phase("write"):
            # The mark names the result that is stored, which begins with the window where there is one.
            stored = job.completed_by(result)
            assert found.data is not None
            check = partial(fitting.check_saved, labels=found.data.labels)
            save_model(job, Path(job.save_to), loaded.model, stored, check)
    return result


def _with_scores(
    task: Task, found: TrialResult, fitting: Fitting, loaded: LoadedModel, predictions: Predictions
) -> TrialResult:
    """Return the findings with the scores, observations and notes of a training."""
    assert found.data is not None
    single_class = _of_one_label(found.data, predictions)
    return found.model_copy(
        update={
            "degenerate": fitting.score.degenerate or bool(single_class),
            "epochs": tuple(fitting.history),
            "metric_version": METRIC_VERSION,
            "predictions": predictions,
            "probe": fitting.probe.found,
            "observed": fitting.observed,
            "notes": (
                *found.notes,
                *_notes(loaded, fitting.score, task, single_class),
                *fitting.notes,
            ),
        }
    )


def _refuse_breaches(result: TrialResult) -> None:
    if broken := breaches(result):
        raise TrialStoppedError(
            "failed",
            f"the training did not follow its settings: {'; '.join(broken)}",
            hint="the engine is at fault, not the suite: run `harness prove` and report what it finds",
        )


def _of_one_label(data: Data, predictions: Predictions) -> list[str]:
    """Return the evaluation splits whose examples all have one label, in words."""
    if not predictions.splits:
        return ["evaluation split"] if data.eval_majority_share == 1.0 else []
    return [
        f"evaluation split {split}"
        for split, (start, end) in parts_of(predictions.splits).items()
        if len(set(predictions.labels[start:end])) == 1
    ]


def _notes(loaded: LoadedModel, last: Score, task: Task, single_class: Sequence[str]) -> tuple[str, ...]:
    notes = [loaded.columns_note] if loaded.columns_note else []
    if loaded.adapter_note:
        notes.append(loaded.adapter_note)
    for split in single_class:
        lost = "accuracy and F1 are meaningless" if task.kind == "classification" else "nothing correlates"
        notes.append(f"the {split} has {task.collapsed}: {lost}")
    if last.degenerate:
        notes.append(f"the model predicts {task.collapsed}")
    return tuple(notes)


def warm(job: Job) -> None:
    """Load what trials on the job's checkpoint share; a second time costs a few milliseconds.

    The process that workers are forked from calls it. Nothing here computes with tensors, opens a device or
    reads with Arrow: each would start threads, and what is forked from a process with threads can wait for
    ever for one that it does not have.

    These are the metric, the rules by which transformers renames weights (50 ms in every worker), the model's
    classes, and the digests of the checkpoint's and the data set's files, which also puts the pages of the
    weights into memory. The weights themselves are not loaded here: a worker maps their file copy-on-write,
    so that workers share the pages that they do not change. A worker compares the files with the digests in
    its job, and reads one again that changed since it was read here.

    Raises:
        Exception: of any kind, for a checkpoint that cannot be read: its trial reports the reason.
    """
    load_metric()
    folder = Path(job.checkpoint.path)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    get_checkpoint_conversion_mapping(config.model_type)  # type: ignore[no-untyped-call] # transformers' own
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    checkpoint_digests(folder)
    files_sha256(job.data.files)
