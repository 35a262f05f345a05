"""Defects of the learning rate's schedule."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import LOOP, TRAINER, Defect

_BUILD: Final = "        self._optimizer = _optimizer(training.model, settings)\n"

SCHEDULE: Final = (
    Defect(
        "rate one step early",
        "schedule",
        LOOP,
        "        self._step = 0\n",
        "        self._step = 0\n        self._schedule.step()\n",
    ),
    Defect(
        "a tenth of the rate for one group",
        "schedule",
        LOOP,
        _BUILD,
        _BUILD + "        self._optimizer.param_groups[-1]['lr'] *= 0.1\n",
    ),
    Defect(
        "rate one step late",
        "schedule",
        LOOP,
        "        if self._step_optimizer():\n            self._schedule.step()\n",
        "        self._step_optimizer()\n        if self._step > 1:\n            self._schedule.step()\n",
    ),
    Defect(
        "one step more than there are",
        "schedule",
        LOOP,
        "num_training_steps=steps,\n",
        "num_training_steps=steps + 1,\n",
    ),
    Defect(
        "schedule of one epoch",
        "schedule",
        LOOP,
        "_schedule(self._optimizer, settings, training.meter.steps)",
        "_schedule(self._optimizer, settings, training.meter.steps // len(training.epochs))",
    ),
    Defect(
        "schedule counts batches",
        "schedule",
        LOOP,
        "                self._record.see(self._step, self._loss)\n",
        "                self._record.see(self._step, self._loss)\n                self._schedule.step()\n",
    ),
    Defect("warm-up ignored", "schedule", LOOP, "num_warmup_steps=warmup", "num_warmup_steps=0"),
    Defect(
        "warm-up as a share rounded down", "schedule", LOOP, "math.ceil(steps * given)", "int(steps * given)"
    ),
    Defect(
        "constant rate", "schedule", LOOP, "        settings.lr_scheduler_type,\n", '        "constant",\n'
    ),
    Defect(
        "Trainer with a constant rate",
        "schedule",
        TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "lr_scheduler_type": "constant"},',
        ("trainer",),
    ),
    Defect(
        "Trainer with half the rate",
        "schedule",
        TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "learning_rate": trial.train.learning_rate / 2},',
        ("trainer",),
    ),
    Defect(
        "options of the schedule ignored",
        "schedule",
        LOOP,
        "None if options is None else options.given()",
        "None",
        ("loop restarts",),
    ),
    Defect(
        "Trainer no warm-up",
        "schedule",
        "engines/trainer.py",
        "        **trial.train.model_dump(),\n",
        "        **{**trial.train.model_dump(), 'warmup_steps': 0},\n",
        ("trainer",),
    ),
    Defect(
        "warm-up share rounded",
        "schedule",
        LOOP,
        "math.ceil(steps * given)",
        "round(steps * given)",
    ),
)
