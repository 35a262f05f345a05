"""Proofs: how far a variant computes from the plain model, and how an engine trains."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from harness.model.frozen import Frozen, is_none


class Parity(Frozen):
    """How far a variant's function lies from the plain one's: same weights and rows, dropout off.

    The plain one is the library's own model, eager attention, padded, fp32. `largest_logit_difference` is
    absolute over all examples and classes; `relative_gradient_error` is |g - g0| / |g0| over all parameters
    after one step; `flipped_predictions` counts examples whose class differs.

    `tensor_gradient_error` is the largest relative error of one parameter's gradient and `tensor` the name of
    that parameter. `fp32` is the same variant computed in fp32, for a trial in a reduced precision. Reports
    written before these were recorded have None. `wrong_rows` counts rows whose token ids, types or label are
    not those of their texts.
    """

    examples: Annotated[int, Field(ge=1)]
    largest_logit_difference: Annotated[float, Field(ge=0)]
    relative_gradient_error: Annotated[float, Field(ge=0)]
    flipped_predictions: Annotated[int, Field(ge=0)]
    tensor_gradient_error: Annotated[float | None, Field(ge=0, exclude_if=is_none)] = None
    tensor: Annotated[str | None, Field(exclude_if=is_none)] = None
    fp32: Annotated[Parity | None, Field(exclude_if=is_none)] = None
    wrong_rows: Annotated[int, Field(ge=0, exclude_if=lambda rows: rows == 0)] = 0

    @model_validator(mode="after")
    def _flips_are_differences(self) -> Self:
        if self.flipped_predictions > self.examples:
            raise ValueError(f"{self.flipped_predictions} flipped_predictions of {self.examples} examples")
        if self.flipped_predictions and not self.largest_logit_difference:
            raise ValueError("flipped_predictions without a logit that differs")
        return self


class TrainingCheck(Frozen):
    """One comparison of a proof of training: whether it passed, and what it found in words.

    `measured` is the difference that decided and `limit` the largest that passes; None where it is no number.
    """

    name: str
    passed: bool
    found: str
    measured: float | None = None
    limit: float | None = None


class TrainingProof(Frozen):
    """How an engine trains, against a reference that shares no code with it.

    `unproved` lists what the checks leave out.
    """

    checks: tuple[TrainingCheck, ...]
    unproved: tuple[str, ...] = ()
