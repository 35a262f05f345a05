"""Defects of precision."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import LOOP, TRAINER, Defect

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
        LOOP,
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
        TRAINER,
        'bf16=trial.precision == "bf16"',
        "bf16=False",
        ("trainer bf16",),
    ),
    Defect(
        "Trainer in bf16 always",
        "precision",
        TRAINER,
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
        LOOP,
        "            loss = training.loss_of(training.model, there)\n",
        "            loss = training.loss_of(training.model, there).bfloat16()\n",
        ("loop bf16", "loop"),
    ),
    Defect(
        "attention in fp32",
        "precision",
        "engines/cpu_attention.py",
        "summed: torch.Tensor = WeightedSum.apply(scaled, key, value, bias, drop)",
        "summed: torch.Tensor = WeightedSum.apply(scaled.float(), key.float(), value.float(), bias.float(), drop).to(query.dtype) * 1.0",
        ("loop bf16",),
    ),
    Defect(
        "matmul precision medium",
        "precision",
        "engines/loop.py",
        "    keep_used_rows(model, tokens)\n",
        "    keep_used_rows(model, tokens)\n    torch.set_float32_matmul_precision('medium')\n",
    ),
    Defect(
        "moments rounded to bf16 in bf16",
        "precision",
        LOOP,
        ("            self._optimizer.step()\n            return True\n"),
        (
            "            self._optimizer.step()\n"
            '            if self._training.trial.precision == "bf16":\n'
            "                for state in self._optimizer.state.values():\n"
            '                    state["exp_avg"].copy_(state["exp_avg"].bfloat16())\n'
            '                    state["exp_avg_sq"].copy_(state["exp_avg_sq"].bfloat16())\n'
            "            return True\n"
        ),
        ("loop bf16",),
    ),
    Defect(
        "master weights rounded to bf16 in bf16",
        "precision",
        LOOP,
        ("            self._optimizer.step()\n            return True\n"),
        (
            "            self._optimizer.step()\n"
            '            if self._training.trial.precision == "bf16":\n'
            "                with torch.no_grad():\n"
            "                    for each in self._flat:\n"
            "                        each.copy_(each.bfloat16())\n"
            "            return True\n"
        ),
        ("loop bf16",),
    ),
    Defect(
        "accumulated gradients rounded to bf16 in bf16",
        "precision",
        LOOP,
        "        return loss.detach()\n",
        (
            '        if training.trial.precision == "bf16":\n'
            "            for each in self._flat:\n"
            "                each.grad.copy_(each.grad.bfloat16())\n"
            "        return loss.detach()\n"
        ),
        ("loop bf16",),
    ),
    Defect(
        "one autocast an epoch",
        "precision",
        LOOP,
        (
            "        training.meter.open_window()\n"
            "        for batches in steps[done:]:\n"
            "            self._step += 1\n"
            "            for batch in batches:\n"
            "                self._loss = self._loss_of(batch, len(batches))\n"
            "                self._record.see(self._step, self._loss)\n"
            "            self._update()\n"
            "            training.meter.step(batches, epoch, lambda: self._record.last)\n"
            "            if batches is not steps[-1] and self._keeps():\n"
            "                self._keep_within()\n"
        ),
        (
            "        training.meter.open_window()\n"
            "        with autocast(training.device, training.trial.precision):\n"
            "            for batches in steps[done:]:\n"
            "                self._step += 1\n"
            "                for batch in batches:\n"
            "                    self._loss = self._loss_of(batch, len(batches))\n"
            "                    self._record.see(self._step, self._loss)\n"
            "                self._update()\n"
            "                training.meter.step(batches, epoch, lambda: self._record.last)\n"
            "                if batches is not steps[-1] and self._keeps():\n"
            "                    self._keep_within()\n"
        ),
        ("loop bf16",),
    ),
)
