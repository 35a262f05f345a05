"""Inspect data without training: `python -P -m harness.training.processes.inspecting`.

It reads an `InspectionRequest` as JSON on standard input, and ends its standard output with one line of JSON,
an `InspectionAnswer`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerBase

from harness.model.inspection import (
    Example,
    InspectedBatch,
    Inspection,
    InspectionAnswer,
    InspectionRequest,
    LengthBin,
    ModelInputs,
    SplitCounts,
)
from harness.model.job import Job, TrialStoppedError
from harness.model.quality import parts_of
from harness.model.seeds import number_of
from harness.training.batching import Batch, make_batch, plan_epoch
from harness.training.checkpoints import model_columns
from harness.training.loading import Corpus, load_corpus
from harness.training.padding import Collator
from harness.training.preparing import check_padding, truncation_length
from harness.training.tokenizing.tokens import Tokenized, TokenizedSplit, load_tokenizer, tokenize

_MOST_BINS: Final = 16
_ALONE: Final = {"strategy": "dynamic", "length": None, "multiple_of": None}


def inspect_data(request: InspectionRequest) -> Inspection:
    """Tokenize the data of the jobs, and form the asked batch under the padding of each.

    Raises:
        TrialStoppedError: `failed`, for unusable data or lengths, or a row or a batch beyond the end.
    """
    first = request.jobs[0]
    folder = Path(first.checkpoint.path)
    corpus = load_corpus(first.trial.task, first.data)
    tokens = tokenize(corpus, folder, truncation_length(first), Path(first.cache_dir))
    tokenizer = load_tokenizer(folder)
    model = _model_inputs(first)
    return Inspection(
        checkpoint=first.checkpoint.name,
        stand_in_for=first.checkpoint.requested if first.checkpoint.stand_in else None,
        data=first.data.name,
        tokenizer=type(tokenizer).__name__,
        vocabulary=len(tokenizer),
        max_length=tokens.max_length,
        truncated=tokens.truncated,
        seed=number_of(first.trial.seed, "order"),
        example=_example(first, corpus, tokens, tokenizer, request.example),
        batches=tuple(
            batch for job in request.jobs for batch in _batches(job, tokens, model.columns, request.batch)
        ),
        splits=tuple(_counts(name, split, tokenizer.unk_token_id) for name, split in _splits(first, tokens)),
        lengths=tuple(_bins(tokens)),
        model=model,
    )


def _splits(job: Job, tokens: Tokenized) -> Iterator[tuple[str, TokenizedSplit]]:
    """Yield each split with its name, the training split first."""
    yield job.trial.task.train_split, tokens.train
    if not tokens.splits:
        yield job.trial.task.eval_splits[0], tokens.evaluation
    for name, (start, end) in parts_of(tokens.splits).items():
        yield name, tokens.evaluation.select(np.arange(start, end))


def _example(
    job: Job, corpus: Corpus, tokens: Tokenized, tokenizer: PreTrainedTokenizerBase, row: int
) -> Example:
    if row >= len(corpus.train):
        raise TrialStoppedError(
            "failed",
            f"--example {row}: split {job.trial.task.train_split!r} has {len(corpus.train):,} rows",
            hint=f"Give a row from 0 to {len(corpus.train) - 1}.",
        )
    texts, label = corpus.train.texts[row], corpus.train.labels[row]
    split = tokens.train.select(np.asarray([row]))
    ids = split.input_ids.tolist()
    # The mask is the collator's: it is what a model gets for this row alone.
    alone = Collator(split, job.trial.padding.model_copy(update=_ALONE), ("attention_mask",), 0, 0)([0])
    return Example(
        row=row,
        texts=dict(zip(job.trial.task.text, texts, strict=True)),
        label=label,
        label_name=corpus.label_names[label] if isinstance(label, int) else corpus.label_names[0],
        tokens=tuple(tokenizer.convert_ids_to_tokens(ids)),
        input_ids=tuple(ids),
        token_type_ids=tuple(split.token_type_ids.tolist()),
        attention_mask=tuple(alone["attention_mask"][0].tolist()),
        unknown_tokens=ids.count(tokenizer.unk_token_id),
        length_uncut=len(tokenizer(*texts, truncation=False, verbose=False)["input_ids"]),
    )


def _batches(job: Job, tokens: Tokenized, columns: tuple[str, ...], number: int) -> Iterator[InspectedBatch]:
    """Yield that batch under the job's padding: in file order, and as the first epoch draws it."""
    trial, lengths = job.trial, tokens.train.lengths
    size = trial.train.per_device_train_batch_size
    try:
        check_padding(job, tokens)
    except TrialStoppedError as error:
        yield InspectedBatch(padding=str(trial.padding), batch_size=size, order="file", reason=error.one_line)
        return
    epoch = plan_epoch(
        lengths,
        size,
        trial.padding,
        longest=tokens.longest,
        seed=number_of(trial.seed, "order"),
        epoch=0,
        accumulated=trial.train.gradient_accumulation_steps,
    )
    if number >= len(epoch):
        raise TrialStoppedError(
            "failed",
            f"--batch {number}: an epoch of {len(lengths):,} rows has {len(epoch):,} batches of {size}",
            hint=f"Give a batch from 0 to {len(epoch) - 1}.",
        )
    rows = np.arange(number * size, min((number + 1) * size, len(lengths)))
    in_file = make_batch(rows, lengths, trial.padding, tokens.longest)
    collate = Collator(tokens.train, trial.padding, columns, tokens.longest, tokens.pad_token_id)
    for order, batch in (("file", in_file), ("training", epoch[number])):
        yield InspectedBatch(
            padding=str(trial.padding),
            batch_size=size,
            order="file" if order == "file" else "training",
            rows=tuple(batch.rows.tolist()),
            lengths=tuple(lengths[batch.rows].tolist()),
            shape=_shape(collate, batch),
            real_tokens=batch.real_tokens,
            computed_tokens=batch.computed_tokens,
        )


def _shape(collate: Collator, batch: Batch) -> tuple[int, int]:
    """Return the shape of the tensor that the linear layers compute."""
    if collate.padding.strategy == "unpadded":
        return 1, batch.computed_tokens
    rows, width = collate(batch.rows.tolist())["input_ids"].shape
    return rows, width


def _counts(name: str, split: TokenizedSplit, unknown: int | None) -> SplitCounts:
    lengths = split.lengths
    return SplitCounts(
        split=name,
        rows=len(split),
        tokens=int(lengths.sum()),
        shortest=int(lengths.min()),
        mean=float(lengths.mean()),
        longest=int(lengths.max()),
        unknown_share=None if unknown is None else float((np.asarray(split.input_ids) == unknown).mean()),
    )


def _bins(tokens: Tokenized) -> Iterator[LengthBin]:
    """Yield the histogram: at most 16 bins, as wide as a power of two."""
    width = 1
    while -(-tokens.longest // width) > _MOST_BINS:
        width *= 2
    counts = [
        np.bincount((split.lengths - 1) // width, minlength=-(-tokens.longest // width))
        for split in (tokens.train, tokens.evaluation)
    ]
    filled = np.flatnonzero(counts[0] + counts[1])
    for at in range(int(filled[0]), int(filled[-1]) + 1):
        yield LengthBin(
            least=at * width + 1,
            most=(at + 1) * width,
            train=int(counts[0][at]),
            evaluation=int(counts[1][at]),
        )


def _model_inputs(job: Job) -> ModelInputs:
    """Read the signature of the model's `forward`, from a model without weights."""
    config = AutoConfig.from_pretrained(job.checkpoint.path, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    columns, note = model_columns(model, job.trial.token_type_ids)
    return ModelInputs(
        name=type(model).__name__,
        parameters=tuple(inspect.signature(model.forward).parameters),
        columns=columns,
        note=note,
    )


def answer(request: InspectionRequest) -> InspectionAnswer:
    """Return the inspection, or the reason why there is none."""
    try:
        return InspectionAnswer(found=inspect_data(request))
    except TrialStoppedError as error:
        return InspectionAnswer(reason=error.message, hint=error.hint)


def main() -> None:
    """Answer the one request on standard input."""
    request = InspectionRequest.model_validate_json(sys.stdin.buffer.read())
    sys.stdout.write("\n" + answer(request).model_dump_json() + "\n")


if __name__ == "__main__":
    main()
