"""Read a checkpoint's input limits from its files: the longest row, and whether rows can be padded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.assets.checkpoint_folder import LARGEST_TEXT_BYTES
from harness.foreign import read_regular

# RoBERTa and its descendants count positions from the padding id on.
OFFSET_POSITIONS: Final = {"roberta", "xlm-roberta", "camembert", "mpnet"}

_POSITIONS: Final = ("max_position_embeddings", "n_positions")
_PADDING_TOKENS: Final = (b"[PAD]", b"<pad>")


@dataclass(frozen=True, slots=True)
class InputLimits:
    """Limits on the rows of a batch.

    `longest` is the maximum number of tokens in one row, None if the files give none. `pads` is whether the
    tokenizer has a padding token.
    """

    longest: int | None
    pads: bool


def input_limits(folder: Path) -> InputLimits:
    """Read the limits from `config.json`, `tokenizer_config.json` and, last, the vocabulary.

    Missing and unreadable files are ignored: loading the checkpoint reports them.
    """
    config, tokenizer = _mapping(folder / "config.json"), _mapping(folder / "tokenizer_config.json")
    limits = (_positions(config), _count(tokenizer.get("model_max_length")))
    longest = min((limit for limit in limits if limit is not None), default=None)
    return InputLimits(longest, _pads(folder, config, tokenizer))


def _positions(config: dict[str, Any]) -> int | None:
    positions = next(filter(None, (_count(config.get(key)) for key in _POSITIONS)), None)
    if positions is None or config.get("model_type") not in OFFSET_POSITIONS:
        return positions
    padding = config.get("pad_token_id")
    return positions - (padding + 1 if isinstance(padding, int) else 2)


def _pads(folder: Path, config: dict[str, Any], tokenizer: dict[str, Any]) -> bool:
    for tokens in (tokenizer, _mapping(folder / "special_tokens_map.json")):
        if "pad_token" in tokens:
            return tokens["pad_token"] is not None
    if isinstance(config.get("pad_token_id"), int):
        return True
    # A tokenizer class may define a padding token that no configuration names, as BERT's does.
    vocabularies = [folder / name for name in ("vocab.txt", "vocab.json", "tokenizer.json")]
    present = [text for file in vocabularies if (text := _read(file)) is not None]
    return not present or any(token in text for text in present for token in _PADDING_TOKENS)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _mapping(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read(file) or b"")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _read(file: Path) -> bytes | None:
    try:
        return read_regular(file, limit=LARGEST_TEXT_BYTES)
    except OSError:
        return None
