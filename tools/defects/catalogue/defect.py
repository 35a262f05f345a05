"""A planted defect: a small change of one source file."""

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
    "adapter",
    "seeds",
    "evaluation",
    "counts",
    "compile",
    "ranks",
    "regression",
    "resuming",
    "saving",
    "data",
    "measuring",
]
Variant = Literal[
    "trainer",
    "trainer workers",
    "loop",
    "loop unpadded",
    "loop bf16",
    "trainer bf16",
    "loop bucketed",
    "loop cls",
    "trainer compiled",
    "loop compiled",
    "loop smoothing",
    "trainer smoothing",
    "loop checkpointing",
    "trainer checkpointing",
    "loop restarts",
    "trainer sgd",
    "trainer adafactor",
    "trainer grouped",
    "trainer rebalanced",
    "loop lora",
    "trainer lora",
    "loop roles",
    "trainer roles",
    "trainer math",
    "loop 2 ranks",
    "loop regression",
    "trainer regression",
    "loop static",
    "loop eager",
    "trainer unpadded eager",
    "loop unfused",
    "loop window",
    "loop bf16 run",
    "loop run",
    "loop lora run",
    "warmed run",
    "decayed run",
    "csv run",
    "jsonl run",
    "parquet run",
    "mnli run",
    "cola run",
    "similarity run",
    "cut run",
    "tokenizing run",
    "runs of two lengths",
    "runs of two tokenizers",
    "runs of two data sets",
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


LOOP: Final = "engines/loop.py"
TRAINER: Final = "engines/trainer.py"
