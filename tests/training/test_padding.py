from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import DataCollatorWithPadding

from harness.model.values import Padding
from harness.training.loading import Corpus, Split
from harness.training.padding import Collator
from harness.training.tokenizing.tokens import Tokenized, load_tokenizer, tokenize
from tests.training.conftest import sentence_pairs

pytestmark = pytest.mark.heavy
COLUMNS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture
def tokens(checkpoints: dict[str, Path], tmp_path: Path) -> Tokenized:
    rows = sentence_pairs(40, seed=1)
    split = Split([(row["sentence1"], row["sentence2"]) for row in rows], [row["label"] for row in rows])
    return tokenize(Corpus(split, split, ("no", "yes"), "0" * 64), checkpoints["bert"], 64, tmp_path)


@pytest.mark.parametrize("multiple_of", [None, 8])
def test_a_dynamic_batch_is_that_of_transformers_own_collator(
    tokens: Tokenized, checkpoints: dict[str, Path], multiple_of: int | None
) -> None:
    tokenizer = load_tokenizer(checkpoints["bert"])
    rows = sentence_pairs(40, seed=1)
    wanted = [7, 3, 39, 0]
    features = [
        {**tokenizer(rows[i]["sentence1"], rows[i]["sentence2"]), "labels": rows[i]["label"]} for i in wanted
    ]
    expected = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=multiple_of)(features)
    padding = Padding(strategy="dynamic", multiple_of=multiple_of)
    batch = Collator(tokens.train, padding, COLUMNS, tokens.longest, tokens.pad_token_id)(wanted)
    assert set(batch) == {*COLUMNS, "labels"}
    for name, tensor in batch.items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    ("padding", "width"),
    [
        (Padding(strategy="static"), "longest"),
        (Padding(strategy="static", length=60), 60),
        (Padding(strategy="static", length=57, multiple_of=8), 64),
    ],
    ids=str,
)
def test_a_static_batch_has_one_width(tokens: Tokenized, padding: Padding, width: int | str) -> None:
    collator = Collator(tokens.train, padding, COLUMNS, tokens.longest, tokens.pad_token_id)
    expected = tokens.longest if width == "longest" else width
    for rows in ([0], [1, 2, 3]):
        batch = collator(rows)
        assert batch["input_ids"].shape == (len(rows), expected)
        assert batch["attention_mask"].sum() == tokens.train.lengths[rows].sum()
        assert (batch["input_ids"][batch["attention_mask"] == 0] == tokens.pad_token_id).all()


def test_a_model_gets_no_column_that_it_does_not_take(tokens: Tokenized) -> None:
    collator = Collator(
        tokens.train, Padding(strategy="dynamic"), COLUMNS[:2], tokens.longest, tokens.pad_token_id
    )
    assert set(collator([0, 1])) == {"input_ids", "attention_mask", "labels"}
