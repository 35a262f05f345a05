"""Checks of a saved model's files: every weight, the names of its classes, and its tokenizer.

Logits of a few rows show neither a weight that no row reads nor one that is rounded as the precision of the
trial rounds, and no name and no token at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from torch import nn
from transformers import AutoConfig, AutoTokenizer

from harness.model.job import TrialStoppedError
from harness.model.values import Adapter
from harness.training.proofs.reference import load_reference
from harness.training.proofs.reference_batches import row_of
from harness.training.proofs.watching import parameters_of, used_rows
from harness.training.tokenizing.tokens import TokenizedSplit

_MOST_NAMED: Final = 3
_TEXTS: Final = 4
# Of a weight that an adapter is merged into, over its largest value: the order of a sum.
_MERGED: Final = 1e-5


def check_saved_files(
    folder: Path,
    checkpoint: Path,
    trained: nn.Module,
    adapter: Adapter,
    labels: Sequence[str],
    split: TokenizedSplit,
) -> None:
    """Compare a saved model with the trained one and with the files of the checkpoint.

    Args:
        folder: of the saved model, with its tokenizer.
        checkpoint: the folder that the training started from.
        trained: the model after its last optimizer step.
        adapter: of the trial.
        labels: the names of the classes from 0, or of the one output of a regression.
        split: whose tokens give texts for the tokenizers.

    Raises:
        TrialStoppedError: `failed`, naming the first differences.
    """
    problems = [
        *islice(_weight_problems(folder, checkpoint, trained, adapter, len(labels)), _MOST_NAMED),
        *_name_problems(folder, labels),
        *_tokenizer_problems(folder, checkpoint, split),
    ]
    if problems:
        raise TrialStoppedError(
            "failed",
            f"the saved model is not the trained one: {'; '.join(problems)}",
            hint="leave out --save-models for this variant, and report it",
        )


def _weight_problems(
    folder: Path, checkpoint: Path, trained: nn.Module, adapter: Adapter, outputs: int
) -> Iterator[str]:
    given, saved = parameters_of(trained), parameters_of(load_reference(folder, outputs, 0))
    used = used_rows(trained)
    before = parameters_of(load_reference(checkpoint, outputs, 0)) if used else {}
    for name, found in saved.items():
        layer, _, leaf = name.rpartition(".")
        limit = 0.0
        if name in used:
            due = before[name]
            due[used[name]] = given[name]
        elif name in given:
            due = given[name]
        elif f"{layer}.base_layer.{leaf}" in given:
            due = given[f"{layer}.base_layer.{leaf}"]
            if leaf == "weight":
                first, second = (given[f"{layer}.lora_{each}.default.weight"] for each in "AB")
                due = due + adapter.alpha / adapter.r * (second @ first)
                limit = _MERGED * float(due.abs().max())
        else:
            yield f"{name} is not among the weights of the trained model"
            continue
        if found.shape != due.shape:
            yield f"{name} has shape {tuple(found.shape)}, due {tuple(due.shape)}"
        elif not (apart := float((found - due).abs().max())) <= limit:
            yield f"{name} differs from the trained weight by {apart:.2g}"


def _name_problems(folder: Path, labels: Sequence[str]) -> Iterator[str]:
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if config.id2label != dict(enumerate(labels)):
        yield f"its classes are {', '.join(config.id2label.values())}, due {', '.join(labels)}"
    if config.label2id != {name: at for at, name in enumerate(labels)}:
        yield f"its ids of classes are {config.label2id}"


def _tokenizer_problems(folder: Path, checkpoint: Path, split: TokenizedSplit) -> Iterator[str]:
    """Encode pairs of texts, one of them in capital letters, by both tokenizers, and one beyond any limit."""
    try:
        own, saved = (
            AutoTokenizer.from_pretrained(each, local_files_only=True, trust_remote_code=False)
            for each in (checkpoint, folder)
        )
    except (OSError, ValueError) as error:
        yield f"its tokenizer cannot be loaded: {str(error).splitlines()[0]}"
        return
    if saved.model_max_length != own.model_max_length:
        yield f"its tokenizer takes {saved.model_max_length} tokens, due {own.model_max_length}"
    rows = [list(row_of(split, row)) for row in range(min(_TEXTS, len(split)))]
    texts = [str(own.decode(row, skip_special_tokens=True)) for row in rows]
    for text in texts:
        pair = (text.upper(), text)
        if saved(*pair, verbose=False).data != own(*pair, verbose=False).data:
            yield "its tokenizer gives other tokens than the checkpoint's"
            return
