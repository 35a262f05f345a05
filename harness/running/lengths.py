"""Refuse, before the first trial, lengths that a checkpoint cannot take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.assets.checkpoint_limits import InputLimits, input_limits
from harness.errors import InvalidInputError
from harness.model.assets import ResolvedCheckpoint
from harness.model.trial import Padding, Trial


def refuse_lengths(trials: Sequence[Trial], checkpoints: Mapping[str, ResolvedCheckpoint]) -> None:
    """Make sure that every row of these trials fits into its checkpoint, as far as their files say.

    What only the data can tell, the longest example for instance, is for the worker to refuse.

    Args:
        trials: what is about to run.
        checkpoints: what was found for each, by trial id.

    Raises:
        InvalidInputError: naming each length with the limit it is beyond, and each tokenizer that cannot pad.
    """
    limits = {path: input_limits(Path(path)) for path in {found.path for found in checkpoints.values()}}
    complaints = dict.fromkeys(
        complaint
        for trial in trials
        if (found := checkpoints.get(trial.id)) is not None
        for complaint in _complaints(trial, _name(found), limits[found.path])
    )
    if complaints:
        raise InvalidInputError(
            "\n".join(complaints),
            hint="Change task.max_length or the padding in the suite, or choose another checkpoint.",
        )


def _complaints(trial: Trial, name: str, limits: InputLimits) -> Iterator[str]:
    if not limits.pads:
        yield f"{name}: its tokenizer has no padding token, so rows of different length make no batch"
    if limits.longest is None:
        return
    if (wanted := trial.task.max_length) is not None and wanted > limits.longest:
        yield f"task.max_length: {wanted} is more than the {limits.longest} tokens that {name} takes"
    if (length := _static_length(trial.padding)) is not None and length > limits.longest:
        yield f"padding {trial.padding}: {length} tokens are more than the {limits.longest} that {name} takes"


def _static_length(padding: Padding) -> int | None:
    if padding.length is None:
        return None
    multiple = padding.multiple_of or 1
    return -(-padding.length // multiple) * multiple


def _name(found: ResolvedCheckpoint) -> str:
    return f"{found.requested} (stand-in {found.name})" if found.stand_in else found.requested
