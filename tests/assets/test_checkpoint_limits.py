"""The longest row and the padding token, from a checkpoint's files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.assets.checkpoint_limits import InputLimits, input_limits
from harness.assets.embedded import EMBEDDED_CHECKPOINTS, checkpoint_folder

BERT = {"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}


def limits_of(folder: Path, config: object, tokenizer: object = None, **files: str) -> InputLimits:
    (folder / "config.json").write_text(json.dumps(config))
    if tokenizer is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return input_limits(folder)


@pytest.mark.parametrize(
    ("config", "tokenizer", "longest"),
    [
        (BERT, None, 512),
        (BERT, {"model_max_length": 128}, 128),
        (BERT, {"model_max_length": 10**30}, 512),
        (BERT, {"model_max_length": 1e30}, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, None, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514}, None, 512),
        ({"model_type": "gpt2", "n_positions": 1024, "pad_token_id": 0}, None, 1024),
        ({"model_type": "t5"}, {"model_max_length": 512}, 512),
        ({"model_type": "t5"}, None, None),
        ({"max_position_embeddings": True}, {"model_max_length": "512"}, None),
    ],
)
def test_the_longest_row_is_the_smaller_of_positions_and_tokenizer(
    tmp_path: Path, config: object, tokenizer: object, longest: int | None
) -> None:
    assert limits_of(tmp_path, config, tokenizer).longest == longest


@pytest.mark.parametrize(
    ("config", "tokenizer", "files", "pads"),
    [
        (BERT, None, {}, True),
        ({}, {"pad_token": "[PAD]"}, {}, True),
        ({}, {"pad_token": {"content": "<pad>"}}, {}, True),
        (BERT, {"pad_token": None}, {}, False),
        ({}, {}, {"vocab_txt": "[PAD]\n[UNK]\n"}, True),
        ({}, {}, {"tokenizer_json": '{"added_tokens": [{"content": "<pad>"}]}'}, True),
        ({"model_type": "gpt2"}, {"eos_token": "<|endoftext|>"}, {"vocab_json": '{"a": 0}'}, False),
        ({}, None, {}, True),
    ],
)
def test_a_padding_token_is_known_by_configuration_or_vocabulary(
    tmp_path: Path, config: object, tokenizer: object, files: dict[str, str], pads: bool
) -> None:
    assert limits_of(tmp_path, config, tokenizer, **files).pads is pads


@given(st.binary(max_size=40) | st.just(b"[" * 100_000) | st.just(b"[1]") | st.just(b"null"))
def test_damaged_files_say_nothing_and_stop_nothing(content: bytes) -> None:
    import tempfile  # noqa: PLC0415 - hypothesis and tmp_path do not go together

    with tempfile.TemporaryDirectory() as folder:
        for name in ("config.json", "tokenizer_config.json", "special_tokens_map.json"):
            Path(folder, name).write_bytes(content)
        assert input_limits(Path(folder)).longest is None


def test_a_folder_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert input_limits(tmp_path / "missing") == InputLimits(None, True)


@pytest.mark.parametrize("name", EMBEDDED_CHECKPOINTS)
def test_the_embedded_checkpoints_take_512_tokens_and_pad(name: str) -> None:
    assert input_limits(checkpoint_folder(name)) == InputLimits(512, True)
