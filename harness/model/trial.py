"""Trial: one condition and one seed, the unit that runs, resumes and is stored; and its identity."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field

from harness.model.frozen import Frozen

IDENTITY_VERSION: Final = "v1"

PaddingStrategy = Literal["static", "dynamic", "bucketed", "unpadded"]
Precision = Literal["fp32", "bf16", "fp16"]
Engine = Literal["trainer", "loop"]
Attention = Literal["auto", "eager", "sdpa", "jagged"]
TokenTypeIds = Literal["auto", "drop"]
LastLayer = Literal["all", "cls"]
TokenizationMethod = Literal["whole", "map", "map_batched"]
Tokenizer = Literal["fast", "slow"]
SchedulerType = Literal["linear", "cosine", "constant", "constant_with_warmup"]
Optimizer = Literal["adamw_torch", "adamw_torch_fused"]


class Padding(Frozen):
    """How the rows of a batch are brought to one length.

    `length` is the fixed row length of `static` (None: the longest example of the data set).
    `multiple_of` rounds the padded length up, as `pad_to_multiple_of` does in transformers.
    """

    strategy: PaddingStrategy
    length: Annotated[int, Field(ge=1, le=65_536)] | None = None
    multiple_of: Annotated[int, Field(ge=1, le=1_024)] | None = None

    def __str__(self) -> str:
        extras = [
            f"{name}={value}"
            for name, value in (("length", self.length), ("multiple_of", self.multiple_of))
            if value is not None
        ]
        return f"{self.strategy}({', '.join(extras)})" if extras else self.strategy


class Tokenization(Frozen):
    """How a data set is tokenised, for a trial that measures that and trains nothing.

    `whole` gives the tokenizer all texts at once, `map` is `Dataset.map` one example at a time, `map_batched`
    gives it `batch_size` examples at a time. `num_proc` is the number of processes of `Dataset.map`.
    """

    method: TokenizationMethod
    num_proc: Annotated[int, Field(ge=1, le=256)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    def __str__(self) -> str:
        extras = [
            f"{name}={value}"
            for name, value in (("num_proc", self.num_proc), ("batch_size", self.batch_size))
            if value is not None
        ]
        return f"{self.method}({', '.join(extras)})" if extras else self.method


class Task(Frozen):
    """A text classification data set: where it comes from and which columns matter.

    The defaults are GLUE MRPC. `max_length` is the one truncation length of all variants of a suite,
    in tokens; None takes the model's own limit. `data_dir` says where to read, not what, and is no part
    of a trial's identity: the content's hash in the result is. A label column with more than `max_classes`
    distinct labels is refused as the wrong column, which changes no result either.
    """

    dataset: str = "nyu-mll/glue"
    config: str | None = "mrpc"
    revision: str | None = None
    data_dir: str | None = None
    text: Annotated[tuple[str, ...], Field(min_length=1, max_length=2, strict=False)] = (
        "sentence1",
        "sentence2",
    )
    label: str = "label"
    train_split: str = "train"
    eval_split: str = "validation"
    max_length: Annotated[int, Field(ge=8, le=65_536)] | None = None
    # Not written where it is the default: plans and reports from before it stay what they were.
    max_classes: Annotated[int, Field(ge=2, le=1_000_000, exclude_if=lambda most: most == 1_000)] = 1_000

    @property
    def name(self) -> str:
        """The name people use: `glue/mrpc`."""
        dataset = "glue" if self.dataset == "nyu-mll/glue" else self.dataset
        return dataset if self.config is None else f"{dataset}/{self.config}"


PositiveInt = Annotated[int, Field(ge=1, le=1_000_000)]
Beta = Annotated[float, Field(ge=0, lt=1)]


class Train(Frozen):
    """How to fine-tune, in the names and with the defaults of `transformers.TrainingArguments`.

    One default differs: evaluation sorts its rows by length and takes 64 a batch instead of 8, which
    changes its speed and none of its results.
    """

    num_train_epochs: Annotated[int, Field(ge=1, le=1_000)] = 3
    max_steps: Annotated[int, Field(ge=-1, le=100_000_000)] = -1
    per_device_train_batch_size: Annotated[int, Field(ge=1, le=65_536)] = 8
    per_device_eval_batch_size: Annotated[int, Field(ge=1, le=65_536)] = 64
    gradient_accumulation_steps: Annotated[int, Field(ge=1, le=65_536)] = 1
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-5
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    adam_beta1: Beta = 0.9
    adam_beta2: Beta = 0.999
    adam_epsilon: Annotated[float, Field(gt=0, le=1)] = 1e-8
    max_grad_norm: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    lr_scheduler_type: SchedulerType = "linear"
    warmup_steps: Annotated[float, Field(ge=0, le=100_000_000)] = 0.0
    optim: Optimizer = "adamw_torch_fused"


class Trial(Frozen):
    """One condition and one seed. `device` is concrete here: `cpu`, `cuda:0`, `mps`.

    `attention` is `auto` for `sdpa` where the model supports it and `eager` elsewhere.
    `last_layer` is what the encoder's last one computes: all positions, or the one that a classifier reads.
    With `cuda_graphs` the passes over padded batches are captured once and replayed.
    With `tokenization` the trial only tokenises its data, and all that is about training has no effect.
    `tokenizer` is the library's in Rust (`fast`) or the one in Python (`slow`), which trains nothing.
    """

    checkpoint: str
    revision: str | None = None
    task: Task = Task()
    padding: Padding
    device: str
    precision: Precision = "fp32"
    engine: Engine = "trainer"
    attention: Attention = "auto"
    token_type_ids: TokenTypeIds = "auto"
    last_layer: Annotated[LastLayer, Field(exclude_if=lambda given: given == "all")] = "all"
    cuda_graphs: Annotated[bool, Field(exclude_if=lambda given: not given)] = False
    # Left out where they say nothing, so that the ids and files of trials that train are as they were.
    tokenization: Annotated[Tokenization | None, Field(exclude_if=lambda given: given is None)] = None
    tokenizer: Annotated[Tokenizer, Field(exclude_if=lambda given: given == "fast")] = "fast"
    train: Train = Train()
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 over everything that changes a result, and nothing else."""
        return _digest(self._identity())

    @cached_property
    def variant_id(self) -> str:
        """Like `id`, without the seed: what the seeds of one condition share."""
        return _digest({key: value for key, value in self._identity().items() if key != "seed"})

    def __copy__(self) -> Self:
        """A copy without the digests already computed: `model_copy` may change what they cover."""
        copied = super().__copy__()
        for digest in ("id", "variant_id"):
            copied.__dict__.pop(digest, None)
        return copied

    def _identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"task": {"data_dir", "max_classes"}})


def _digest(identity: dict[str, Any]) -> str:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(f"{IDENTITY_VERSION}:{canonical}".encode()).hexdigest()[:16]
