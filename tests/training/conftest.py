"""Small checkpoints with random weights, and a job for each test that trains."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.model.arguments import Train
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.job import Job, Progress
from harness.model.suite import Measure
from harness.model.trial import Trial
from harness.model.values import Padding

WORDS = (
    *("the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "hat", "big", "small"),
    *("red", "blue", "and", "then", "it", "was", "not", "very", "old", "new"),
)
MakeJob = Callable[..., Job]


def quietly(_progress: Progress) -> None:
    """Ignore the progress."""


@pytest.fixture(autouse=True)
def _without_what_other_tests_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what libraries and earlier tests left out of garbage collections, of which engines make many."""
    gc.collect()
    gc.freeze()
    monkeypatch.setattr(gc, "unfreeze", lambda: None)


@pytest.fixture(autouse=True)
def _one_process_a_trial() -> Iterator[None]:
    """Reset accelerate, which keeps one precision per process, between trials that share this process."""
    _reset_accelerate()
    yield
    _reset_accelerate()


def _reset_accelerate() -> None:
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two-layer BERT, DistilBERT and MPNet with random weights and a vocabulary of a few words, by name.

    transformers has SDPA attention for the first two, and only eager attention for MPNet.
    """
    import torch  # noqa: PLC0415 - collected without it
    from transformers import (  # noqa: PLC0415
        BertConfig,
        BertModel,
        BertTokenizer,
        DistilBertConfig,
        DistilBertModel,
        MPNetConfig,
        MPNetModel,
    )

    root = tmp_path_factory.mktemp("checkpoints")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (root / "vocab.txt").write_text("\n".join(vocabulary))
    # With weights as small as before pretraining the outputs would hardly depend on the inputs.
    shape: dict[str, Any] = {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 64,
        "initializer_range": 0.15,
    }
    torch.manual_seed(0)
    # The models are far too small to gain from more, and threads that wait for each other cost seconds.
    torch.set_num_threads(1)
    bert_shape: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    bert = BertConfig(**bert_shape, **shape)
    distilbert = DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=64, **shape)
    mpnet = MPNetConfig(**bert_shape, **shape, pad_token_id=0, bos_token_id=2, eos_token_id=3)
    models = {
        "bert": BertModel(bert),
        "distilbert": DistilBertModel(distilbert),
        "mpnet": MPNetModel(mpnet),
    }
    for name, model in models.items():
        model.save_pretrained(root / name)
        BertTokenizer(vocab=str(root / "vocab.txt"), model_max_length=64).save_pretrained(root / name)
    return {name: root / name for name in models}


def sentence_pairs(count: int, seed: int) -> list[dict[str, Any]]:
    """Pairs of 2 to 20 words; a pair is equivalent when both sentences start with the same word."""
    import random  # noqa: PLC0415

    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        first = rng.choices(WORDS, k=rng.randint(2, 20))
        second = rng.choices(WORDS, k=rng.randint(2, 20))
        label = rng.random() < 0.6
        second[0] = first[0] if label else rng.choice([word for word in WORDS if word != first[0]])
        rows.append({"sentence1": " ".join(first), "sentence2": " ".join(second), "label": int(label)})
    return rows


@pytest.fixture
def make_job(checkpoints: dict[str, Path], tmp_path: Path) -> MakeJob:
    """A job on 64 training and 24 evaluation pairs; keyword arguments change its trial."""
    files: dict[str, tuple[str, ...]] = {}
    for split, count in (("train", 64), ("validation", 24)):
        files[split] = (str(tmp_path / f"{split}.jsonl"),)
        rows = sentence_pairs(count, seed=count)
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def make(
        model: str = "bert",
        *,
        train: dict[str, Any] | None = None,
        warmup_steps: int = 2,
        roofline: bool = False,
        **trial: Any,
    ) -> Job:
        padding = trial.pop("padding", "dynamic")
        return Job(
            trial=Trial(
                checkpoint=model,
                padding=padding if isinstance(padding, Padding) else Padding(strategy=padding),
                device="cpu",
                train=Train(**{"num_train_epochs": 2, **(train or {})}),
                **trial,
            ),
            measure=Measure(warmup_steps=warmup_steps, threads=1, roofline=roofline),
            checkpoint=ResolvedCheckpoint(
                requested=model, name=model, source="local", path=str(checkpoints[model])
            ),
            data=ResolvedData(
                requested="glue/mrpc",
                name="pairs",
                source="embedded",
                layout="files",
                files=files,
                synthetic=True,
            ),
            cache_dir=str(tmp_path / "cache"),
        )

    return make
