"""Defects of counts and times."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import TRAINER, Defect

COUNTS: Final = (
    Defect(
        "unpadded computes a row of double length",
        "counts",
        "variants/unpadding.py",
        "        filling = positions[:1].expand(-len(positions) % UNPADDED_MULTIPLE)\n",
        "        filling = positions[:1].expand(-len(positions) % 16 + mask.numel())\n",
        ("loop unpadded",),
    ),
    Defect(
        "dynamic pads to the longest example",
        "counts",
        "padding.py",
        "        width = padded_length(int(lengths.max()), self.padding, self.longest)\n",
        "        width = self.longest\n",
    ),
    Defect(
        "rate over computed tokens",
        "counts",
        "measuring/steps.py",
        '            measured("train_real_tokens_per_second", real / seconds),\n',
        '            measured("train_real_tokens_per_second", computed / seconds),\n',
    ),
    Defect(
        "warm-up counted",
        "counts",
        "measuring/steps.py",
        "        steady = self.step_seconds[self.warmup_steps :]\n",
        "        steady = self.step_seconds\n",
    ),
    Defect(
        "batches of warm-up counted",
        "counts",
        "measuring/steps.py",
        "for step in self._batches[self.warmup_steps :] for batch in step]\n",
        "for step in self._batches for batch in step]\n",
    ),
    Defect(
        "padding counted as real",
        "counts",
        "batching.py",
        "    real = int(lengths[rows].sum())\n",
        "    real = len(rows) * int(lengths[rows].max())\n",
    ),
    Defect(
        "unpadded called free of filling",
        "counts",
        "batching.py",
        "return -(-int(lengths.sum()) // UNPADDED_MULTIPLE) * UNPADDED_MULTIPLE",
        "return int(lengths.sum())",
        ("loop unpadded",),
    ),
    Defect(
        "training loss of the last batch",
        "counts",
        "engines/engine.py",
        "return fmean(losses)",
        "return losses[-1]",
    ),
    Defect(
        "training loss of all epochs",
        "counts",
        "engines/engine.py",
        "        self._of_epoch = len(self._losses)\n",
        "",
    ),
    Defect(
        "loss of a step from its last batch",
        "counts",
        "engines/engine.py",
        "return [fmean(loss for _, loss in batches) for",
        "return [list(batches)[-1][1] for",
    ),
    Defect(
        "losses of steps shifted by one",
        "counts",
        "fitting.py",
        "*thinned(self._training.record.by_step())",
        "*thinned(self._training.record.by_step()[1:])",
    ),
    Defect(
        "one step too few",
        "counts",
        "fitting.py",
        "return trial.train.max_steps\n    return sum(",
        "return trial.train.max_steps\n    return -1 + sum(",
    ),
    Defect(
        "one epoch too few",
        "counts",
        "fitting.py",
        "else train.num_train_epochs\n",
        "else max(1, train.num_train_epochs - 1)\n",
    ),
    Defect(
        "Trainer's loss not scaled back",
        "counts",
        TRAINER,
        "loss * self.current_gradient_accumulation_steps",
        "loss",
        ("trainer",),
    ),
    Defect(
        "step times halved",
        "counts",
        "measuring/steps.py",
        "        self.step_seconds += [between(*pair) for pair in itertools.pairwise(self._marks)]\n",
        "        self.step_seconds += [between(*pair) / 2 for pair in itertools.pairwise(self._marks)]\n",
    ),
    Defect(
        "the slowest steps are the warm-up",
        "counts",
        "measuring/steps.py",
        "        steady = self.step_seconds[self.warmup_steps :]\n",
        "        steady = sorted(self.step_seconds)[: len(self.step_seconds) - self.warmup_steps]\n",
    ),
    Defect(
        "FLOPs of all rows of a last layer",
        "counts",
        "fitting.py",
        "EncoderShape.of(self._model.config, self._trial.last_layer)",
        "EncoderShape.of(self._model.config)",
        ("loop cls",),
    ),
    Defect(
        "FLOPs of padded rows",
        "counts",
        "measuring/steps.py",
        "shape.train_flops(lengths[batch.rows]) for batch",
        "shape.train_flops(lengths[batch.rows] * 0 + lengths[batch.rows].max()) for batch",
    ),
    Defect(
        "the last loss of a group kept for its mean",
        "counts",
        "fitting.py",
        'f"{fmean(group):.9g}"',
        'f"{group[-1]:.9g}"',
    ),
)
