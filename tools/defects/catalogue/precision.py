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
)
