"""A checkpoint of BERT-base's shape with random weights: as fast as the pretrained one, no download."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from harness.errors import UnavailableError

SEED: Final = 0
# Those of a fast or a slow tokenizer; a checkpoint has some of them.
_FILES: Final = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def write_checkpoint(folder: Path, tokenizer: Path) -> Path:
    """Write 12 layers of 768, 110 million parameters, with the tokenizer of another checkpoint.

    Args:
        folder: of the new checkpoint; one that is complete is left as it is.
        tokenizer: a folder with BERT's uncased vocabulary of 30,522 tokens.

    Raises:
        UnavailableError: the tokenizer has no vocabulary.
    """
    import torch  # noqa: PLC0415 - `--help` does without it
    from transformers import BertConfig, BertModel  # noqa: PLC0415 - as above

    if (folder / "model.safetensors").exists():
        return folder
    if not (tokenizer / "vocab.txt").exists():
        raise UnavailableError(
            f"{tokenizer} has no vocab.txt", hint="Run `harness fetch minilm`, or give --tokenizer FOLDER."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, folder / name)
    torch.manual_seed(SEED)
    # A newer default of the library would change the work.
    BertModel(
        BertConfig(
            vocab_size=30_522,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3_072,
            max_position_embeddings=512,
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.1,
        )
    ).save_pretrained(folder)
    return folder
