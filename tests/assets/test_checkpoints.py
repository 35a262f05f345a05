from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.assets.checkpoint_folder import check_folder
from harness.assets.embedded import EMBEDDED_CHECKPOINTS, checkpoint_folder

NAMES = [name.removeprefix("embedded/") for name in EMBEDDED_CHECKPOINTS]
MAJORITY = 70 / 102


@pytest.mark.parametrize("name", NAMES)
def test_an_embedded_checkpoint_is_a_whole_folder_and_small(name: str) -> None:
    folder = checkpoint_folder(name)
    check_folder(name, folder)
    assert {file.name for file in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    assert all(file.stat().st_size < 1_250_000 for file in folder.iterdir())
    config = json.loads((folder / "config.json").read_text())
    assert config["max_position_embeddings"] == 512
    assert config["vocab_size"] == len((folder / "vocab.txt").read_text().splitlines())


def test_the_cased_one_keeps_capitals_and_the_others_do_not() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    for name, token in (("bert-cased", "Monday"), ("bert-uncased", "monday"), ("distilbert", "monday")):
        tokenizer = tokenizers.Tokenizer.from_file(str(checkpoint_folder(name) / "tokenizer.json"))
        assert token in tokenizer.encode("on Monday").tokens


def test_no_printable_text_becomes_unknown() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    for name in NAMES:
        tokenizer = tokenizers.Tokenizer.from_file(str(checkpoint_folder(name) / "tokenizer.json"))
        assert (
            "[UNK]" not in tokenizer.encode('PCCW\'s "chief" 100% @zebra; résumé?'.replace("é", "e")).tokens
        )


def test_the_vocabularies_are_those_the_script_builds(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    from tools.embedded.vocabulary import build_tokenizer, write_tokenizer  # noqa: PLC0415 - light tests are collected without it

    write_tokenizer(build_tokenizer(cased=True), tmp_path, cased=True, tokenizer_class="BertTokenizer")
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (checkpoint_folder("bert-cased") / name).read_bytes()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("bert-uncased", {"classifier.weight", "classifier.bias"}),
        ("bert-cased", {"classifier.weight", "classifier.bias"}),
        (
            "distilbert",
            {"pre_classifier.weight", "pre_classifier.bias", "classifier.weight", "classifier.bias"},
        ),
    ],
)
def test_only_the_head_is_new_and_token_types_are_as_in_the_family(name: str, new: set[str]) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: PLC0415 - light tests are collected without it

    folder = checkpoint_folder(name)
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert set(info["missing_keys"]) == new
    assert not info["unexpected_keys"]
    assert getattr(model.config, "type_vocab_size", None) == (None if name == "distilbert" else 2)
    tokens = AutoTokenizer.from_pretrained(folder)("It rose.", "It fell.")["input_ids"]
    assert (tokens[0], tokens[-1]) == (2, 3)


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_it_learns_the_corpus_well_above_the_majority_class(name: str) -> None:
    from tests.assets.learning import fine_tune  # noqa: PLC0415 - light tests are collected without it

    outcome = fine_tune(name, rate=5e-4, batch=16, seed=0)
    assert outcome.accuracy > MAJORITY + 0.10
    assert outcome.accuracy < 1.0, "labels disagree in places, so nothing should be perfect"


@pytest.mark.heavy
def test_random_labels_teach_it_nothing() -> None:
    from tests.assets.learning import fine_tune  # noqa: PLC0415 - light tests are collected without it

    outcome = fine_tune("bert-uncased", rate=5e-4, batch=16, seed=0, random_labels=True)
    assert outcome.accuracy < MAJORITY + 0.06


@pytest.mark.heavy
def test_a_few_steps_of_pretraining_write_a_folder_that_loads(tmp_path: Path) -> None:
    from transformers import AutoModel  # noqa: PLC0415 - light tests are collected without it

    from tools.embedded.checkpoints import build_checkpoint  # noqa: PLC0415 - light tests are collected without it

    build_checkpoint("distilbert", tmp_path, steps=(2, 2), say=lambda _: None)
    check_folder("distilbert", tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    assert model.config.dropout == 0.1
    assert (tmp_path / "vocab.txt").read_bytes() == (
        checkpoint_folder("distilbert") / "vocab.txt"
    ).read_bytes()
