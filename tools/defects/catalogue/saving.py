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
    Defect(
        "saved: unused rows are zero",
        "saving",
        "saving.py",
        "        whole = before.clone()\n",
        "        whole = torch.zeros_like(before)\n",
        ("loop run",),
    ),
    Defect(
        "saved: weights rounded as the trial rounds",
        "saving",
        "saving.py",
        "    return found.detach().to(before) if isinstance(found, torch.Tensor) else None\n",
        "    return found.detach().bfloat16().to(before) if isinstance(found, torch.Tensor) else None\n",
        ("loop bf16 run",),
    ),
    Defect(
        "saved: names of classes in the reverse order",
        "saving",
        "checkpoints.py",
        "id2label=dict(enumerate(labels)),",
        "id2label=dict(enumerate(labels[::-1])),",
        ("parquet run",),
    ),
    Defect(
        "saved: ids of classes from 1",
        "saving",
        "checkpoints.py",
        "label2id={name: index for index, name in enumerate(labels)}",
        "label2id={name: index for index, name in enumerate(labels, start=1)}",
        ("parquet run",),
    ),
    Defect(
        "saved: no tokenizer",
        "saving",
        "saving.py",
        "        load_tokenizer(Path(job.checkpoint.path)).save_pretrained(being_written)\n",
        "",
        ("loop run",),
    ),
    Defect(
        "saved: a tokenizer with another limit",
        "saving",
        "saving.py",
        "        load_tokenizer(Path(job.checkpoint.path)).save_pretrained(being_written)\n",
        "        tokenizer = load_tokenizer(Path(job.checkpoint.path))\n"
        "        tokenizer.model_max_length = 128\n"
        "        tokenizer.save_pretrained(being_written)\n",
        ("loop run",),
    ),
)
