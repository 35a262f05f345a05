"""Fine-tune a checkpoint on MRPC as people do it today: transformers' `Trainer`, one process a run.

What the benchmarks hold the project against. It follows transformers' own `run_glue.py` and the course: the
tokenizer, `Dataset.map`, a collator, `Trainer` with its defaults, `evaluate` at the end. Writing checkpoints,
logging and reporting are off, which is faster than the defaults. It imports nothing of the project, and
prints one JSON line.

`python tests/benchmarks/plain_script.py --checkpoint FOLDER --data FOLDER_WITH_GLUES_TSV_FILES`
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import torch
from datasets import DatasetDict, load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    set_seed,
)

# evaluate's own metric for MRPC is on the Hub; this one computes the same and is on disk.
METRIC = (
    Path(__file__).parents[2].resolve() / "harness" / "training" / "evaluate_modules" / "classification.py"
)


def parse_arguments() -> argparse.Namespace:
    """What to train, and how."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--data", required=True, help="a folder with GLUE's train.tsv and dev.tsv")
    parser.add_argument("--padding", choices=["static", "dynamic"], default="static")
    parser.add_argument("--length", type=int, default=128, help="tokens a row is cut at, and padded to")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--warmup-steps", type=int, default=0, help="steps that are not timed")
    return parser.parse_args()


def read_data(folder: Path) -> DatasetDict:
    """GLUE's files, which know no quoting."""
    files = {"train": str(folder / "train.tsv"), "validation": str(folder / "dev.tsv")}
    data = load_dataset("csv", data_files=files, sep="\t", quoting=csv.QUOTE_NONE, encoding="utf-8-sig")
    return data.rename_columns({"Quality": "label", "#1 String": "sentence1", "#2 String": "sentence2"})


class StepTimes(TrainerCallback):
    """The moments at which the optimizer steps ended; `times[0]` is the start of the first."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def _now(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if not self.times:
            self._now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._now()


def main() -> None:
    """Train, evaluate, and print the rate and the scores."""
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    set_seed(arguments.seed)
    data = read_data(Path(arguments.data))
    tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(arguments.checkpoint, num_labels=2)
    padding = "max_length" if arguments.padding == "static" else False

    def encode(rows: dict[str, list[str]]) -> Any:
        return tokenizer(
            rows["sentence1"],
            rows["sentence2"],
            padding=padding,
            max_length=arguments.length,
            truncation=True,
        )

    encoded = data.map(encode, batched=True)
    metric = evaluate.load(str(METRIC))

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        predicted = np.argmax(prediction.predictions, axis=1)
        scores: dict[str, float] = metric.compute(predictions=predicted, references=prediction.label_ids)
        return scores

    step_times = StepTimes()
    with tempfile.TemporaryDirectory() as output_dir:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=output_dir,
                per_device_train_batch_size=arguments.batch_size,
                num_train_epochs=arguments.epochs,
                max_steps=arguments.max_steps,
                learning_rate=arguments.learning_rate,
                seed=arguments.seed,
                bf16=arguments.bf16,
                use_cpu=not torch.cuda.is_available(),
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=encoded["train"],
            eval_dataset=encoded["validation"],
            data_collator=DataCollatorWithPadding(tokenizer) if not padding else default_data_collator,
            processing_class=tokenizer,
            compute_metrics=compute_metrics,
            callbacks=[step_times],
        )
        trainer.train()
        scores = trainer.evaluate()
    times, warm_up = step_times.times, arguments.warmup_steps
    examples = examples_of_steps(len(encoded["train"]), arguments.batch_size, len(times) - 1)
    seconds = times[-1] - times[warm_up]
    found = {
        "train_samples_per_second": sum(examples[warm_up:]) / seconds,
        "train_seconds": seconds,
        "steps": len(times) - 1,
        "warmup_steps": warm_up,
        "threads": torch.get_num_threads(),
        **{name: scores[f"eval_{name}"] for name in ("accuracy", "f1", "mcc", "loss")},
    }
    print(json.dumps(found))  # noqa: T201 -- the result, for whoever started the script


def examples_of_steps(rows: int, batch_size: int, steps: int) -> list[int]:
    """How many examples each step saw: a full batch, or what is left at the end of an epoch."""
    sizes = [min(batch_size, rows - start) for start in range(0, rows, batch_size)]
    return [sizes[step % len(sizes)] for step in range(steps)]


if __name__ == "__main__":
    main()
