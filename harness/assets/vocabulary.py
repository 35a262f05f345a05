"""The embedded checkpoints' tokenizers: WordPiece vocabularies learned from the generator's own text."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers.decoders import WordPiece

from harness.assets.corpus import generate_pairs

SPECIAL: Final = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
MODEL_MAX_LENGTH: Final = 512


def build_tokenizer(*, cased: bool) -> Tokenizer:
    """A BERT tokenizer, learned from 20,000 generated pairs; printable ASCII never becomes `[UNK]`."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL["unk"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=1_400,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=list(string.printable.strip()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sentences(20_000), trainer)
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
