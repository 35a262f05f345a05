"""Defects of the optimizer and of gradient clipping."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import LOOP, TRAINER, Defect

_STEP: Final = "            self._optimizer.step()\n            return True\n"
_CLIP: Final = "            norm = nn.utils.clip_grad_norm_(self._flat, max_norm)\n"

OPTIMIZER: Final = (
    Defect(
        "the optimizer never steps",
        "optimizer",
        LOOP,
        "        if self._step_optimizer():\n            self._schedule.step()\n",
        "        self._schedule.step()\n",
    ),
    Defect(
        "no bias correction",
        "optimizer",
        LOOP,
        _STEP,
        "            for state in self._optimizer.state.values():\n                state['step'].fill_(1000)\n"
        + _STEP,
    ),
    Defect(
        "the last parameter left out", "optimizer", LOOP, "[flatten(of_group)]", "[flatten(of_group[:-1])]"
    ),
    Defect("beta1 is torch's default", "optimizer", LOOP, "betas=(settings.adam_beta1, ", "betas=(0.9, "),
    Defect("beta2 is torch's default", "optimizer", LOOP, "settings.adam_beta2)", "0.999)"),
    Defect(
        "betas swapped",
        "optimizer",
        LOOP,
        "(settings.adam_beta1, settings.adam_beta2)",
        "(settings.adam_beta2, settings.adam_beta1)",
    ),
    Defect("epsilon is torch's default", "optimizer", LOOP, "eps=settings.adam_epsilon", "eps=1e-8"),
    Defect(
        "decay on biases and norms",
        "optimizer",
        LOOP,
        "if (of_group := [each for name, each in named if (name in decayed) is decays])",
        "if (of_group := [each for name, each in named if decays])",
    ),
    Defect("no decay at all", "optimizer", LOOP, '"weight_decay": decay}', '"weight_decay": 0.0}'),
    Defect(
        "decay of norms",
        "optimizer",
        LOOP,
        "get_parameter_names(model, [nn.LayerNorm], list(_NOT_DECAYED))",
        'get_parameter_names(model, [], [r"bias"])',
    ),
    Defect("decay of biases", "optimizer", LOOP, '(r"bias", r"layernorm"', '(r"layernorm"'),
    Defect(
        "decay coupled to the gradient",
        "optimizer",
        LOOP,
        "return torch.optim.AdamW(\n",
        "return torch.optim.Adam(\n",
    ),
    Defect(
        "amsgrad",
        "optimizer",
        LOOP,
        "        lr=settings.learning_rate,\n",
        "        lr=settings.learning_rate,\n        amsgrad=True,\n",
    ),
    Defect(
        "optimizer made new each epoch",
        "optimizer",
        LOOP,
        "        training.meter.open_window()\n",
        "        self._optimizer.state.clear()\n        training.meter.open_window()\n",
    ),
    Defect(
        "Trainer's optimizer loses its state each epoch",
        "optimizer",
        TRAINER,
        "        self._trainer.training.meter.open_window()\n",
        "        self._trainer.optimizer.state.clear()\n        self._trainer.training.meter.open_window()\n",
        ("trainer",),
    ),
    Defect("every step twice", "optimizer", LOOP, _STEP, "            self._optimizer.step()\n" + _STEP),
    Defect(
        "no clipping",
        "optimizer",
        LOOP,
        _CLIP,
        "            norm = nn.utils.get_total_norm([each.grad for each in self._flat])\n",
    ),
    Defect(
        "clipping by tensor",
        "optimizer",
        LOOP,
        _CLIP,
        "            norm = max(nn.utils.clip_grad_norm_([each], max_norm) for each in self._flat)\n",
    ),
    Defect(
        "clipping by value",
        "optimizer",
        LOOP,
        _CLIP,
        "            norm = nn.utils.get_total_norm([each.grad for each in self._flat])\n            nn.utils.clip_grad_value_(self._flat, max_norm)\n",
    ),
    Defect(
        "clipping to twice the norm", "optimizer", LOOP, _CLIP, _CLIP.replace("max_norm)", "2 * max_norm)")
    ),
    Defect(
        "clipping by the largest element",
        "optimizer",
        LOOP,
        _CLIP,
        _CLIP.replace("max_norm)", 'max_norm, norm_type=float("inf"))'),
    ),
    Defect(
        "gradients never dropped",
        "optimizer",
        LOOP,
        "        self._optimizer.zero_grad(set_to_none=False)\n\n    def _step_optimizer",
        "        return\n\n    def _step_optimizer",
    ),
    Defect(
        "Trainer without clipping",
        "optimizer",
        TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "max_grad_norm": 0.0},',
        ("trainer",),
    ),
    Defect(
        "Trainer without decay",
        "optimizer",
        TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "weight_decay": 0.0},',
        ("trainer",),
    ),
    Defect(
        "Trainer with Adam's default betas",
        "optimizer",
        TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "adam_beta2": 0.999},',
        ("trainer",),
    ),
    Defect(
        "Trainer with another optimizer",
        "optimizer",
        TRAINER,
        "**trial.train.model_dump(),",
        '**{**trial.train.model_dump(), "optim": "adagrad"},',
        ("trainer",),
    ),
    Defect(
        "embedding not decayed",
        "optimizer",
        "engines/loop.py",
        "    decayed = set(get_parameter_names(model, [nn.LayerNorm], list(_NOT_DECAYED)))",
        '    decayed = set(get_parameter_names(model, [nn.LayerNorm], [*_NOT_DECAYED, r"embeddings"]))',
    ),
    Defect(
        "no clipping, only the norm",
        "optimizer",
        "engines/loop.py",
        "            norm = nn.utils.clip_grad_norm_(self._flat, max_norm)\n",
        "            norm = torch.stack([p.grad.norm() for p in self._flat]).norm()\n",
    ),
    Defect(
        "clipping of one group",
        "optimizer",
        "engines/loop.py",
        "            norm = nn.utils.clip_grad_norm_(self._flat, max_norm)\n",
        "            norm = nn.utils.clip_grad_norm_(self._flat[:1], max_norm)\n",
    ),
    Defect(
        "clipping by the sum of magnitudes",
        "optimizer",
        "engines/loop.py",
        "            norm = nn.utils.clip_grad_norm_(self._flat, max_norm)\n",
        "            norm = nn.utils.clip_grad_norm_(self._flat, max_norm, norm_type=1.0)\n",
    ),
    Defect(
        "decay at the initial rate",
        "optimizer",
        "engines/loop.py",
        "            self._optimizer.step()\n            return True\n",
        "            lrs = [g['lr'] for g in self._optimizer.param_groups]\n            with torch.no_grad():\n                for g in self._optimizer.param_groups:\n                    for p in g['params']:\n                        p.mul_(1 - (g['initial_lr'] - g['lr']) * g['weight_decay'])\n            self._optimizer.step()\n            return True\n",
    ),
    Defect(
        "Trainer epsilon",
        "optimizer",
        "engines/trainer.py",
        "        **trial.train.model_dump(),\n",
        "        **{**trial.train.model_dump(), 'adam_epsilon': 1e-8},\n",
        ("trainer",),
    ),
    Defect(
        "gradients shrunk by 3 %",
        "optimizer",
        "engines/loop.py",
        "        if self._step_optimizer():\n",
        "        for p in self._flat:\n            p.grad.mul_(0.97)\n        if self._step_optimizer():\n",
    ),
    Defect(
        "the first step twice",
        "optimizer",
        "engines/loop.py",
        "    def _update(self) -> None:\n",
        "    def _update(self) -> None:\n        if self._step == 1:\n            self._optimizer.step()\n",
    ),
)
