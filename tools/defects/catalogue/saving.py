"""Defects of saved models."""

from __future__ import annotations

from typing import Final

from tools.defects.catalogue.defect import Defect

SAVING: Final = (
    Defect(
        "saved: adapters left out",
        "saving",
        "saving.py",
        ('        if leaf == "weight":\n            merged'),
        ('        if leaf == "kernel":\n            merged'),
        ("loop lora run",),
    ),
    Defect(
        "saved: rows in the order of ids shifted",
        "saving",
        "saving.py",
        "        whole[module.used.cpu()] = module.weight.detach().to(before)\n",
        "        whole[: len(module.used)] = module.weight.detach().to(before)\n",
        ("loop run",),
    ),
    Defect(
        "saved: in bf16",
        "saving",
        "saving.py",
        "    plain.save_pretrained(being_written)",
        "    plain.to(torch.bfloat16).save_pretrained(being_written)",
        ("loop run",),
    ),
)
