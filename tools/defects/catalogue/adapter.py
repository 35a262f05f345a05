"""Defects of adapters and of seeds with roles."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import LOOP, TRAINER, Defect

_PLACE: Final = "variants/adapters.py"
_INJECT: Final = "    inject_adapter_in_model(config, model)\n"

ADAPTER: Final = (
    Defect(
        "adapters in half of the layers",
        "adapter",
        _PLACE,
        "    targets = find_targets(model, adapter.targets)\n",
        "    targets = find_targets(model, adapter.targets)[:2]\n",
        ("trainer lora",),
    ),
    Defect(
        "encoder not frozen",
        "adapter",
        _PLACE,
        _INJECT,
        f"{_INJECT}    model.requires_grad_(True)\n",
        ("trainer lora",),
    ),
    Defect(
        "head frozen with the encoder",
        "adapter",
        _PLACE,
        "        parameter.requires_grad_(True)\n",
        "        parameter.requires_grad_(False)\n",
        ("trainer lora",),
    ),
    Defect(
        "dropout of adapters left out",
        "adapter",
        _PLACE,
        "        lora_dropout=adapter.dropout,\n",
        "        lora_dropout=0.0,\n",
        ("trainer lora",),
    ),
    Defect(
        "alpha not divided by the rank",
        "adapter",
        _PLACE,
        "        lora_alpha=adapter.alpha,",
        "        lora_alpha=adapter.alpha * adapter.r,",
        ("trainer lora",),
    ),
    Defect(
        "keys adapted in place of values",
        "adapter",
        _PLACE,
        '(("query", "value"),',
        '(("query", "key"),',
        ("trainer lora",),
    ),
    Defect(
        "used rows thaw the embedding",
        "adapter",
        "engines/used_rows.py",
        "nn.Parameter(kept, requires_grad=embedding.weight.requires_grad)",
        "nn.Parameter(kept)",
        ("loop lora",),
    ),
    Defect(
        "the loop drops by the seed of weights",
        "seeds",
        LOOP,
        'draw = RandomBits(ranks.seed_of(number_of(trial.seed, "dropout")))',
        'draw = RandomBits(ranks.seed_of(number_of(trial.seed, "init")))',
        ("loop roles",),
    ),
    Defect(
        "Trainer drops by the seed of order",
        "seeds",
        TRAINER,
        'seed=number_of(trial.seed, "dropout")',
        'seed=number_of(trial.seed, "order")',
        ("trainer roles",),
    ),
    Defect(
        "the order follows the seed of weights",
        "seeds",
        "fitting.py",
        'seed=number_of(trial.seed, "order")',
        'seed=number_of(trial.seed, "init")',
        ("loop roles",),
    ),
    Defect(
        "weights drawn by the seed of order",
        "seeds",
        "preparing.py",
        'set_seed(number_of(trial.seed, "init"))',
        'set_seed(number_of(trial.seed, "order"))',
        ("loop roles",),
    ),
)
