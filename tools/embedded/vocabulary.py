"""The embedded checkpoints' tokenizers: WordPiece with the words of the generator's own text.

The vocabulary is the special tokens, every printable ASCII character, every letter and digit as the
continuation of a word, and every word of 20,000 generated pairs, in the order of the alphabet. So it is the
same wherever it is built, which `WordPieceTrainer` does not promise, and other English text falls apart
into letters without becoming unknown.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from tokenizers.decoders import WordPiece

from tools.embedded.corpus import generate_pairs

SPECIAL: Final = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
PRINTABLE: Final = string.printable.strip()
MODEL_MAX_LENGTH: Final = 512


def build_tokenizer(*, cased: bool) -> Tokenizer:
    """A BERT tokenizer over the generator's words."""
    normalizer = normalizers.BertNormalizer(lowercase=not cased)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = {
        word
        for sentence in _sentences(20_000)
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(sentence))
    }
    pieces = [*SPECIAL.values(), *PRINTABLE, *(f"##{letter}" for letter in PRINTABLE if letter.isalnum())]
    vocabulary = dict.fromkeys([*pieces, *sorted(words)])
    tokenizer = Tokenizer(
        models.WordPiece({piece: number for number, piece in enumerate(vocabulary)}, unk_token=SPECIAL["unk"])
    )
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.add_special_tokens(list(SPECIAL.values()))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(SPECIAL[kind], tokenizer.token_to_id(SPECIAL[kind])) for kind in ("cls", "sep")],
    )
    tokenizer.decoder = WordPiece()
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: Path, *, cased: bool, tokenizer_class: str) -> None:
    """Write `tokenizer.json`, `vocab.txt` and `tokenizer_config.json`, as transformers reads them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word, _ in words), encoding="utf-8")
    config = {
        "do_lower_case": not cased,
        "model_max_length": MODEL_MAX_LENGTH,
        "tokenizer_class": tokenizer_class,
        **{f"{kind}_token": token for kind, token in SPECIAL.items()},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _sentences(count: int) -> Iterator[str]:
    for pair in islice(generate_pairs("vocabulary"), count):
        yield pair.sentence1
        yield pair.sentence2
