"""Save a trained model as its checkpoint was: a folder that transformers loads without harness.

An engine or a variant may have changed modules: the embedding has only the rows that the data uses, a linear
layer has an adapter. The saved model is the plain one of the checkpoint with the trained weights: rows of
tokens that the data never uses keep the checkpoint's values, and an adapter is merged.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from harness.model.job import Job, TrialStoppedError
from harness.model.results import TrialResult
from harness.store.folders import is_there
from harness.store.saved_models import is_model, mark_saved
from harness.training.checkpoints import load_model
from harness.training.engines.used_rows import UsedRows
from harness.training.input_files import verify_checkpoint
from harness.training.tokenizing.tokens import load_tokenizer


def save_model(
    job: Job,
    folder: Path,
    trained: PreTrainedModel,
    result: TrialResult,
    check: Callable[[Path], None],
) -> None:
    """Write weights, config and tokenizer, then the mark that names `result`, in place of an earlier model.

    `check` raises for a written model that must not take the place. Runs that save the same trial at the same
    time write apart, and the last one replaces the others' models.

    Raises:
        TrialStoppedError: `failed`, for a folder that is no saved model, weights that are not there, or files
            of the checkpoint that changed during the training.
        OSError: the operating system refused a step.
        StorageError: likewise, for the mark.
    """
    if is_there(folder) and not is_model(folder):
        raise TrialStoppedError(
            "failed",
            f"{folder} exists and is no model that harness saved",
            hint="move it out of the way, or give --save-models another folder",
        )
    plain = _plain(job, trained, result)
    # A run is alone in the folder of its trial, and removes what an attempt of it left that was killed.
    of_run = hashlib.sha256(str(job.folder).encode()).hexdigest()[:8]
    being_written = folder.with_name(f".{folder.name}-{of_run}.tmp")
    shutil.rmtree(being_written, ignore_errors=True)
    being_written.mkdir()
    try:
        plain.save_pretrained(being_written)
        load_tokenizer(Path(job.checkpoint.path)).save_pretrained(being_written)
        check(being_written)
        # Config, tokenizer and unused rows were read again after the training.
        verify_checkpoint(job)
        mark_saved(being_written, result)
        _replace(folder, being_written)
    except BaseException:
        shutil.rmtree(being_written, ignore_errors=True)
        raise


def _replace(folder: Path, new: Path) -> None:
    """Put a folder in the place of another, which other runs may replace meanwhile."""
    while True:
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
        try:
            new.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return


def _plain(job: Job, trained: PreTrainedModel, result: TrialResult) -> PreTrainedModel:
    """Return the checkpoint's own model on the CPU in fp32, with the trained weights."""
    assert result.data is not None
    plain = load_model(
        Path(job.checkpoint.path),
        labels=result.data.labels,
        attention="auto",
        token_type_ids=job.trial.token_type_ids,
        allows=job.allows_weight,
    ).model
    modules = dict(trained.named_modules())
    state = {}
    for name, before in plain.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        after = _trained(modules.get(owner), leaf, before)
        if after is None or after.shape != before.shape:
            raise TrialStoppedError(
                "failed",
                f"the trained {type(trained).__name__} has no {name} of shape {tuple(before.shape)} to save",
                hint="leave out --save-models for this variant, and report it",
            )
        state[name] = after
    plain.load_state_dict(state)
    # Not the path of the checkpoint on this machine.
    plain.config._name_or_path = job.checkpoint.name  # noqa: SLF001 - transformers has no other way to set it
    return plain


def _trained(module: Any, leaf: str, before: torch.Tensor) -> torch.Tensor | None:
    """Return the trained tensor `leaf` of a module, in the place of `before`; None if it has none."""
    if isinstance(module, UsedRows):
        whole = before.clone()
        whole[module.used.cpu()] = module.weight.detach().to(before)
        return whole
    if isinstance(inner := getattr(module, "base_layer", None), nn.Module):
        merged: torch.Tensor = getattr(inner, leaf).detach()
        if leaf == "weight":
            merged = merged + module.get_delta_weight("default").detach()
        return merged.to(before)
    found = getattr(module, leaf, None)
    return found.detach().to(before) if isinstance(found, torch.Tensor) else None
