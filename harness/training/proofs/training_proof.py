"""The proof of training: a few short trainings by the trial's own engine, compared with the reference."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from transformers import AutoConfig

from harness.model.arguments import Train
from harness.model.job import Job
from harness.model.proof import TrainingCheck, TrainingProof
from harness.model.results import TrialResult
from harness.model.seeds import Seed, number_of
from harness.model.trial import Trial
from harness.training import ranks
from harness.training.batching import OF_TRAINER, plan_epoch
from harness.training.proofs.continuing import check_continued, continues
from harness.training.proofs.findings import none_of, within
from harness.training.proofs.instruments import check_instruments
from harness.training.proofs.joined_ranks import check_apart, check_equal, put_together
from harness.training.proofs.kernels import check_kernels
from harness.training.proofs.low_rank import adapt_reference, check_adapters
from harness.training.proofs.masks.dropout_sites import rates_of
from harness.training.proofs.masks.dropping import (
    Dropping,
    check_dropout,
    check_reduced_dropout,
    check_repetition,
)
from harness.training.proofs.meters import check_meters
from harness.training.proofs.precision import check_dtypes, check_reduced, check_steps, count_effective
from harness.training.proofs.records import check_records
from harness.training.proofs.reference import Tensors, evaluate_reference, load_reference, train_reference
from harness.training.proofs.reference_batches import draw_batches, inputs_of, row_of, takes_types
from harness.training.proofs.scores import check_counts, check_history, check_metrics
from harness.training.proofs.seeding import Beginning, check_seeds, other_seeds
from harness.training.proofs.small_trainings import (
    WARMUP_STEPS,
    BrokenTrainingError,
    Fit,
    Run,
    Runner,
    names_of,
    small_rows,
    write_small,
)
from harness.training.proofs.token_arrays import check_padding
from harness.training.proofs.trajectory import LOGIT_LIMIT, Trajectory, check_evaluation, check_trajectory
from harness.training.proofs.watching import parameters_of
from harness.training.tokenizing.tokens import Tokenized
from harness.training.variants.attention import computes_fp32, drops_as_in_fp32
from harness.training.variants.compiling import is_compiled

_EPOCHS: Final = 6
# Modulo any smaller number it is an earlier epoch, whose batches are others.
_FAR_EPOCH: Final = 1000
_ACCUMULATED: Final = 3

UNPROVED: Final = (
    "other sizes of the family: the proof trains two narrow layers with random weights on generated rows",
    "other values of the settings of training than the proof's",
    "optimizer steps after the second epoch, and the order of batches after the sixth",
    "the data set's own texts, labels and tokenisation",
)


def prove_training(job: Job, device: torch.device, found: TrialResult, fit: Fit) -> TrainingProof:
    """Train a small model of the checkpoint's class as the job's trial asks, and compare every step.

    Args:
        job: its trial is one that `analysis.training_verdicts.training_of` gives.
        device: where the engine trains.
        found: a result with an environment, which the trainings' own results are made from.
        fit: what trains a trial in fact.
    """
    threads = torch.get_num_threads()
    # Small models gain nothing from more.
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="harness-proof-") as folder:
            # transformers saves in rank 0 alone.
            proof = _Proof(job, device, found, fit, Path(ranks.gather(folder)[0]))
            checks: list[TrainingCheck] = []
            try:
                checks.extend(proof.checks())
            except BrokenTrainingError as error:
                checks.append(none_of("training", [str(error)], ""))
            return TrainingProof(checks=tuple(checks), unproved=proof.unproved())
    finally:
        torch.set_num_threads(threads)


class _Proof:
    """The small checkpoints, and the checks on trainings of them."""

    def __init__(self, job: Job, device: torch.device, found: TrialResult, fit: Fit, folder: Path) -> None:
        # A worker's folder is for the state of a trial.
        bare = job.model_copy(update={"folder": None})
        self._job, self._runner, self._device, self._folder = (
            job,
            Runner(bare, device, found, fit),
            device,
            folder,
        )
        source = Path(job.checkpoint.path)
        self._still = write_small(source, folder / "still", dropout=False)
        self._dropping = write_small(source, folder / "dropping", dropout=True)
        ranks.wait()
        config = AutoConfig.from_pretrained(self._still, local_files_only=True, trust_remote_code=False)
        # Of 29 rows in batches of four the last has one, so that ranks get none; of 15 three, unequal shares.
        self._tokens, self._few = (
            small_rows(config, count, 19, regression=job.trial.task.kind == "regression")
            for count in (29, 15)
        )
        self._watches_attention = True

    def checks(self) -> Iterator[TrainingCheck]:
        """Every check, in the order of a training."""
        trial = self._job.trial
        named = ("attention_backend", "attention_kernel", "attention_revision")
        other: dict[str, Any] = {"attention": "auto", **dict.fromkeys(named)}
        in_fp32 = trial.model_copy(update={"precision": "fp32"})
        dropping = in_fp32 if drops_as_in_fp32(trial) else in_fp32.model_copy(update=other)
        adapter = trial.adapter.model_copy(update={"dropout": 0.0})
        structure = (in_fp32 if computes_fp32(trial) else dropping).model_copy(update={"adapter": adapter})
        yield check_metrics(trial.task.kind)
        yield check_records(trial.task.kind)
        yield check_instruments(self._device)
        yield check_meters()
        yield self._plan()
        loaded = self._runner.load(self._still, structure, self._tokens)[1]
        yield check_padding(loaded, self._tokens, self._device)
        yield from check_kernels(loaded, structure, self._tokens, self._device)
        yield from self._trajectory("", structure, self._tokens)
        cut = structure.model_copy(update={"train": _cut(trial.train)})
        full = yield from self._trajectory(", cut short", cut, self._few)
        if trial.precision == "fp32":
            yield check_dtypes("fp32", full.seen)
        else:
            reduced = self._runner.train(
                self._still, trial.model_copy(update={"train": cut.train}), self._few
            )
            yield check_dtypes(trial.precision, reduced.seen)
            if trial.precision != "fp16":
                # A gradient scaler unscales inside of the step.
                yield check_steps(trial.precision, cut.train, reduced.start, reduced.seen.updates)
            steps = [count_effective(run.start, run.seen.updates) for run in (full, reduced)]
            left_out = max(steps[0] - steps[1], 0) if trial.precision == "fp16" else 0
            yield from check_reduced(
                trial.precision,
                (full.seen, full.result),
                (reduced.seen, reduced.result),
                left_out=left_out,
            )
        yield from self._dropout(dropping)

    def unproved(self) -> tuple[str, ...]:
        """Return the aspects of this trial that no check covers."""
        trial = self._job.trial
        left = list(UNPROVED)
        if not self._watches_attention:
            left.append("dropout of attention: the model does not use transformers' attention interface")
        if is_compiled(trial):
            left.append("gradients through the masks of dropout in a compiled graph")
            left.append("continuing a training of a compiled graph that was interrupted")
        if trial.train.optim in ("adafactor", "adagrad", "rmsprop"):
            left.append(f"parameters whose gradient is zero but for rounding, with {trial.train.optim}")
        if not computes_fp32(trial):
            left.append("the trial's attention beyond its reduced precision: it has no kernel for fp32")
        if trial.precision != "fp32":
            left.append(f"steps in {trial.precision} beyond dtypes and a bound on losses and logits")
            left.append(f"masks of attention's dropout in {trial.precision}")
        return tuple(left)

    def _plan(self) -> TrainingCheck:
        """Compare batches of 449 rows, three windows of `bucketed`, over seven epochs and for three seeds."""
        trial = self._job.trial
        lengths = np.random.default_rng(1).integers(4, 90, 449)
        problems = []
        first = number_of(trial.seed, "order")
        epochs = [(first, epoch) for epoch in range(_EPOCHS)]
        if trial.padding.strategy not in OF_TRAINER:
            # The plan of an epoch of `Trainer`'s samplers draws all epochs before it.
            epochs.append((first, _FAR_EPOCH))
        for seed, epoch in (*epochs, *((other, 0) for other in other_seeds(first))):
            given = plan_epoch(
                lengths, 4, trial.padding, longest=90, seed=seed, epoch=epoch, accumulated=_ACCUMULATED
            )
            due = draw_batches(lengths, 4, trial.padding.strategy, seed, epoch, _ACCUMULATED)
            if [batch.rows.tolist() for batch in given] != due:
                problems.append(f"epoch {epoch + 1} of seed {seed} has other batches than the reference's")
        return none_of(
            "batch plan",
            problems,
            f"{len(epochs)} epochs of {len(due)} batches and two other seeds follow the reference",
        )

    def _trajectory(self, name: str, trial: Trial, tokens: Tokenized) -> Generator[TrainingCheck, None, Run]:
        run = self._runner.train(self._still, trial, tokens)
        reference = load_reference(self._still, len(names_of(trial.task)), number_of(trial.seed, "init"))
        adapt_reference(reference, trial.adapter, run.start)
        start = parameters_of(reference)
        yield within(f"initial parameters{name}", "largest difference", _apart(run, start), 1e-7)
        epochs = tuple(train_reference(reference, trial, tokens))
        seen = run.seen
        if trial.world_size > 1:
            every = ranks.gather(run.seen)
            yield check_equal(name, every)
            seen = put_together(
                every, [batch for epoch in epochs for step in epoch.steps for batch in step.batches]
            )
        found = Trajectory(
            name=name,
            train=trial.train,
            tokens=tokens,
            seen=seen,
            result=run.result,
            start=start,
            epochs=epochs,
            used=run.used,
            seconds=run.seconds,
        )
        yield from check_trajectory(found)
        if trial.adapter.kind == "lora":
            yield check_adapters(f"adapters{name}", reference, run.start, run.end)
        yield from check_evaluation(found)
        yield check_history(found)
        yield check_counts(found, trial, WARMUP_STEPS, reference)
        return run

    def _dropout(self, trial: Trial) -> Iterator[TrainingCheck]:
        tokens = self._tokens
        reference = load_reference(self._dropping, len(names_of(trial.task)), number_of(trial.seed, "init"))
        adapt_reference(reference, trial.adapter)
        types = takes_types(reference, trial.token_type_ids)
        modules, attention = rates_of(
            reference, inputs_of(tokens.train, [0, 1], pad_token_id=tokens.pad_token_id, types=types)
        )
        run = self._runner.train(self._dropping, trial, tokens, sites=modules)
        self._watches_attention = run.dropped.watches_attention
        seed, strategy = number_of(trial.seed, "order"), trial.padding.strategy
        accumulated = trial.train.gradient_accumulation_steps
        passes = [
            len(draw_batches(tokens.train.lengths, trial.batch_size, strategy, seed, at, accumulated))
            for at in range(trial.train.num_train_epochs)
        ]
        yield from check_dropout(Dropping(run.dropped, modules, attention, passes))
        model = self._runner.load(self._dropping, trial, tokens)[1].model
        yield from check_repetition(model, self._device)
        if trial.world_size > 1:
            yield check_apart(run.dropped)
        given = np.array([] if run.result.predictions is None else run.result.predictions.logits)
        if run.end.keys() == dict(reference.named_parameters()).keys():
            _put(reference, run)
        due = evaluate_reference(reference, tokens.evaluation, tokens.pad_token_id, types=types).numpy()
        apart = float(np.abs(given - due).max()) if given.shape == due.shape else float("nan")
        yield within("logits after dropout", "largest difference from the last weights'", apart, LOGIT_LIMIT)
        if continues(trial):
            state = self._folder / "state"
            yield from check_continued(run, self._runner, self._dropping, trial, tokens, state)
        one_step = trial.train.model_copy(update={"max_steps": 1})

        def train_once(seed: Seed) -> Run:
            seeded = trial.model_copy(update={"train": one_step, "seed": seed})
            return self._runner.train(self._dropping, seeded, tokens, sites=modules)

        one_order = trial.padding.strategy == "batch_rebalance"
        yield from check_seeds(
            run, trial.seed, train_once, partial(self._beginning, trial), one_order=one_order
        )
        if self._job.trial.precision != "fp32":
            yield self._reduced_dropout(trial, modules)

    def _beginning(self, trial: Trial, seed: Seed) -> Beginning:
        """The parameters and the first epoch's rows of the reference with this seed."""
        outputs, train = len(names_of(trial.task)), self._tokens.train
        reference = load_reference(self._dropping, outputs, number_of(seed, "init"))
        adapt_reference(reference, trial.adapter)
        parameters = {name: each for name, each in parameters_of(reference).items() if "lora_" not in name}
        if trial.world_size > 1:
            return Beginning(parameters, ())
        batches = draw_batches(
            train.lengths,
            trial.batch_size,
            trial.padding.strategy,
            number_of(seed, "order"),
            0,
            trial.train.gradient_accumulation_steps,
        )
        return Beginning(parameters, [tuple(row_of(train, row) for row in batch) for batch in batches])

    def _reduced_dropout(self, trial: Trial, modules: dict[str, float]) -> TrainingCheck:
        """Dropout modules in the trial's precision; masks of attention do not follow from rounded results."""
        one_step = trial.train.model_copy(update={"max_steps": 1})
        precision = self._job.trial.precision
        reduced = self._job.trial.model_copy(update={"train": one_step})
        run = self._runner.train(self._dropping, reduced, self._tokens, sites=modules)
        return check_reduced_dropout(precision, run.dropped, modules)


def _cut(train: Train) -> Train:
    """Six steps, the last in the second epoch; no accumulation, clipping or decay, warm-up as a share."""
    return train.model_copy(
        update={
            "num_train_epochs": 3,
            "max_steps": 6,
            "gradient_accumulation_steps": 1,
            "learning_rate": train.learning_rate / 2,
            "weight_decay": 0.0,
            "adam_beta1": 0.9,
            "adam_beta2": 0.999,
            "adam_epsilon": 1e-2,
            "max_grad_norm": 0.0,
            # Of six steps 1.2: two, where rounding it in another way gives one.
            "warmup_steps": 0.2,
        }
    )


def _apart(run: Run, start: Tensors) -> float:
    """The largest difference of the parameters that a training begins with."""
    if run.start.keys() != start.keys():
        return float("nan")
    return max(
        float((start[name][run.used.get(name, slice(None))] - given).abs().max())
        for name, given in run.start.items()
    )


@torch.no_grad()
def _put(model: Any, run: Run) -> None:
    """Give the model the parameters that a training ended with."""
    for name, parameter in model.named_parameters():
        parameter[run.used.get(name, slice(None))] = run.end[name]
