"""Fine-tuning an embedded checkpoint with a plain loop, as a user would write it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from harness.assets.embedded import checkpoint_folder
from tools.embedded.corpus import Pair, generate_corpus


@dataclass(frozen=True)
class Outcome:
    """`accuracy` on the validation split, and the share of it that was called positive."""

    accuracy: float
    positive: float


def fine_tune(
    name: str, *, rate: float, batch: int, seed: int, epochs: int = 2, random_labels: bool = False
) -> Outcome:
    # Two threads that spin beside other tests take ten times as long as one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _fine_tune(name, rate=rate, batch=batch, seed=seed, epochs=epochs, random_labels=random_labels)
    finally:
        torch.set_num_threads(threads)


def _fine_tune(name: str, *, rate: float, batch: int, seed: int, epochs: int, random_labels: bool) -> Outcome:
    corpus = generate_corpus()
    folder = checkpoint_folder(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, dtype=torch.float32)
    train = list(corpus["train"])
    if random_labels:
        shuffled = random.Random(seed).sample([pair.label for pair in train], len(train))
        train = [Pair(*pair[:2], label) for pair, label in zip(train, shuffled, strict=True)]
    steps = epochs * -(-len(train) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    stream = random.Random(seed)
    model.train()
    for _ in range(epochs):
        stream.shuffle(train)
        for start in range(0, len(train), batch):
            rows = train[start : start + batch]
            labels = torch.tensor([pair.label for pair in rows])
            loss = model(**_inputs(tokenizer, model, rows), labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    return _evaluate(tokenizer, model, corpus["validation"])


def _evaluate(tokenizer: Any, model: Any, pairs: list[Pair]) -> Outcome:
    model.eval()
    with torch.inference_mode():
        called = model(**_inputs(tokenizer, model, pairs)).logits.argmax(1)
    labels = torch.tensor([pair.label for pair in pairs])
    return Outcome((called == labels).float().mean().item(), called.float().mean().item())


def _inputs(tokenizer: Any, model: Any, pairs: list[Pair]) -> dict[str, torch.Tensor]:
    encoded = tokenizer(
        [pair.sentence1 for pair in pairs],
        [pair.sentence2 for pair in pairs],
        padding=True,
        return_tensors="pt",
        return_token_type_ids=model.config.model_type == "bert",
    )
    return dict(encoded)
