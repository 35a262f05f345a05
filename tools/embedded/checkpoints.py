"""The three embedded checkpoints and how they were made: `python -m tools.embedded.checkpoints FOLDER`.

Each is a whole Hugging Face folder: 64 wide, two attention heads, a WordPiece vocabulary of about 600,
512 positions, dropout 0.1. `bert-uncased` and `bert-cased` have two layers, token types and a pooler;
`distilbert` has neither of the latter, and three layers, since without token types telling the sentences
apart takes one more. They were pretrained as `tools.embedded.pretraining` tells, on text from the
corpus's generator with other seeds, including the matching of pairs, which is the very task of the
embedded corpus. What is shipped is the body alone, so fine-tuning starts, as with any pretrained
checkpoint, from a newly initialised classification head. They know nothing of English beyond the
generator's, and a score of theirs says nothing about BERT.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tools.embedded.pretraining import Round, favour_equal_words, pretrain
from tools.embedded.vocabulary import MODEL_MAX_LENGTH, build_tokenizer, write_tokenizer

FIRST_STEPS: Final = 5_000
SECOND_STEPS: Final = 1_500


@dataclass(frozen=True)
class Recipe:
    """What one checkpoint is made of."""

    cased: bool
    distilled: bool
    seed: int


RECIPES: Final = {
    "bert-uncased": Recipe(cased=False, distilled=False, seed=1),
    "bert-cased": Recipe(cased=True, distilled=False, seed=2),
    "distilbert": Recipe(cased=False, distilled=True, seed=3),
}


def build_checkpoint(
    name: str,
    folder: Path,
    *,
    steps: tuple[int, int] = (FIRST_STEPS, SECOND_STEPS),
    say: Callable[[str], None],
) -> None:
    """Build the tokenizer, pretrain the body in two rounds of `steps`, and write both into `folder`."""
    import torch  # noqa: PLC0415 - naming the recipes costs nothing
    from transformers import AutoModel  # noqa: PLC0415 - as above

    recipe = RECIPES[name]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(cased=recipe.cased)
    tokenizer_class = "DistilBertTokenizer" if recipe.distilled else "BertTokenizer"
    write_tokenizer(tokenizer, folder, cased=recipe.cased, tokenizer_class=tokenizer_class)
    torch.manual_seed(recipe.seed)
    model = _body(recipe, tokenizer.get_vocab_size())
    torch.manual_seed(recipe.seed)
    favour_equal_words(model)
    first = Round(steps[0], 2e-3, recipe.seed, learn_match=False)
    pretrain(model, tokenizer, first, say=lambda line: say(f"{name}: {line}"))
    for rate in ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"):
        if hasattr(model.config, rate):
            setattr(model.config, rate, 0.1)
    model.save_pretrained(folder)
    second = Round(steps[1], 1e-3, recipe.seed + 10, learn_match=True)
    model = AutoModel.from_pretrained(folder)
    torch.manual_seed(second.seed)
    pretrain(model, tokenizer, second, say=lambda line: say(f"{name}, with dropout: {line}"))
    model.save_pretrained(folder)


def _body(recipe: Recipe, words: int) -> Any:
    from transformers import (  # noqa: PLC0415 - as above
        BertConfig,
        BertModel,
        DistilBertConfig,
        DistilBertModel,
    )

    if recipe.distilled:
        return DistilBertModel(
            DistilBertConfig(
                vocab_size=words,
                dim=64,
                n_layers=3,
                n_heads=2,
                hidden_dim=256,
                max_position_embeddings=MODEL_MAX_LENGTH,
                dropout=0.0,
                attention_dropout=0.0,
                seq_classif_dropout=0.1,
            )
        )
    return BertModel(
        BertConfig(
            vocab_size=words,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=256,
            max_position_embeddings=MODEL_MAX_LENGTH,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for one in sys.argv[2:] or RECIPES:
        build_checkpoint(one, Path(sys.argv[1]) / one, say=logging.getLogger(__name__).info)
