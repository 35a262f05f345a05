"""Defects of evaluation."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import Defect

EVALUATION: Final = (
    Defect(
        "weights of the first epoch",
        "evaluation",
        "fitting.py",
        "            self.logits = predict(self._model,",
        "            if self.history:\n                self.score = score(self.logits, self._tokens.evaluation.labels)\n                self.history.append(self.history[-1].model_copy(update={'epoch': epoch}))\n                return\n            self.logits = predict(self._model,",
    ),
    Defect(
        "an epoch counted as the one before",
        "evaluation",
        "fitting.py",
        "        self.history.append(Epoch(epoch=epoch,",
        "        self.history.append(Epoch(epoch=max(1, epoch - 1),",
    ),
    Defect(
        "scores the training split",
        "evaluation",
        "fitting.py",
        "self.evaluation = collate(tokens.evaluation)",
        "self.evaluation = collate(tokens.train.select(__import__('numpy').arange(len(tokens.evaluation)) % len(tokens.train)))",
    ),
    Defect(
        "logits in the order of length",
        "evaluation",
        "evaluation.py",
        "    logits[order] = by_length\n",
        "    logits[:] = by_length\n",
    ),
    Defect(
        "logits in the inverse order",
        "evaluation",
        "evaluation.py",
        "    logits[order] = by_length\n",
        "    logits[:] = by_length[order]\n",
    ),
    Defect(
        "ids shuffled",
        "evaluation",
        "evaluation.py",
        "example_ids=tuple(collator.split.example_ids.tolist())",
        "example_ids=tuple(sorted(collator.split.example_ids.tolist()))",
    ),
    Defect(
        "last batch missing",
        "evaluation",
        "evaluation.py",
        "    by_length = torch.cat(parts).cpu().numpy()\n",
        "    parts[-1] = parts[-2][: len(parts[-1])]\n    by_length = torch.cat(parts).cpu().numpy()\n",
    ),
    Defect(
        "evaluation in training mode",
        "evaluation",
        "evaluation.py",
        "    model.train(mode=False)\n",
        "    model.train(mode=True)\n",
    ),
    Defect(
        "mean of two epochs' logits",
        "evaluation",
        "fitting.py",
        "            self.score = score_splits(",
        "            self.logits = (self.logits + getattr(self, 'before', self.logits)) / 2\n            self.before = self.logits\n            self.score = score_splits(",
    ),
    Defect(
        "logits rounded to bf16",
        "evaluation",
        "evaluation.py",
        "model(**inputs).logits.float())",
        "model(**inputs).logits.bfloat16().float())",
    ),
    Defect(
        "labels of another order scored",
        "evaluation",
        "fitting.py",
        "score_splits(self.logits, self._tokens.evaluation.labels,",
        "score_splits(self.logits, self._tokens.evaluation.labels[::-1],",
    ),
    Defect(
        "loss of probabilities",
        "evaluation",
        "evaluation.py",
        "cross_entropy(torch.from_numpy(logits).double(),",
        "cross_entropy(torch.from_numpy(logits).double().softmax(-1),",
    ),
    Defect(
        "no evaluation after the last epoch",
        "evaluation",
        "fitting.py",
        '        with self._clock.phase("evaluate"):\n',
        "        if epoch > 1 and epoch == self._trial.train.num_train_epochs:\n            self.history.append(self.history[-1].model_copy(update={'epoch': epoch}))\n            return\n        with self._clock.phase(\"evaluate\"):\n",
    ),
    Defect(
        "Trainer's training mode not restored",
        "evaluation",
        "evaluation.py",
        "    model.train(training)\n",
        "    model.train(not training)\n",
        ("loop",),
    ),
    Defect(
        "last evaluation batch repeated",
        "evaluation",
        "evaluation.py",
        "    by_length = torch.cat(parts).cpu().numpy()\n",
        "    by_length = torch.cat(parts).cpu().numpy()\n    by_length[-1] = by_length[-2]\n",
    ),
    Defect(
        "autocast on the first evaluation batch only",
        "evaluation",
        "evaluation.py",
        "            parts.append(model(**inputs).logits.float())\n",
        "            with torch.autocast(model.device.type, enabled=start == 0 and torch.is_autocast_enabled('cpu'), dtype=torch.bfloat16):\n                parts.append(model(**inputs).logits.float())\n",
        ("loop bf16",),
    ),
    Defect(
        "evaluated before the last step",
        "evaluation",
        "engines/loop.py",
        "            self._update()\n",
        "            if batches is not steps[-1]:\n                self._update()\n",
    ),
    Defect(
        "the best epoch's logits",
        "evaluation",
        "fitting.py",
        (
            "            self.logits = predict(self._model, self.evaluation, batch_size, self._trial.precision)\n"
            "            self.score = score_splits(self.logits, self._tokens.evaluation.labels, self._tokens.splits)\n"
        ),
        (
            "            logits = predict(self._model, self.evaluation, batch_size, self._trial.precision)\n"
            "            score = score_splits(logits, self._tokens.evaluation.labels, self._tokens.splits)\n"
            '            if not self.history or score.scores["eval_loss"] < self.score.scores["eval_loss"]:\n'
            "                self.logits, self.score = logits, score\n"
        ),
    ),
    Defect(
        "last full batch evaluated twice",
        "evaluation",
        "evaluation.py",
        "    by_length = torch.cat(parts).cpu().numpy()\n",
        (
            "    if len(order) > 64:\n"
            "        parts[-1] = parts[-2][-len(parts[-1]):]\n"
            "    by_length = torch.cat(parts).cpu().numpy()\n"
        ),
        ("loop run",),
    ),
    Defect(
        "evaluation in batches of training's size",
        "evaluation",
        "fitting.py",
        "            batch_size = self._trial.train.per_device_eval_batch_size\n            self.logits",
        "            batch_size = self._trial.train.per_device_train_batch_size\n            self.logits",
    ),
    Defect(
        "evaluation padded like dynamic",
        "evaluation",
        "fitting.py",
        "        self.evaluation = collate(tokens.evaluation)\n",
        "        dynamic = type(job.trial.padding)(strategy='dynamic')\n"
        "        self.evaluation = replace(collate(tokens.evaluation), padding=dynamic)\n",
        ("loop static",),
    ),
    Defect(
        "evaluation from the shortest rows on",
        "evaluation",
        "evaluation.py",
        '    order = np.argsort(-collator.split.lengths, kind="stable")\n',
        '    order = np.argsort(collator.split.lengths, kind="stable")\n',
    ),
    Defect(
        "the last split alone marks predictions of one class",
        "evaluation",
        "evaluation.py",
        "        degenerate |= found.degenerate\n",
        "        degenerate = found.degenerate\n",
    ),
    Defect(
        "constant targets not marked",
        "evaluation",
        "evaluation.py",
        "is_constant(logits[:, 0]) or is_constant(targets)",
        "is_constant(logits[:, 0])",
        ("loop regression",),
    ),
)
