"""An entry of the token cache is used whole and intact, or replaced with a note."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.training.loading import Corpus, Split
from harness.training.tokenizing import tokens as tokenization
from harness.training.tokenizing.token_cache import (
    Entry,
    Shape,
    TokenArrays,
    UnusableEntryError,
    read_entry,
    write_entry,
)
from harness.training.tokenizing.tokens import Tokenized, tokenize

pytestmark = pytest.mark.heavy

KEY: Final = "0123456789abcdef" * 2
SHAPE: Final = Shape(KEY, train=2, evaluation=1, max_length=4)


def arrays(*lengths: int) -> TokenArrays:
    tokens = sum(lengths)
    return TokenArrays(
        np.arange(tokens, dtype=np.int32),
        np.ones(tokens, dtype=np.uint8),
        np.cumsum((0, *lengths), dtype=np.int64),
    )


def entry(train: TokenArrays | None = None, pad_token_id: int = 7, truncated: int = 1) -> Entry:
    return Entry(train or arrays(3, 2), arrays(4), pad_token_id, truncated)


@pytest.fixture
def pairs() -> Corpus:
    train = Split([("the cat sat", "a dog ran on"), ("it was", "not")], [1, 0])
    return Corpus(train, train, ("no", "yes"), "0" * 64)


def same(one: Tokenized, other: Tokenized) -> bool:
    return all(
        np.array_equal(getattr(getattr(one, split), name), getattr(getattr(other, split), name))
        for split in ("train", "evaluation")
        for name in ("input_ids", "token_type_ids", "offsets", "labels", "example_ids")
    )


def test_an_entry_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "tokens" / "entry"
    assert read_entry(file, SHAPE) is None
    assert write_entry(file, KEY, entry()) is None
    found = read_entry(file, SHAPE)
    assert found is not None
    assert (found.pad_token_id, found.truncated) == (7, 1)
    for split in ("train", "evaluation"):
        for one, other in zip(getattr(found, split), getattr(entry(), split), strict=True):
            assert one.dtype == other.dtype
            assert np.array_equal(one, other)
    assert [path.name for path in file.parent.iterdir()] == ["entry"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_and_any_other_length_is_found_out(tmp_path: Path, data: st.DataObject) -> None:
    file = tmp_path / "entry"
    write_entry(file, KEY, entry())
    whole = file.read_bytes()
    if data.draw(st.booleans(), label="truncate or extend"):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))] + data.draw(
            st.sampled_from([b"", b"\n"])
        )
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    if damaged == whole:
        return
    file.write_bytes(damaged)
    with pytest.raises(UnusableEntryError):
        read_entry(file, SHAPE)


def test_an_entry_of_another_key_is_not_used(tmp_path: Path) -> None:
    write_entry(tmp_path / "entry", "f" * 32, entry())
    with pytest.raises(UnusableEntryError, match="SHA-256"):
        read_entry(tmp_path / "entry", SHAPE)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (entry(arrays(3)), "train has 1 examples instead of 2"),
        (entry(arrays(5, 2)), r"train\.offsets do not divide"),
        (entry(arrays(3, 2)._replace(offsets=np.array([0, 6, 5]))), r"train\.offsets do not divide"),
        (entry(arrays(3, 2)._replace(offsets=np.array([1, 3, 5]))), r"train\.offsets do not divide"),
        (entry(arrays(3, 2)._replace(input_ids=np.arange(5))), r"train\.input_ids is int64"),  # type: ignore[arg-type]
        (entry(arrays(3, 2)._replace(input_ids=np.full(5, -1, np.int32))), "belongs to no token"),
        (entry(arrays(3, 2)._replace(token_type_ids=np.ones(4, np.uint8))), "belongs to no token"),
        (
            entry(arrays(3, 2)._replace(offsets=np.array([[0, 3, 5]]))),
            r"train\.offsets is int64 of 2 dimensions",
        ),
        (entry(pad_token_id=-1), "counts are impossible"),
        (entry(truncated=4), "counts are impossible"),
    ],
)
def test_arrays_that_do_not_fit_the_corpus_are_not_used_though_their_digest_is_right(
    wrong: Entry, reason: str, tmp_path: Path
) -> None:
    write_entry(tmp_path / "entry", KEY, wrong)
    with pytest.raises(UnusableEntryError, match=reason):
        read_entry(tmp_path / "entry", SHAPE)


def test_an_entry_larger_than_its_examples_can_take_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "entry").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnusableEntryError, match="larger than"):
        read_entry(tmp_path / "entry", SHAPE)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    "damage", [truncate, link, pipe, lambda file: file.write_text("{}"), lambda file: file.write_bytes(b"")]
)
def test_a_damaged_entry_is_replaced_with_a_note_and_the_next_trial_uses_the_new_one(
    damage: Callable[[Path], object], pairs: Corpus, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    first = tokenize(pairs, checkpoints["bert"], 64, tmp_path)
    (file,) = (tmp_path / "tokens").iterdir()
    damage(file)
    again, third = (tokenize(pairs, checkpoints["bert"], 64, tmp_path) for _ in range(2))
    assert (again.cached, third.cached) == (False, True)
    (note,) = again.notes
    assert note.startswith(f"token cache: entry {file.stem[:12]} was not used (")
    assert str(tmp_path) not in note
    assert first.notes == third.notes == ()
    assert same(first, again)
    assert same(first, third)


def test_labels_and_ids_come_from_the_corpus(
    pairs: Corpus, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    tokenize(pairs, checkpoints["bert"], 64, tmp_path)
    flipped = Split(pairs.train.texts, [0, 1])
    # The same content digest, so that both share an entry: its labels could only come from the corpus.
    again = tokenize(Corpus(flipped, flipped, ("no", "yes"), "0" * 64), checkpoints["bert"], 64, tmp_path)
    assert again.cached
    assert again.train.labels.tolist() == [0, 1]
    assert again.train.example_ids.tolist() == [0, 1]


@pytest.mark.parametrize("taken", ["tokens is a file", "the entry is a folder"])
def test_a_trial_goes_on_without_a_cache_that_cannot_be_written(
    taken: str, pairs: Corpus, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    good = tokenize(pairs, checkpoints["bert"], 64, tmp_path / "good")
    (file,) = (tmp_path / "good" / "tokens").iterdir()
    cache = tmp_path / "cache"
    if taken == "tokens is a file":
        cache.mkdir()
        (cache / "tokens").write_text("taken")
    else:
        (cache / "tokens" / file.name / "inside").mkdir(parents=True)
    found = tokenize(pairs, checkpoints["bert"], 64, cache)
    assert not found.cached
    assert "was not written" in found.notes[-1]
    assert not any(str(tmp_path) in note for note in found.notes)
    assert same(found, good)


def test_tokens_of_a_tokenizer_that_changed_while_it_was_read_are_not_stored(
    pairs: Corpus, checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(checkpoints["bert"], checkpoint)
    load = tokenization.load_tokenizer

    def change_and_load(folder: Path) -> object:
        tokenizer = load(folder)
        (folder / "tokenizer_config.json").write_text("{}")
        return tokenizer

    monkeypatch.setattr(tokenization, "load_tokenizer", change_and_load)
    tokenize(pairs, checkpoint, 64, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("tokens/*"))


def test_processes_that_write_the_same_entry_at_once_all_succeed_and_readers_see_it_whole(
    tmp_path: Path,
) -> None:
    file = tmp_path / "tokens" / "entry"
    lengths = [random.Random(0).randint(1, 40) for _ in range(2_000)]
    shape = Shape(KEY, train=2_000, evaluation=1, max_length=40)
    large = entry(arrays(*lengths))
    writers = [
        get_context("fork").Process(
            target=lambda: os._exit(any(write_entry(file, KEY, large) for _ in range(10)))
        )
        for _ in range(3)
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        read_entry(file, shape)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    found = read_entry(file, shape)
    assert found is not None
    assert np.array_equal(found.train.input_ids, large.train.input_ids)
    assert [path.name for path in file.parent.iterdir()] == ["entry"]
