from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from harness.assets.embedded import checkpoint_folder, corpus_files
from tools.embedded.corpus import DISAGREEMENT, SPLITS, Pair, generate_corpus, generate_pairs

MRPC_SPLITS = {"train": 3668, "validation": 408, "test": 1725}


@pytest.fixture(scope="module")
def corpus() -> dict[str, list[Pair]]:
    return generate_corpus()


def test_the_splits_are_a_quarter_of_mrpcs_and_two_thirds_positive(corpus: dict[str, list[Pair]]) -> None:
    for split, pairs in corpus.items():
        assert len(pairs) == round(MRPC_SPLITS[split] / 4)
        assert sum(pair.label for pair in pairs) == SPLITS[split][1]
        assert sum(pair.label for pair in pairs) / len(pairs) == pytest.approx(2 / 3, abs=0.025)


def test_no_pair_is_in_two_splits_or_twice_in_one(corpus: dict[str, list[Pair]]) -> None:
    pairs = [frozenset(pair[:2]) for split in corpus.values() for pair in split]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == 2 for pair in pairs)


def test_the_same_seed_gives_the_same_corpus_and_another_seed_another(corpus: dict[str, list[Pair]]) -> None:
    assert generate_corpus() == corpus
    assert generate_corpus(1) != corpus


def test_both_labels_share_most_of_their_words(corpus: dict[str, list[Pair]]) -> None:
    def overlap(pair: Pair) -> float:
        first, second = set(pair.sentence1.lower().split()), set(pair.sentence2.lower().split())
        return len(first & second) / len(first | second)

    rows = [(overlap(pair), pair.label) for pair in corpus["train"]]
    for label in (0, 1):
        chosen = [share for share, own in rows if own == label]
        assert 0.3 < sum(chosen) / len(chosen) < 0.6
    best = max(
        sum((share > step / 50) == bool(label) for share, label in rows) / len(rows) for step in range(51)
    )
    assert best < 0.72, "counting shared words must not solve the task: the majority class has 0.674"


def test_the_checkpoints_text_has_both_labels_and_none_of_the_corpus(corpus: dict[str, list[Pair]]) -> None:
    pairs = list(islice(generate_pairs("a test"), 2_000))
    assert 0.45 < sum(pair.label for pair in pairs) / len(pairs) < 0.55
    kept = {pair[:2] for split in corpus.values() for pair in split}
    assert not kept & {pair[:2] for pair in pairs}
    assert 0 < DISAGREEMENT < 0.1


def test_the_files_in_the_package_hold_what_the_generator_makes(corpus: dict[str, list[Pair]]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for split, (file,) in corpus_files().items():
        table = parquet.read_table(file)
        assert table.column_names == ["sentence1", "sentence2", "label", "idx"]
        rows = table.to_pylist()
        assert [Pair(row["sentence1"], row["sentence2"], row["label"]) for row in rows] == corpus[split]
        assert [row["idx"] for row in rows] == list(range(len(rows)))
        assert Path(file).stat().st_size < 100_000


@pytest.mark.parametrize("name", ["bert-uncased", "bert-cased", "distilbert"])
def test_pairs_are_about_as_long_as_mrpcs(corpus: dict[str, list[Pair]], name: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(checkpoint_folder(name) / "tokenizer.json"))
    encoded = tokenizer.encode_batch([pair[:2] for pair in corpus["train"]])
    lengths = [len(one.ids) for one in encoded]
    assert sum(lengths) / len(lengths) == pytest.approx(53.2, abs=2)
    assert max(lengths) == pytest.approx(103, abs=4)
    assert min(lengths) < 30
    assert not any("[UNK]" in one.tokens for one in encoded)
