"""Defects of order, labels and rows of batches."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import TRAINER, Defect

_PAD: Final = "            values[mask] = getattr(self.split, column)[source]\n"
_CHOSEN: Final = "        return (batch.rows.tolist() for batch in self._epochs[self._epoch])\n"
_PLAN: Final = "    groups = _group(order, lengths, batch_size, padding.strategy, seed=seed, epoch=epoch)\n"
_LEAK: Final = (
    "collator=collate(type(tokens.train)("
    "input_ids=__import__('numpy').concatenate([tokens.evaluation.input_ids[: tokens.evaluation.offsets[1]], "
    "tokens.train.input_ids[tokens.train.offsets[1] :]]), "
    "token_type_ids=__import__('numpy').concatenate([tokens.evaluation.token_type_ids[: tokens.evaluation.offsets[1]], "
    "tokens.train.token_type_ids[tokens.train.offsets[1] :]]), "
    "offsets=__import__('numpy').concatenate([[0], "
    "tokens.train.offsets[1:] - tokens.train.offsets[1] + tokens.evaluation.offsets[1]]), "
    "labels=tokens.train.labels, example_ids=tokens.train.example_ids))"
)

BATCHES: Final = (
    Defect(
        "labels inverted", "batches", "padding.py", "self.split.labels[index]", "1 - self.split.labels[index]"
    ),
    Defect("an evaluation row in training", "batches", "fitting.py", "collator=collate(tokens.train)", _LEAK),
    Defect(
        "the same order every epoch",
        "batches",
        "batching.py",
        "default_rng([seed, epoch]).permutation(len(lengths))",
        "default_rng([seed, 0]).permutation(len(lengths))",
    ),
    Defect(
        "the same order for every seed",
        "batches",
        "batching.py",
        "default_rng([seed, epoch]).permutation(len(lengths))",
        "default_rng([0, epoch]).permutation(len(lengths))",
    ),
    Defect(
        "no shuffling",
        "batches",
        "batching.py",
        "np.random.default_rng([seed, epoch]).permutation(len(lengths))",
        "np.arange(len(lengths))",
    ),
    Defect(
        "shuffled in the first epoch alone",
        "batches",
        "batching.py",
        _PLAN,
        "    order = order if epoch == 0 else np.arange(len(lengths))\n" + _PLAN,
    ),
    Defect(
        "last batch dropped",
        "batches",
        "batching.py",
        "range(0, len(rows), size)]",
        "range(0, len(rows) - size + 1, size)]",
    ),
    Defect("an example twice", "batches", "batching.py", _PLAN, "    order[1] = order[0]\n" + _PLAN),
    Defect(
        "drawn with replacement",
        "batches",
        "batching.py",
        "np.random.default_rng([seed, epoch]).permutation(len(lengths))",
        "np.random.default_rng([seed, epoch]).integers(0, len(lengths), len(lengths))",
    ),
    Defect(
        "bucketed batches not shuffled",
        "batches",
        "batching.py",
        "return [batches[i] for i in np.random.default_rng([seed, epoch, 1]).permutation(len(batches))]",
        "return batches",
        ("loop bucketed",),
    ),
    Defect(
        "bucketed sorts everything",
        "batches",
        "batching.py",
        "_WINDOW_BATCHES = 50",
        "_WINDOW_BATCHES = 5000",
        ("loop bucketed",),
    ),
    Defect(
        "Trainer stays in the first epoch",
        "batches",
        TRAINER,
        _CHOSEN,
        _CHOSEN.replace("self._epoch]", "0]"),
        ("trainer",),
    ),
    Defect(
        "Trainer's batches reversed",
        "batches",
        TRAINER,
        _CHOSEN,
        _CHOSEN.replace("batch.rows.tolist()", "batch.rows.tolist()[::-1]"),
        ("trainer",),
    ),
    Defect(
        "Trainer on its own order",
        "batches",
        TRAINER,
        "            batch_sampler=_Epochs(self.training),\n",
        "            batch_size=self.args.per_device_train_batch_size,\n            shuffle=True,\n",
        ("trainer",),
    ),
    Defect(
        "labels of the row before",
        "batches",
        "padding.py",
        "self.split.labels[index]",
        "self.split.labels[index - 1]",
    ),
    Defect(
        "labels shifted in short batches",
        "batches",
        "padding.py",
        "self.split.labels[index]",
        "self.split.labels[index if len(index) > 3 else index - 1]",
    ),
    Defect(
        "last token cut",
        "batches",
        "padding.py",
        _PAD,
        _PAD
        + '            if column == "input_ids":\n                values[np.arange(len(lengths)), lengths - 1] = fill\n',
    ),
    Defect(
        "order of the seed modulo 2",
        "batches",
        "batching.py",
        "np.random.default_rng([seed, epoch]).permutation",
        "np.random.default_rng([seed % 2, epoch]).permutation",
    ),
    Defect(
        "order of half the seed",
        "batches",
        "batching.py",
        "np.random.default_rng([seed, epoch]).permutation",
        "np.random.default_rng([seed // 2, epoch]).permutation",
    ),
    Defect(
        "third epoch repeats the first",
        "batches",
        "batching.py",
        "np.random.default_rng([seed, epoch]).permutation",
        "np.random.default_rng([seed, epoch % 2]).permutation",
    ),
    Defect(
        "second text first",
        "batches",
        "tokenizing/tokens.py",
        "                *(batch[column] for column in columns),\n",
        "                *(batch[column] for column in reversed(columns)),\n",
    ),
    Defect(
        "labels of the row before, in both splits",
        "batches",
        "tokenizing/tokens.py",
        "        labels=labels,\n        example_ids",
        "        labels=np.roll(labels, 1),\n        example_ids",
    ),
    Defect(
        "rows cut at 40 tokens",
        "batches",
        "padding.py",
        "        lengths = self.split.offsets[index + 1] - starts\n",
        "        lengths = np.minimum(self.split.offsets[index + 1] - starts, 40)\n",
    ),
    Defect(
        "rows cut at 30 tokens in training",
        "batches",
        "padding.py",
        "        lengths = self.split.offsets[index + 1] - starts\n",
        "        lengths = np.minimum(self.split.offsets[index + 1] - starts, 30 if len(rows) < 9 else 999)\n",
    ),
    Defect(
        "bucketed sorted ascending",
        "batches",
        "batching.py",
        'np.argsort(-lengths[window], kind="stable")',
        'np.argsort(lengths[window], kind="stable")',
        ("loop bucketed",),
    ),
    Defect(
        "bucketed window of 5",
        "batches",
        "batching.py",
        "_WINDOW_BATCHES = 50",
        "_WINDOW_BATCHES = 5",
        ("loop bucketed",),
    ),
    Defect(
        "lengths grouped for one batch, not for a step",
        "batches",
        "sampling.py",
        "sampler_class(batch_size * accumulated, lengths=",
        "sampler_class(batch_size, lengths=",
        ("trainer grouped",),
    ),
    Defect(
        "groups of lengths with a seed of their epoch",
        "batches",
        "sampling.py",
        "    with _seeded(seed):\n        for _ in range(epoch):\n            list(loader)\n",
        "    with _seeded(seed + epoch):\n",
        ("trainer grouped",),
    ),
    Defect(
        "rebalanced batches drop the last",
        "batches",
        "sampling.py",
        "            drop_last=False,\n",
        "            drop_last=True,\n",
        ("trainer rebalanced",),
    ),
    Defect(
        "rebalanced in one order every epoch",
        "batches",
        "sampling.py",
        "        sampler.set_epoch(epoch)\n",
        "",
        ("trainer rebalanced",),
    ),
    Defect(
        "lengths of other rows grouped",
        "batches",
        "sampling.py",
        "lengths=lengths.tolist())",
        "lengths=lengths[::-1].tolist())",
        ("trainer grouped",),
    ),
    Defect(
        "order repeats after eight epochs",
        "batches",
        "batching.py",
        "default_rng([seed, epoch]).permutation(len(lengths))",
        "default_rng([seed, epoch % 8]).permutation(len(lengths))",
    ),
    Defect(
        "large sets shuffled in blocks",
        "batches",
        "batching.py",
        "        order = np.random.default_rng([seed, epoch]).permutation(len(lengths))\n",
        (
            "        generator, blocks = np.random.default_rng([seed, epoch]), range(0, len(lengths), 512)\n"
            "        order = np.concatenate([at + generator.permutation(min(512, len(lengths) - at)) for at in blocks])\n"
        ),
        ("loop run",),
    ),
    Defect(
        "labels of a short batch sorted",
        "batches",
        "padding.py",
        "self.split.labels[index])",
        "self.split.labels[np.sort(index) if len(index) % 2 else index])",
    ),
    Defect(
        "last single row left out",
        "batches",
        "batching.py",
        "    return [make_batch(rows, lengths, padding, longest, ranks) for rows in groups]",
        "    return [make_batch(rows, lengths, padding, longest, ranks) for rows in groups if len(rows) > 1 or len(groups) < 99]",
    ),
    Defect(
        "head of seeds modulo 1000",
        "seeds",
        "preparing.py",
        'set_seed(number_of(trial.seed, "init"))',
        'set_seed(number_of(trial.seed, "init") % 1000)',
    ),
)
