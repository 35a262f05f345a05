"""`harness init`: write a commented suite to start from, and the schema by which an editor checks it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import click

from harness.cli.messages import print_note
from harness.cli.shared_options import harness_command
from harness.cli.suite_commands.schema import schema_of
from harness.errors import InvalidInputError
from harness.store.writing import write_atomic
from harness.suite.suite_file import parse_suite

SCHEMA_FILE: Final = "suite.schema.json"
TEMPLATE: Final = """\
# yaml-language-server: $schema=suite.schema.json
#
# Does a batch without padding make fine-tuning faster, and does it leave the quality unchanged?
#
#   harness plan NAME    lists the trials, with the checkpoints, data and devices that they will use
#   harness run NAME     runs them; the same command resumes an interrupted run
#
# Each combination of the values under `matrix` is a variant; a variant with a seed is a trial, which runs in
# a separate process. A line that begins with # and no space is a setting to switch on.
name: NAME

# A task of GLUE by its short name, or a folder with train.csv and validation.csv (or parquet, jsonl, tsv).
task: glue/mrpc
#task: {dataset: mine, data_dir: data, text: [question, answer], label: correct}

matrix:
  # Names on the Hub, or folders. Offline a small stand-in is used and labelled; `--assets hub` refuses it.
  checkpoint: [bert-base-uncased]
  padding: [dynamic, unpadded]
  # The best device of this machine; or cpu, cuda:1, mps, all.
  device: [auto]
  #precision: [fp32, bf16]
  #engine: [trainer, loop]
  #train.learning_rate: [3e-5, 5e-5]
  # One seed decides nothing about a recipe; `harness compare` prints how many seeds would.
  seed: [0, 1, 2]

# Combinations to leave out, and combinations in addition.
#exclude: [{padding: unpadded, seed: 2}]
#include: [{checkpoint: distilbert-base-uncased, padding: dynamic}]

# The settings of all trials, by the names of transformers.TrainingArguments.
train: {num_train_epochs: 3, per_device_train_batch_size: 16, learning_rate: 5e-5}

# Steps at the start of a trial that do not count in rates.
measure: {warmup_steps: 10}

# Scores by a file with an evaluate.Metric, and published values to compare with.
#metrics: [{path: my_metric.py, goal: max}]
#reference: {eval_accuracy: 0.8578, eval_f1: 0.8997}

# `harness run` and `harness check` fail where a gate does; a drop is relative to --baseline.
#gates: [{metric: eval_f1, min: 0.86}, {metric: train_real_tokens_per_second, max_drop: 25%}]

# Weights that a checkpoint may lack or not use, and the largest number of trials.
#allow_weights: ['bert.encoder.layer.11.*']
#max_trials: 1000
"""


@harness_command("init")
@click.argument("name", default="suite")
def command(name: str) -> None:
    """Write NAME.yaml, a commented suite that `harness run NAME` runs unchanged.

    The schema of suites is written next to it as suite.schema.json: with it an editor completes keys and
    marks mistakes. No file is overwritten.
    """
    file, schema = Path(f"{name}.yaml"), Path(SCHEMA_FILE)
    text = TEMPLATE.replace("NAME", name)
    try:
        parse_suite(text, "the new suite")
    except InvalidInputError:
        raise InvalidInputError(
            f"{name!r} cannot be the name of a suite",
            hint="A name is 1 to 64 letters, digits, - and _, the first a letter: padding, gpu-2.",
        ) from None
    if os.path.lexists(file):
        raise InvalidInputError(
            f"{file}: it exists already", hint="Choose another name, or move the file away."
        )
    write_atomic(file, text.encode())
    _write_schema(schema)
    click.echo(f"wrote {file}; next: harness plan {name}")


def _write_schema(file: Path) -> None:
    content = (json.dumps(schema_of("suite"), indent=2) + "\n").encode()
    if not os.path.lexists(file):
        write_atomic(file, content)
    elif not file.is_file() or file.read_bytes() != content:
        print_note(f"{file}: left unchanged; renew it with: harness schema suite > {file}")
