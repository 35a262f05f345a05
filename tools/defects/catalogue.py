"""Realistic defects of training code, each a small change of one source file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal[
    "optimizer",
    "schedule",
    "accumulation",
    "batches",
    "dropout",
    "model",
    "precision",
    "evaluation",
    "counts",
]
Variant = Literal[
    "trainer", "loop", "loop unpadded", "loop bf16", "trainer bf16", "loop bucketed", "loop cls"
]


@dataclass(frozen=True, slots=True)
class Defect:
    """In `path` below `harness/training`, `before` occurs once and becomes `after`.

    `on` are the variants on which a proof can see it, the cheapest first.
    """

    name: str
    kind: Kind
    path: str
    before: str
    after: str
    on: tuple[Variant, ...] = ("loop",)


_LOOP: Final = "engines/loop.py"
_TRAINER: Final = "engines/trainer.py"
_STEP: Final = "            self._optimizer.step()\n            return True\n"
_CLIP: Final = "            norm = nn.utils.clip_grad_norm_(self._flat, max_norm)\n"
_SCALED: Final = "loss / accumulated if accumulated > 1 else loss"
_PAD: Final = "            values[mask] = getattr(self.split, column)[source]\n"
_CHOSEN: Final = "        return (batch.rows.tolist() for batch in self._epochs[self._epoch])\n"
_BUILD: Final = "        self._optimizer = _optimizer(training.model, settings)\n"
_PLAN: Final = "    groups = _group(order, lengths, batch_size, padding.strategy, seed=seed, epoch=epoch)\n"

# The first training row becomes the first one of the evaluation split.
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

OPTIMIZER: Final = (
    Defect(
        "the optimizer never steps",
        "optimizer",
        _LOOP,
        "        if self._step_optimizer():\n            self._schedule.step()\n",
        "        self._schedule.step()\n",
    ),
    Defect(
        "no bias correction",
        "optimizer",
        _LOOP,
        _STEP,
        "            for state in self._optimizer.state.values():\n                state['step'].fill_(1000)\n"
        + _STEP,
    ),
    Defect(
        "the last parameter left out", "optimizer", _LOOP, "[flatten(of_group)]", "[flatten(of_group[:-1])]"
    ),
    Defect("beta1 is torch's default", "optimizer", _LOOP, "betas=(settings.adam_beta1, ", "betas=(0.9, "),
    Defect("beta2 is torch's default", "optimizer", _LOOP, "settings.adam_beta2)", "0.999)"),
    Defect(
        "betas swapped",
        "optimizer",
        _LOOP,
        "(settings.adam_beta1, settings.adam_beta2)",
        "(settings.adam_beta2, settings.adam_beta1)",
    ),
    Defect("epsilon is torch's default", "optimizer", _LOOP, "eps=settings.adam_epsilon", "eps=1e-8"),
    Defect(
        "decay on biases and norms",
        "optimizer",
        _LOOP,
        "if (of_group := [each for name, each in named if (name in decayed) is decays])",
        "if (of_group := [each for name, each in named if decays])",
    ),
    Defect("no decay at all", "optimizer", _LOOP, '"weight_decay": decay}', '"weight_decay": 0.0}'),
    Defect(
        "decay of norms",
        "optimizer",
        _LOOP,
        "get_parameter_names(model, [nn.LayerNorm], list(_NOT_DECAYED))",
        'get_parameter_names(model, [], [r"bias"])',
    ),
    Defect("decay of biases", "optimizer", _LOOP, '(r"bias", r"layernorm"', '(r"layernorm"'),
    Defect(
        "decay coupled to the gradient",
        "optimizer",
        _LOOP,
        "return torch.optim.AdamW(\n",
        "return torch.optim.Adam(\n",
    ),
    Defect(
        "amsgrad",
        "optimizer",
        _LOOP,
        "        lr=settings.learning_rate,\n",
        "        lr=settings.learning_rate,\n        amsgrad=True,\n",
    ),
    Defect(
        "optimizer made new each epoch",
        "optimizer",
        _LOOP,
        "        training.meter.open_window()\n",
        "        self._optimizer.state.clear()\n        training.meter.open_window()\n",
    ),
    Defect(
        "Trainer's optimizer loses its state each epoch",
        "optimizer",
        _TRAINER,
        "        self._trainer.epoch_loss.zero_()\n",
        "        self._trainer.epoch_loss.zero_()\n        self._trainer.optimizer.state.clear()\n",
        ("trainer",),
    ),
    Defect("every step twice", "optimizer", _LOOP, _STEP, "            self._optimizer.step()\n" + _STEP),
    Defect(
        "no clipping",
        "optimizer",
        _LOOP,
        _CLIP,
        "            norm = nn.utils.get_total_norm([each.grad for each in self._flat])\n",
    ),
    Defect(
        "clipping by tensor",
        "optimizer",
        _LOOP,
        _CLIP,
        "            norm = max(nn.utils.clip_grad_norm_([each], max_norm) for each in self._flat)\n",
    ),
    Defect(
        "clipping by value",
        "optimizer",
        _LOOP,
        _CLIP,
        "            norm = nn.utils.get_total_norm([each.grad for each in self._flat])\n            nn.utils.clip_grad_value_(self._flat, max_norm)\n",
    ),
    Defect(
        "clipping to twice the norm", "optimizer", _LOOP, _CLIP, _CLIP.replace("max_norm)", "2 * max_norm)")
    ),
    Defect(
        "clipping by the largest element",
        "optimizer",
        _LOOP,
        _CLIP,
        _CLIP.replace("max_norm)", 'max_norm, norm_type=float("inf"))'),
    ),
    Defect(
        "gradients never dropped",
        "optimizer",
        _LOOP,
        "        self._optimizer.zero_grad(set_to_none=False)\n\n    def _step_optimizer",
        "        return\n\n    def _step_optimizer",
    ),
    Defect(
        "Trainer without clipping",
        "optimizer",
        _TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "max_grad_norm": 0.0},',
        ("trainer",),
    ),
    Defect(
        "Trainer without decay",
        "optimizer",
        _TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "weight_decay": 0.0},',
        ("trainer",),
    ),
    Defect(
        "Trainer with Adam's default betas",
        "optimizer",
        _TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "adam_beta2": 0.999},',
        ("trainer",),
    ),
    Defect(
        "Trainer with another optimizer",
        "optimizer",
        _TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "optim": "adagrad"},',
        ("trainer",),
    ),
)
SCHEDULE: Final = (
    Defect(
        "rate one step early",
        "schedule",
        _LOOP,
        "        self._step = 0\n",
        "        self._step = 0\n        self._schedule.step()\n",
    ),
    Defect(
        "a tenth of the rate for one group",
        "schedule",
        _LOOP,
        _BUILD,
        _BUILD + "        self._optimizer.param_groups[-1]['lr'] *= 0.1\n",
    ),
    Defect(
        "rate one step late",
        "schedule",
        _LOOP,
        "        if self._step_optimizer():\n            self._schedule.step()\n",
        "        self._step_optimizer()\n        if self._step > 1:\n            self._schedule.step()\n",
    ),
    Defect(
        "one step more than there are",
        "schedule",
        _LOOP,
        "num_training_steps=steps\n",
        "num_training_steps=steps + 1\n",
    ),
    Defect(
        "schedule of one epoch",
        "schedule",
        _LOOP,
        "_schedule(self._optimizer, settings, training.meter.steps)",
        "_schedule(self._optimizer, settings, training.meter.steps // len(training.epochs))",
    ),
    Defect(
        "schedule counts batches",
        "schedule",
        _LOOP,
        "                total += self._loss\n",
        "                total += self._loss\n                self._schedule.step()\n",
    ),
    Defect("warm-up ignored", "schedule", _LOOP, "num_warmup_steps=warmup", "num_warmup_steps=0"),
    Defect(
        "warm-up as a share rounded down", "schedule", _LOOP, "math.ceil(steps * given)", "int(steps * given)"
    ),
    Defect(
        "constant rate", "schedule", _LOOP, "settings.lr_scheduler_type, optimizer", '"constant", optimizer'
    ),
    Defect(
        "Trainer with a constant rate",
        "schedule",
        _TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "lr_scheduler_type": "constant"},',
        ("trainer",),
    ),
    Defect(
        "Trainer with half the rate",
        "schedule",
        _TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "learning_rate": trial.train.learning_rate / 2},',
        ("trainer",),
    ),
)
ACCUMULATION: Final = (
    Defect("sum instead of mean", "accumulation", _LOOP, _SCALED, "loss"),
    Defect(
        "divided by the asked number",
        "accumulation",
        _LOOP,
        "self._pass(self._inputs(batch), len(batches))",
        "self._pass(self._inputs(batch), training.trial.train.gradient_accumulation_steps)",
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
        _LOOP,
        _SCALED,
        'loss * len(there["labels"]) / training.trial.train.per_device_train_batch_size / accumulated',
    ),
    Defect(
        "the last batch of a window twice",
        "accumulation",
        _LOOP,
        "            for batch in batches:\n",
        "            for batch in [*batches[:-1], batches[-1], *batches[-1:]][: len(batches) + 1]:\n",
    ),
    Defect(
        "a step after every batch",
        "accumulation",
        _LOOP,
        "                total += self._loss\n            self._update()\n",
        "                total += self._loss\n                self._update()\n",
    ),
    Defect(
        "Trainer told that the loss is scaled",
        "accumulation",
        _TRAINER,
        "loss_is_scaled_for_ga = False",
        "loss_is_scaled_for_ga = True",
        ("trainer",),
    ),
    Defect(
        "Trainer accumulates two",
        "accumulation",
        _TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "gradient_accumulation_steps": 2},',
        ("trainer",),
    ),
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
        _TRAINER,
        _CHOSEN,
        _CHOSEN.replace("self._epoch]", "0]"),
        ("trainer",),
    ),
    Defect(
        "Trainer's batches reversed",
        "batches",
        _TRAINER,
        _CHOSEN,
        _CHOSEN.replace("batch.rows.tolist()", "batch.rows.tolist()[::-1]"),
        ("trainer",),
    ),
    Defect(
        "Trainer on its own order",
        "batches",
        _TRAINER,
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
)
DROPOUT: Final = (
    Defect(
        "masks repeat every third pass",
        "dropout",
        _LOOP,
        "        self._step = 0\n",
        "        self._step = 0\n        training.model.register_forward_pre_hook(\n            lambda model, *_: setattr(model, 'passed', getattr(model, 'passed', 0) + 1)\n            or [each.draw.__init__(model.passed % 3) for each in model.modules() if hasattr(each, 'draw')][:0]\n            or None\n        )\n",
    ),
    Defect(
        "dropout of every second site",
        "dropout",
        "engines/dropout.py",
        "                setattr(module, name, Dropout(child.p, draw).train(child.training))\n",
        "                draw.n = getattr(draw, 'n', 0) + 1\n                setattr(module, name, Dropout(child.p * (draw.n % 2), draw).train(child.training))\n",
    ),
    Defect(
        "no scale",
        "dropout",
        "engines/dropout.py",
        "kept.to(like.dtype).mul_(_LEVELS / (_LEVELS - dropped))",
        "kept.to(like.dtype)",
    ),
    Defect(
        "half the rate",
        "dropout",
        "engines/dropout.py",
        "dropped = round(p * _LEVELS)",
        "dropped = round(p * _LEVELS / 2)",
    ),
    Defect(
        "scale of p instead of 1 - p",
        "dropout",
        "engines/dropout.py",
        "_LEVELS / (_LEVELS - dropped)",
        "1 + p",
    ),
    Defect(
        "rate a tenth higher",
        "dropout",
        "engines/dropout.py",
        "dropped = round(p * _LEVELS)",
        "p = p * 1.1\n        dropped = round(p * _LEVELS)",
    ),
    Defect(
        "one mask for all rows",
        "dropout",
        "engines/dropout.py",
        "        return input * self.draw(input, self.p)\n",
        "        return input * self.draw(input[:1], self.p)\n",
    ),
    Defect(
        "one mask for all tokens",
        "dropout",
        "engines/dropout.py",
        "        return input * self.draw(input, self.p)\n",
        "        return input * self.draw(input[:, :1], self.p)\n",
    ),
    Defect(
        "one mask for all channels",
        "dropout",
        "engines/dropout.py",
        "        return input * self.draw(input, self.p)\n",
        "        return input * self.draw(input[..., :1], self.p)\n",
    ),
    Defect(
        "the same masks in every call",
        "dropout",
        "engines/dropout.py",
        "        dropped = round(p * _LEVELS)\n",
        "        self._generator = np.random.SFC64(0)\n        dropped = round(p * _LEVELS)\n",
    ),
    Defect(
        "the same mask in each layer",
        "dropout",
        "engines/dropout.py",
        "                setattr(module, name, Dropout(child.p, draw).train(child.training))\n",
        "                setattr(module, name, Dropout(child.p, RandomBits(1)).train(child.training))\n",
    ),
    Defect("the same masks for every seed", "dropout", _LOOP, "RandomBits(trial.seed)", "RandomBits(0)"),
    Defect(
        "masks not of the seed",
        "dropout",
        _LOOP,
        "RandomBits(trial.seed)",
        "RandomBits(__import__('time').time_ns() % 2**32)",
    ),
    Defect(
        "masks begin again each epoch",
        "dropout",
        _LOOP,
        "        training.meter.open_window()\n",
        "        for module in training.model.modules():\n            if hasattr(module, 'draw'):\n                module.draw.__init__(0)\n        training.meter.open_window()\n",
    ),
    Defect(
        "bits of a byte",
        "dropout",
        "engines/dropout.py",
        "        count = like.numel()\n        bits = self._generator.random_raw(-(-count // 4)).view(np.int16)[:count]\n",
        "        count = like.numel()\n        bits = np.repeat(self._generator.random_raw(-(-count // 8)).view(np.int16), 2)[:count]\n",
    ),
    Defect(
        "hidden dropout off",
        "dropout",
        "engines/dropout.py",
        "        if not self.training or self.p == 0.0:\n",
        "        if input.ndim == 3 or not self.training or self.p == 0.0:\n",
    ),
    Defect(
        "active in evaluation",
        "dropout",
        "engines/dropout.py",
        "        if not self.training or self.p == 0.0:\n",
        "        if self.p == 0.0:\n",
    ),
    Defect(
        "classifier's dropout off",
        "dropout",
        "engines/dropout.py",
        "        if not self.training or self.p == 0.0:\n",
        "        if input.ndim == 2 or not self.training or self.p == 0.0:\n",
    ),
    Defect(
        "off after the first evaluation",
        "dropout",
        "evaluation.py",
        "    model.train(training)\n",
        "    model.train(False)\n",
    ),
    Defect(
        "modules stay in evaluation mode",
        "dropout",
        "evaluation.py",
        "    model.train(training)\n",
        "    model.training = training\n",
    ),
    Defect(
        "attention dropout off",
        "dropout",
        "engines/attention.py",
        "drop = partial(draw, p=dropout) if dropout else None",
        "drop = None",
    ),
    Defect(
        "attention dropout at a fixed rate",
        "dropout",
        "engines/attention.py",
        "partial(draw, p=dropout)",
        "partial(draw, p=0.1)",
    ),
    Defect(
        "backward without the mask",
        "dropout",
        "engines/attention.py",
        "            of_weights.mul_(mask)\n",
        "            pass\n",
    ),
    Defect(
        "backward with another mask",
        "dropout",
        "engines/attention.py",
        "            of_weights.mul_(mask)\n",
        "            of_weights.mul_(mask.flip(-1))\n",
    ),
    Defect(
        "values' gradient without the mask",
        "dropout",
        "engines/attention.py",
        "torch.bmm(dropped.transpose(1, 2), gradient)",
        "torch.bmm(weights.transpose(1, 2), gradient)",
    ),
    Defect(
        "one attention mask for all heads",
        "dropout",
        "engines/attention.py",
        "        mask = None if drop is None else drop(weights)\n",
        "        mask = None if drop is None else drop(weights[:1]).expand_as(weights).contiguous()\n",
    ),
    Defect(
        "one attention mask for all queries",
        "dropout",
        "engines/attention.py",
        "        mask = None if drop is None else drop(weights)\n",
        "        mask = None if drop is None else drop(weights[:, :1]).expand_as(weights).contiguous()\n",
    ),
    Defect(
        "unpadded attention without dropout",
        "dropout",
        "variants/unpadding.py",
        "            module, queries, pad(key), pad(value), mask(layout.mask[:, None, None, :], query.dtype), **options\n",
        "            module, queries, pad(key), pad(value), mask(layout.mask[:, None, None, :], query.dtype), **{**options, 'dropout': 0.0}\n",
        ("loop unpadded",),
    ),
    Defect(
        "dropout after the softmax's sum",
        "dropout",
        "engines/attention.py",
        "        dropped = weights if mask is None else weights * mask\n",
        "        dropped = weights if mask is None else torch.nn.functional.normalize(weights * mask, p=1, dim=-1)\n",
    ),
    Defect(
        "Trainer trains in evaluation mode",
        "dropout",
        _TRAINER,
        "        loss = super().training_step(*args, **kwargs)\n",
        "        train, self.model.train = self.model.train, lambda *_: self.model\n        for part in self.model.modules():\n            part.training = False\n        loss = super().training_step(*args, **kwargs)\n        self.model.train = train\n",
        ("trainer",),
    ),
)
MODEL: Final = (
    Defect(
        "frozen word embedding",
        "model",
        "preparing.py",
        "    return replace(loaded, attention=trial.attention)\n",
        "    loaded.model.get_input_embeddings().weight.requires_grad_(False)\n    return replace(loaded, attention=trial.attention)\n",
        ("loop", "trainer"),
    ),
    Defect(
        "frozen first layer",
        "model",
        "preparing.py",
        "    return replace(loaded, attention=trial.attention)\n",
        "    for name, each in loaded.model.named_parameters():\n        each.requires_grad_('layer.0.' not in name)\n    return replace(loaded, attention=trial.attention)\n",
        ("trainer",),
    ),
    Defect(
        "frozen head",
        "model",
        "preparing.py",
        "    return replace(loaded, attention=trial.attention)\n",
        "    for name, each in loaded.model.named_parameters():\n        each.requires_grad_('classifier' not in name)\n    return replace(loaded, attention=trial.attention)\n",
        ("trainer",),
    ),
    Defect(
        "frozen norms",
        "model",
        "preparing.py",
        "    return replace(loaded, attention=trial.attention)\n",
        "    for name, each in loaded.model.named_parameters():\n        each.requires_grad_('LayerNorm' not in name)\n    return replace(loaded, attention=trial.attention)\n",
        ("trainer",),
    ),
    Defect(
        "mask one too long",
        "model",
        "padding.py",
        '        batch = {"attention_mask": mask.astype(np.int64)}\n',
        '        batch = {"attention_mask": (np.arange(width) < lengths[:, None] + 1).astype(np.int64)}\n',
        ("trainer", "loop bf16"),
    ),
    Defect(
        "mask one too short",
        "model",
        "padding.py",
        '        batch = {"attention_mask": mask.astype(np.int64)}\n',
        '        batch = {"attention_mask": (np.arange(width) < lengths[:, None] - 1).astype(np.int64)}\n',
        ("trainer",),
    ),
    Defect(
        "token types dropped",
        "model",
        "checkpoints.py",
        '    return (*columns, "token_type_ids"), None\n',
        "    return columns, None\n",
        ("trainer",),
    ),
    Defect(
        "token types inverted",
        "model",
        "padding.py",
        _PAD,
        _PAD.replace(
            "[source]", '[source] if column == "input_ids" else 1 - getattr(self.split, column)[source]'
        ),
        ("trainer",),
    ),
    Defect(
        "a layer skipped",
        "model",
        "preparing.py",
        "    return replace(loaded, attention=trial.attention)\n",
        "    import torch.nn\n    loaded.model.base_model.encoder.layer = torch.nn.ModuleList(list(loaded.model.base_model.encoder.layer)[:-1])\n    return replace(loaded, attention=trial.attention)\n",
        ("trainer",),
    ),
    Defect(
        "positions off by one",
        "model",
        "preparing.py",
        "    return replace(loaded, attention=trial.attention)\n",
        "    loaded.model.base_model.embeddings.position_ids.add_(1).clamp_(max=511)\n    return replace(loaded, attention=trial.attention)\n",
        ("trainer",),
    ),
    Defect(
        "the same head for all seeds",
        "model",
        "preparing.py",
        "    set_seed(trial.seed)\n",
        "    set_seed(0)\n",
        ("trainer",),
    ),
    Defect(
        "another head each time",
        "model",
        "preparing.py",
        "    set_seed(trial.seed)\n",
        "    set_seed(__import__('time').time_ns() % 2**32)\n",
        ("trainer",),
    ),
    Defect(
        "layers share weights",
        "model",
        "preparing.py",
        "    return replace(loaded, attention=trial.attention)\n",
        "    layers = loaded.model.base_model.encoder.layer\n    layers[1].output.dense.weight = layers[0].output.dense.weight\n    return replace(loaded, attention=trial.attention)\n",
        ("trainer",),
    ),
    Defect(
        "pooler left out",
        "model",
        "preparing.py",
        "    return replace(loaded, attention=trial.attention)\n",
        "    loaded.model.base_model.pooler.activation = torch.nn.Identity()\n    return replace(loaded, attention=trial.attention)\n",
        ("trainer",),
    ),
    Defect(
        "attention scaled twice",
        "model",
        "engines/attention.py",
        "(query.shape[-1] ** -0.5 if scaling is None else scaling)",
        "(query.shape[-1] ** -0.5 if scaling is None else scaling) ** 2",
    ),
    Defect(
        "a row's last token unpadded away",
        "model",
        "variants/unpadding.py",
        "        offsets = functional.pad(mask.sum(dim=1).cumsum(0), (1, 0))\n",
        "        mask = mask.clone()\n        mask[torch.arange(len(mask)), mask.sum(dim=1) - 1] = False\n        offsets = functional.pad(mask.sum(dim=1).cumsum(0), (1, 0))\n",
        ("loop unpadded",),
    ),
    Defect(
        "gradient of an embedding row lost",
        "model",
        "engines/used_rows.py",
        "self.row[input_ids], self.weight, self.padding_row)",
        "self.row[input_ids], self.weight, 7)",
    ),
    Defect(
        "last layer reads the second token",
        "model",
        "variants/last_layer.py",
        "self._hidden[:, :1] if layout",
        "self._hidden[:, 1:2] if layout",
        ("loop cls",),
    ),
)
PRECISION: Final = (
    Defect(
        "bf16 in fp32 trials",
        "precision",
        "devices.py",
        "        return contextlib.nullcontext()\n",
        "        return torch.autocast(device.type, dtype=torch.bfloat16)\n",
    ),
    Defect(
        "no autocast in training",
        "precision",
        _LOOP,
        "with autocast(training.device, training.trial.precision,",
        'with autocast(training.device, "fp32",',
        ("loop bf16",),
    ),
    Defect(
        "no autocast in evaluation",
        "precision",
        "evaluation.py",
        "autocast(model.device, precision)",
        'autocast(model.device, "fp32")',
        ("loop bf16",),
    ),
    Defect(
        "Trainer without bf16",
        "precision",
        _TRAINER,
        'bf16=trial.precision == "bf16"',
        "bf16=False",
        ("trainer bf16",),
    ),
    Defect(
        "Trainer in bf16 always",
        "precision",
        _TRAINER,
        'bf16=trial.precision == "bf16"',
        "bf16=True",
        ("trainer",),
    ),
    Defect(
        "weights in bf16",
        "precision",
        "preparing.py",
        "    return replace(loaded, attention=trial.attention)\n",
        "    if trial.precision == 'bf16':\n        loaded.model.to(torch.bfloat16)\n    return replace(loaded, attention=trial.attention)\n",
        ("trainer bf16", "loop bf16"),
    ),
    Defect(
        "loss in bf16",
        "precision",
        _LOOP,
        "training.model(**there).loss\n",
        "training.model(**there).loss\n            loss = loss.bfloat16()\n",
        ("loop bf16", "loop"),
    ),
    Defect(
        "attention in fp32",
        "precision",
        "engines/attention.py",
        "summed: torch.Tensor = WeightedSum.apply(scaled, key, value, bias, drop)",
        "summed: torch.Tensor = WeightedSum.apply(scaled.float(), key.float(), value.float(), bias.float(), drop).to(query.dtype) * 1.0",
        ("loop bf16",),
    ),
)
EVALUATION: Final = (
    Defect(
        "weights of the first epoch",
        "evaluation",
        "fitting.py",
        "            self.logits = predict(self._model,",
        "            if self.history:\n                self.score = score(self.logits, self._tokens.evaluation.labels)\n                self.history.append(self.history[-1].model_copy(update={'epoch': epoch}))\n                return\n            self.logits = predict(self._model,",
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
        "            self.score = score(",
        "            self.logits = (self.logits + getattr(self, 'before', self.logits)) / 2\n            self.before = self.logits\n            self.score = score(",
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
        "score(self.logits, self._tokens.evaluation.labels)",
        "score(self.logits, self._tokens.evaluation.labels[::-1])",
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
)
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
        "    real = int(lengths.sum())\n",
        "    real = len(rows) * int(lengths.max())\n",
    ),
    Defect(
        "unpadded called free of filling",
        "counts",
        "batching.py",
        "return Batch(rows, real, -(-real // UNPADDED_MULTIPLE) * UNPADDED_MULTIPLE)",
        "return Batch(rows, real, real)",
        ("loop unpadded",),
    ),
    Defect(
        "training loss of the last batch",
        "counts",
        _LOOP,
        "total.item() / sum(map(len, steps))",
        "self._loss.item()",
    ),
    Defect(
        "training loss over steps",
        "counts",
        _LOOP,
        "total.item() / sum(map(len, steps))",
        "total.item() / len(steps)",
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
        _TRAINER,
        "loss * self.current_gradient_accumulation_steps",
        "loss",
        ("trainer",),
    ),
)

DEFECTS: Final[tuple[Defect, ...]] = (
    *OPTIMIZER,
    *SCHEDULE,
    *ACCUMULATION,
    *BATCHES,
    *DROPOUT,
    *MODEL,
    *PRECISION,
    *EVALUATION,
    *COUNTS,
)
