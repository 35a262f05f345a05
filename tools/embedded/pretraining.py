"""Pretraining the embedded checkpoints: masked words, shared words and matching pairs, in minutes on a CPU.

Three objectives, with equal weight, on generated pairs of which none is seen twice and none is in the
embedded corpus:

1. masked language modelling of 15 % of the words, with the input embeddings as output weights;
2. shared words: for each word, from the second layer, whether it also stands in the other sentence;
3. matching: whether the pair says the same, from the pooled output (BERT) or the `[CLS]` vector
   (DistilBERT). In the first round its head keeps its small random weights, which makes the body carry
   the answer.

Two things about the start differ from BERT's and are what lets so small a model find the comparison at
all: word embeddings are four times as large, and each layer's key weights begin as a copy of its query
weights, so that equal words attend to each other. A second round with dropout and new heads makes the body
fit to be fine-tuned with dropout. No head is kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from tools.embedded.corpus import Pair, generate_corpus, generate_pairs

BATCH: Final = 32
WARMUP_STEPS: Final = 200
MASKED: Final = 0.15
FIRST_WORD_ID: Final = 5
MASK_ID: Final = 4


@dataclass(frozen=True)
class Round:
    """One round of pretraining: its steps of 32 pairs, its highest learning rate and its seed.

    With `learn_match` the matching head learns too; otherwise it keeps its small random weights.
    """

    steps: int
    learning_rate: float
    seed: int
    learn_match: bool


@dataclass(frozen=True)
class Batch:
    """Pairs as tensors: `ids`, `types` and `mask` are (batch, length), `labels` is (batch,)."""

    ids: Tensor
    types: Tensor
    mask: Tensor
    labels: Tensor


def pretrain(model: Any, tokenizer: Tokenizer, plan: Round, *, say: Callable[[str], None]) -> None:
    """Train the body `model` (a `BertModel` or `DistilBertModel`) in place for one round.

    The seed of the plan is the text's; the caller seeds torch. `say` gets a line every 500 steps with the
    mean losses and the share of pairs matched right.
    """
    heads = _Heads(model.config.vocab_size, model.config.hidden_size, learn_match=plan.learn_match)
    model.train()
    parameters = [parameter for part in (model, heads) for parameter in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARMUP_STEPS) * max(0.02, 1 - step / plan.steps)
    )
    recent: list[Tensor] = []
    for step, batch in enumerate(islice(batches(tokenizer, f"pretraining {plan.seed}"), plan.steps), start=1):
        losses, right = heads.losses(model, batch)
        torch.autograd.backward(torch.stack(losses).sum())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        recent.append(torch.stack([*losses, right]).detach())
        if step % 500 == 0:
            masked, shared, matching, share = torch.stack(recent).mean(0).tolist()
            losses_text = f"masked {masked:.3f}, shared {shared:.3f}, matching {matching:.3f}"
            say(f"step {step}: {losses_text}; {share:.1%} matched right")
            recent.clear()


def batches(tokenizer: Tokenizer, seed: str) -> Iterator[Batch]:
    """Batches without end; 16 at a time are cut from pairs sorted by length, and come in random order."""
    tokenizer.enable_padding()
    kept = {pair[:2] for pairs in generate_corpus().values() for pair in pairs}
    fresh = (pair for pair in generate_pairs(seed) if pair[:2] not in kept)
    stream = random.Random(seed)  # noqa: S311 - an order of batches, not a secret
    while True:
        pairs = sorted(islice(fresh, BATCH * 16), key=lambda pair: len(pair[0]) + len(pair[1]))
        cuts = [pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)]
        stream.shuffle(cuts)
        yield from (_batch(tokenizer, cut) for cut in cuts)


def _batch(tokenizer: Tokenizer, pairs: list[Pair]) -> Batch:
    encoded = tokenizer.encode_batch([pair[:2] for pair in pairs])
    return Batch(
        ids=torch.tensor([one.ids for one in encoded]),
        types=torch.tensor([one.type_ids for one in encoded]),
        mask=torch.tensor([one.attention_mask for one in encoded]),
        labels=torch.tensor([pair.label for pair in pairs]),
    )


def favour_equal_words(model: Any) -> None:
    """Start a new body so that equal words attend to each other."""
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(4)
        for name, module in model.named_modules():
            if name.endswith(("attention.self", "attention")):
                query = getattr(module, "query", None) or getattr(module, "q_lin", None)
                key = getattr(module, "key", None) or getattr(module, "k_lin", None)
                if query is not None and key is not None:
                    query.weight.normal_(0, 0.13)
                    key.weight.copy_(query.weight)


class _Heads(nn.Module):
    """The three objectives' heads, used for pretraining only."""

    def __init__(self, words: int, width: int, *, learn_match: bool) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.word_bias = nn.Parameter(torch.zeros(words))
        self.shared = nn.Linear(width, 1)
        self.match = nn.Linear(width, 2).requires_grad_(learn_match)
        nn.init.normal_(self.match.weight, std=0.02)
        nn.init.zeros_(self.match.bias)

    def losses(self, model: Any, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """The losses of masked words, shared words and matching, and the share of pairs matched right."""
        words = batch.ids >= FIRST_WORD_ID
        chosen = words & (torch.rand(batch.ids.shape) < MASKED)
        hidden_words = chosen & (torch.rand(batch.ids.shape) < 0.9)
        inputs = {"input_ids": batch.ids.masked_fill(hidden_words, MASK_ID), "attention_mask": batch.mask}
        if "token_type_embeddings" in dict(model.embeddings.named_children()):
            inputs["token_type_ids"] = batch.types
        output = model(**inputs, output_hidden_states=True)
        hidden = output.last_hidden_state
        embeddings = model.get_input_embeddings().weight
        logits = self.transform(hidden[chosen]) @ embeddings.T + self.word_bias
        masked = functional.cross_entropy(logits, batch.ids[chosen])
        seen = words & ~chosen
        found = self.shared(output.hidden_states[2])[..., 0]
        shared = functional.binary_cross_entropy_with_logits(found[seen], _shared_words(batch)[seen])
        pooled = getattr(output, "pooler_output", None)
        answer = self.match(hidden[:, 0] if pooled is None else pooled)
        matching = functional.cross_entropy(answer, batch.labels)
        return [masked, shared, matching], (answer.argmax(1) == batch.labels).float().mean()


def _shared_words(batch: Batch) -> Tensor:
    """1.0 where a word also stands in the other sentence of its pair, (batch, length)."""
    same = batch.ids[:, :, None] == batch.ids[:, None, :]
    other = batch.types[:, :, None] != batch.types[:, None, :]
    return (same & other & (batch.mask[:, None, :] == 1)).any(2).float()
