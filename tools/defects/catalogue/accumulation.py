"""Defects of gradient accumulation."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import LOOP, TRAINER, Defect

_SCALED: Final = "loss / accumulated if accumulated > 1 else loss"

ACCUMULATION: Final = (
    Defect("sum instead of mean", "accumulation", LOOP, _SCALED, "loss"),
    Defect(
        "divided by the asked number",
        "accumulation",
        LOOP,
        "self._loss_of(batch, len(batches))",
        "self._loss_of(batch, training.trial.train.gradient_accumulation_steps)",
    ),
    Defect(
        "incomplete window dropped",
        "accumulation",
        "engines/engine.py",
        "range(0, len(epoch), size)][:left]",
        "range(0, len(epoch) - size + 1, size)][:left]",
    ),
    Defect(
        "weighted by rows",
        "accumulation",
        LOOP,
        _SCALED,
        'loss * len(there["labels"]) / training.trial.train.per_device_train_batch_size / accumulated',
    ),
    Defect(
        "the last batch of a window twice",
        "accumulation",
        LOOP,
        "            for batch in batches:\n",
        "            for batch in [*batches[:-1], batches[-1], *batches[-1:]][: len(batches) + 1]:\n",
    ),
    Defect(
        "a step after every batch",
        "accumulation",
        LOOP,
        "                self._record.see(self._step, self._loss)\n            self._update()\n",
        "                self._record.see(self._step, self._loss)\n                self._update()\n",
    ),
    Defect(
        "Trainer told that the loss is scaled",
        "accumulation",
        TRAINER,
        "loss_is_scaled_for_ga = False",
        "loss_is_scaled_for_ga = True",
        ("trainer",),
    ),
    Defect(
        "Trainer accumulates two",
        "accumulation",
        TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "gradient_accumulation_steps": 2},',
        ("trainer",),
    ),
    Defect(
        "only the last micro-batch counts",
        "accumulation",
        "engines/loop.py",
        "            for batch in batches:\n",
        "            for batch in batches:\n                self._optimizer.zero_grad(set_to_none=False)\n",
    ),
)
