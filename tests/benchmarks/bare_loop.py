"""Several trainings in one process, with nothing but what training needs: the floor that a harness stands on.

Data are read and tokenised once. Each training loads the checkpoint anew, takes `--max-steps` steps of AdamW
on dynamically padded batches, and evaluates once. It prints one JSON line with the seconds of each training,
which is all but the start of the process and the reading of data.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from typing import Any

import torch
from datasets import load_dataset
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    get_linear_schedule_with_warmup,
    set_seed,
)


def parse_arguments() -> argparse.Namespace:
    """What to train, and how often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--data", required=True, help="a folder with GLUE's train.tsv and dev.tsv")
    parser.add_argument("--trainings", type=int, default=12)
    parser.add_argument("--max-steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def train(arguments: argparse.Namespace, seed: int, loaders: tuple[Any, Any]) -> float:
    """Train once from the checkpoint, and give the accuracy."""
    set_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(arguments.checkpoint, num_labels=2)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(  # type: ignore[no-untyped-call]  # transformers leaves it so
        optimizer, 0, arguments.max_steps
    )
    rows, evaluation = loaders
    for _, batch in zip(range(arguments.max_steps), rows, strict=False):
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
    right = total = 0
    with torch.inference_mode():
        for batch in evaluation:
            labels = batch.pop("labels")
            right += int((model(**batch).logits.argmax(-1) == labels).sum())
            total += len(labels)
    return right / total


def main() -> None:
    """Train as often as asked, and print how long each training took."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    files = {
        name: f"{arguments.data}/{file}.tsv" for name, file in (("train", "train"), ("validation", "dev"))
    }
    data = load_dataset("csv", data_files=files, sep="\t", quoting=csv.QUOTE_NONE, encoding="utf-8-sig")
    data = data.rename_columns({"Quality": "label"})
    tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    encoded = data.map(
        lambda rows: tokenizer(rows["#1 String"], rows["#2 String"], truncation=True),
        batched=True,
        remove_columns=[name for name in data["train"].column_names if name != "label"],
    )
    collator = DataCollatorWithPadding(tokenizer)
    loaders = (
        DataLoader(encoded["train"], arguments.batch_size, shuffle=True, collate_fn=collator),
        DataLoader(encoded["validation"], 2 * arguments.batch_size, collate_fn=collator),
    )
    seconds, accuracies = [], []
    for seed in range(arguments.trainings):
        since = time.perf_counter()
        accuracies.append(train(arguments, seed, loaders))
        seconds.append(time.perf_counter() - since)
    print(json.dumps({"training_seconds": seconds, "accuracy": accuracies}))  # noqa: T201 -- the result


if __name__ == "__main__":
    main()
