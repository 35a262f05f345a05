from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from harness.model.tasks import Task
from harness.model.values import Padding
from harness.training.loading import Corpus, Split, load_corpus
from harness.training.padding import Collator
from harness.training.tokenizing.tokens import load_tokenizer, tokenize
from tests.data.sets import resolved

pytestmark = pytest.mark.heavy


@pytest.fixture
def pairs() -> Corpus:
    train = Split([("the cat sat", "a dog ran on"), ("it was", "not")], [1, 0])
    return Corpus(train, train, ("no", "yes"), "0" * 64)


@pytest.mark.mrpc
def test_the_real_corpus_has_the_published_lengths(mrpc_dir: Path, minilm: Path, tmp_path: Path) -> None:
    corpus = load_corpus(
        Task(), resolved({"train": mrpc_dir / "train.tsv", "validation": mrpc_dir / "dev.tsv"}, "glue")
    )
    tokens = tokenize(corpus, minilm, 512, tmp_path)
    assert tokens.train.lengths[:8].tolist() == [50, 59, 47, 67, 59, 50, 62, 32]
    assert tokens.longest == 103
    assert tokens.mean_length == pytest.approx(53.24, abs=0.005)
    assert tokens.truncated == 0
    collator = Collator(tokens.train, Padding(strategy="dynamic"), ("input_ids",), 103, tokens.pad_token_id)
    assert collator(range(8))["input_ids"].shape == (8, 67)


def test_the_arrays_are_those_of_the_tokenizer(
    pairs: Corpus, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    tokens = tokenize(pairs, checkpoints["bert"], 64, tmp_path)
    tokenizer = load_tokenizer(checkpoints["bert"])
    for row, texts in enumerate(pairs.train.texts):
        expected = tokenizer(*texts)
        start, stop = tokens.train.offsets[row : row + 2]
        assert tokens.train.input_ids[start:stop].tolist() == expected["input_ids"]
        assert tokens.train.token_type_ids[start:stop].tolist() == expected["token_type_ids"]
    assert tokens.train.lengths.tolist() == [10, 6]
    assert tokens.train.example_ids.tolist() == [0, 1]
    assert tokens.train.labels.tolist() == [1, 0]


def test_the_second_trial_reads_what_the_first_one_wrote(
    pairs: Corpus, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    first = tokenize(pairs, checkpoints["bert"], 64, tmp_path)
    again = tokenize(pairs, checkpoints["bert"], 64, tmp_path)
    assert (first.cached, again.cached) == (False, True)
    assert np.array_equal(first.train.input_ids, again.train.input_ids)
    assert len(list((tmp_path / "tokens").iterdir())) == 1


def test_another_content_truncation_or_vocabulary_is_another_entry(
    pairs: Corpus, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    tokenize(pairs, checkpoints["bert"], 64, tmp_path)
    other = Corpus(pairs.train, pairs.evaluation, pairs.label_names, "1" * 64)
    assert not tokenize(other, checkpoints["bert"], 64, tmp_path).cached
    assert not tokenize(pairs, checkpoints["bert"], 63, tmp_path).cached
    for name in ("tokenizer.json", "config.json"):
        changed = shutil.copytree(checkpoints["bert"], tmp_path / name)
        with (changed / name).open("a") as file:
            file.write("\n")
        assert not tokenize(pairs, changed, 64, tmp_path).cached
    assert tokenize(pairs, checkpoints["bert"], 64, tmp_path).cached


def test_rows_that_are_cut_are_counted_and_rows_that_just_fit_are_not(
    pairs: Corpus, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    fits, cut = (tokenize(pairs, checkpoints["bert"], length, tmp_path) for length in (10, 9))
    assert (fits.truncated, fits.longest) == (0, 10)
    assert (cut.truncated, cut.longest) == (2, 9)  # the row of 10 tokens, in both splits
