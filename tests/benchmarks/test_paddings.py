"""Collators and paddings alone: an epoch's batches from token arrays to tensors, without a model.

The yardstick is transformers' `DataCollatorWithPadding` on the rows of a `Dataset`, as `Trainer` uses it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from datasets import Dataset
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import DataCollatorWithPadding

from harness.assets.embedded import checkpoint_folder
from harness.assets.find_data import find_data
from harness.model.tasks import Task
from harness.model.values import Padding, PaddingStrategy
from harness.training.batching import Batch, plan_epoch
from harness.training.loading import load_corpus
from harness.training.padding import Collator
from harness.training.tokenizing.tokens import Tokenized, load_tokenizer, tokenize

CHECKPOINT = "embedded/bert-uncased"
BATCH_SIZE = 8
COLUMNS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokenized:
    data = find_data(Task(), "embedded", note=lambda _text: None)
    cache = tmp_path_factory.mktemp("tokens")
    return tokenize(load_corpus(Task(), data), checkpoint_folder(CHECKPOINT), 128, cache)


def plan(tokens: Tokenized, strategy: PaddingStrategy) -> list[Batch]:
    padding = Padding(strategy=strategy)
    return plan_epoch(tokens.train.lengths, BATCH_SIZE, padding, longest=tokens.longest, seed=0, epoch=0)


@pytest.mark.parametrize("strategy", get_args(PaddingStrategy))
def test_collating_an_epoch(
    benchmark: BenchmarkFixture, tokens: Tokenized, strategy: PaddingStrategy
) -> None:
    batches = plan(tokens, strategy)
    collator = Collator(
        tokens.train, Padding(strategy=strategy), COLUMNS, tokens.longest, tokens.pad_token_id
    )
    rows = [batch.rows.tolist() for batch in batches]
    benchmark(lambda: [collator(each) for each in rows])
    real, computed = (
        sum(getattr(batch, name) for batch in batches) for name in ("real_tokens", "computed_tokens")
    )
    benchmark.extra_info.update(batches=len(batches), padding_efficiency=real / computed)


def test_collating_an_epoch_as_trainer_does(benchmark: BenchmarkFixture, tokens: Tokenized) -> None:
    split, batches = tokens.train, plan(tokens, "dynamic")
    spans = [slice(*split.offsets[row : row + 2]) for row in range(len(split))]
    columns: dict[str, Any] = {
        "input_ids": [split.input_ids[span].tolist() for span in spans],
        "token_type_ids": [split.token_type_ids[span].tolist() for span in spans],
        "attention_mask": [[1] * (span.stop - span.start) for span in spans],
        "label": split.labels.tolist(),
    }
    dataset = Dataset.from_dict(columns)
    collator = DataCollatorWithPadding(load_tokenizer(Path(checkpoint_folder(CHECKPOINT))))
    rows = [batch.rows.tolist() for batch in batches]
    benchmark(lambda: [collator([dataset[row] for row in each]) for each in rows])
    benchmark.extra_info.update(batches=len(batches))


@pytest.mark.parametrize("strategy", get_args(PaddingStrategy))
def test_planning_an_epoch(benchmark: BenchmarkFixture, tokens: Tokenized, strategy: PaddingStrategy) -> None:
    benchmark(lambda: plan(tokens, strategy))
