"""Trial: one condition and one seed, the unit of running, resuming and storing; and its identity.

A field of `Trial` or `Train` with an `Axis` in its `Annotated` metadata is an axis of a suite's matrix.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field

from harness.model.axis import Aka, Axis, Needs, axes_of
from harness.model.frozen import Frozen
from harness.words import count

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

CheckpointText = Annotated[str, Field(min_length=1, max_length=512)]


def _indexed(device: str) -> str:
    return "cuda:0" if device == "cuda" else device


DeviceText = Annotated[
    str,
    Field(
        pattern=r"^(cpu|cuda(:[0-9]{1,3})?|mps|auto|all)$",
        description="cpu, cuda, cuda:1, mps, auto (the best one here) or all (one variant a device)",
    ),
    AfterValidator(_indexed),
]


class ChosenCheckpoint(Frozen):
    """A checkpoint: a Hub name, a local folder, or a packaged or embedded one; `revision` is for the Hub."""

    model_config = ConfigDict(title="Checkpoint")

    name: CheckpointText
    revision: CheckpointText | None = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@{self.revision}"


class Padding(Frozen):
    """How the rows of a batch are padded to one length.

    `length` is the fixed row length of `static` (None: the longest example of the data set).
    `multiple_of` rounds the padded length up, as `pad_to_multiple_of` does in transformers.
    """

    strategy: PaddingStrategy
    length: Annotated[int, Field(ge=1, le=65_536)] | None = None
    multiple_of: Annotated[int, Field(ge=1, le=1_024)] | None = None

    def __str__(self) -> str:
        return _with_options(self)


def _length_is_for_static(padding: Padding) -> Padding:
    if padding.length is not None and padding.strategy != "static":
        raise ValueError(f"length belongs to static padding alone, not to {padding.strategy}")
    return padding


class Tokenization(Frozen):
    """How a data set is tokenised, for a trial that measures tokenization without training.

    `whole` passes all texts to the tokenizer in one call, `map` is `Dataset.map` one example at a time,
    `map_batched` passes `batch_size` examples at a time. `num_proc` is the number of processes of
    `Dataset.map`.
    """

    method: TokenizationMethod
    num_proc: Annotated[int, Field(ge=1, le=256)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    def __str__(self) -> str:
        return _with_options(self)


def _options_are_for_map(tokenization: Tokenization) -> Tokenization:
    if tokenization.num_proc is not None and tokenization.method == "whole":
        raise ValueError("num_proc belongs to map and map_batched, not to whole")
    if tokenization.batch_size is not None and tokenization.method != "map_batched":
        raise ValueError(f"batch_size belongs to map_batched alone, not to {tokenization.method}")
    return tokenization


def _with_options(choice: Frozen) -> str:
    """Return the text of a choice: its first field, then the given options in parentheses."""
    (_, chosen), *options = choice
    given = [f"{name}={value}" for name, value in options if value is not None]
    return f"{chosen}({', '.join(given)})" if given else str(chosen)


class Task(Frozen):
    """A text classification data set: where it comes from and which columns matter.

    The defaults are GLUE MRPC. `max_length` is the one truncation length of all variants of a suite,
    in tokens; None uses the limit of the model. `data_dir` is the location of the files; the identity of a
    trial does not include it, since the result records a hash of the content. A label column with more than
    `max_classes` distinct labels is rejected as the wrong column; this limit is not in the identity either.
    """

    dataset: Annotated[str, Aka(("dataset_name", "path"))] = "nyu-mll/glue"
    config: Annotated[str | None, Aka(("dataset_config", "dataset_config_name", "subset"))] = "mrpc"
    revision: str | None = None
    data_dir: str | None = None
    text: Annotated[tuple[str, ...], Field(min_length=1, max_length=2, strict=False)] = (
        "sentence1",
        "sentence2",
    )
    label: str = "label"
    train_split: str = "train"
    eval_split: str = "validation"
    max_length: Annotated[
        Annotated[int, Field(ge=8, le=65_536)] | None,
        Aka(("max_len", "max_seq_len", "max_seq_length", "truncation_length")),
    ] = None
    # Omit the default, so that earlier plans and reports stay unchanged.
    max_classes: Annotated[int, Field(ge=2, le=1_000_000, exclude_if=lambda most: most == 1_000)] = 1_000

    @property
    def name(self) -> str:
        """The common name of the data set: `glue/mrpc`."""
        dataset = "glue" if self.dataset == "nyu-mll/glue" else self.dataset
        return dataset if self.config is None else f"{dataset}/{self.config}"


_ARGUMENT: Final = "{name} of transformers.TrainingArguments"


def _argument(*aka: str) -> Axis:
    return Axis(_ARGUMENT, changes="training", aka=aka)


class Train(Frozen):
    """How to fine-tune, in the names and with the defaults of `transformers.TrainingArguments`.

    One default differs: evaluation sorts rows by length and uses batches of 64 instead of 8, which changes
    its speed but not its results.
    """

    # The proof of function uses the batches of the trial: their sizes can change its function.

    num_train_epochs: Annotated[
        int,
        Field(ge=1, le=1_000),
        Axis(
            _ARGUMENT,
            changes="training",
            label=lambda value: count(int(value), "epoch"),
            shown="setting",
            aka=("epoch", "epochs", "num_epochs", "n_epochs"),
        ),
    ] = 3
    max_steps: Annotated[
        int, Field(ge=-1, le=100_000_000), _argument("steps", "num_train_steps", "total_steps")
    ] = -1
    per_device_train_batch_size: Annotated[
        int,
        Field(ge=1, le=65_536),
        Axis(
            _ARGUMENT,
            label="batch {}".format,
            shown="setting",
            aka=("batch", "batch_size", "bs", "train_batch_size", "per_gpu_train_batch_size"),
        ),
    ] = 8
    per_device_eval_batch_size: Annotated[
        int, Field(ge=1, le=65_536), Axis(_ARGUMENT, aka=("eval_batch_size", "per_gpu_eval_batch_size"))
    ] = 64
    gradient_accumulation_steps: Annotated[
        int,
        Field(ge=1, le=65_536),
        Axis(_ARGUMENT, aka=("grad_accum", "accumulation_steps", "gradient_accumulation")),
    ] = 1
    learning_rate: Annotated[
        float,
        Field(gt=0, le=1),
        Axis(
            _ARGUMENT,
            changes="training",
            label="learning rate {}".format,
            shown="setting",
            aka=("lr", "learn_rate"),
        ),
    ] = 5e-5
    weight_decay: Annotated[float, Field(ge=0, le=1), _argument("wd", "decay")] = 0.0
    adam_beta1: Annotated[float, Field(ge=0, lt=1), _argument()] = 0.9
    adam_beta2: Annotated[float, Field(ge=0, lt=1), _argument()] = 0.999
    adam_epsilon: Annotated[float, Field(gt=0, le=1), _argument()] = 1e-8
    max_grad_norm: Annotated[
        float, Field(ge=0, le=1e6), _argument("clip", "grad_clip", "gradient_clipping", "max_norm")
    ] = 1.0
    lr_scheduler_type: Annotated[SchedulerType, _argument("scheduler", "lr_scheduler", "schedule")] = "linear"
    warmup_steps: Annotated[
        float, Field(ge=0, le=100_000_000), _argument("warmup", "warm_up", "warmup_ratio")
    ] = 0.0
    optim: Annotated[Optimizer, _argument("optimizer", "optimiser")] = "adamw_torch_fused"


class Trial(Frozen):
    """One condition and one seed. `device` is resolved: `cpu`, `cuda:0`, `mps`.

    `attention` is `auto` for `sdpa` where the model supports it and `eager` elsewhere.
    `last_layer` selects the positions that the last encoder layer computes: all, or the first one only.
    With `cuda_graphs` the passes over padded batches are captured once and replayed.
    With `tokenization` the trial only tokenises its data, and training settings have no effect.
    `tokenizer` is the Rust implementation (`fast`) or the Python one (`slow`, tokenization only).
    """

    checkpoint: Annotated[
        str,
        Axis(
            "a name on the Hub, a folder, or a packaged or embedded checkpoint",
            label=str,
            shown="column",
            everywhere=True,
            form=ChosenCheckpoint,
            short="name",
            fields=("checkpoint", "revision"),
            aka=("model", "models", "model_name", "model_name_or_path", "checkpoints"),
        ),
    ]
    revision: str | None = None
    task: Task = Task()
    padding: Annotated[
        Padding,
        Axis(
            "how the rows of a batch are padded to one length",
            values={
                "static": "pad every row to `length`, or to the longest example of the data set",
                "dynamic": "pad each batch to its longest row",
                "bucketed": "as dynamic, in batches of rows of similar length",
                "unpadded": "lay the rows of a batch end to end, so that no layer computes padding",
            },
            label=str,
            shown="column",
            form=Annotated[Padding, AfterValidator(_length_is_for_static)],
            short="strategy",
            default="dynamic",
            aka=("collator", "padding_strategy", "paddings", "strategy"),
        ),
    ]
    device: Annotated[
        str,
        Axis(
            "the device that runs a trial",
            label=str,
            shown="column",
            form=DeviceText,
            default="auto",
            aka=("gpu", "accelerator", "devices"),
        ),
    ]
    precision: Annotated[
        Precision,
        Axis(
            "the number format of the forward pass",
            values={
                "fp32": "32-bit floating point throughout",
                "bf16": "autocast to bfloat16; weights and optimizer stay in fp32",
                "fp16": "autocast to float16 with a gradient scaler, on CUDA only",
            },
            label=str,
            shown="column",
            aka=("dtype", "torch_dtype", "fp16", "bf16", "amp", "mixed_precision"),
            rules=(Needs("fp16", "device", ("cuda",), why="fp16 needs CUDA", instead="precision: bf16"),),
        ),
    ] = "fp32"
    engine: Annotated[
        Engine,
        Axis(
            "which training loop runs",
            values={
                "trainer": "the `Trainer` of transformers",
                "loop": "the same training step by step, without the bookkeeping of `Trainer`",
            },
            label=str,
            shown="setting",
        ),
    ] = "trainer"
    attention: Annotated[
        Attention,
        Axis(
            "the implementation of attention: auto takes sdpa where the model supports it, else eager; "
            "jagged is for unpadded batches alone",
            values={
                "auto": "sdpa where the model supports it, else eager",
                "eager": "the plain implementation of transformers",
                "sdpa": "`torch.nn.functional.scaled_dot_product_attention`",
                "jagged": "variable-length kernels over nested tensors, for unpadded batches only",
            },
            label=str,
            shown="setting",
            aka=("attn", "attn_implementation"),
            rules=(
                Needs(
                    "jagged",
                    "padding",
                    ("unpadded",),
                    why="jagged attention is for unpadded batches",
                    instead="attention: auto",
                ),
            ),
        ),
    ] = "auto"
    token_type_ids: Annotated[
        TokenTypeIds,
        Axis(
            "the `token_type_ids` input: auto passes it to models whose forward accepts it, drop never",
            values={
                "auto": "pass them to every model whose forward accepts them",
                "drop": "pass them to no model",
            },
        ),
    ] = "auto"
    last_layer: Annotated[
        LastLayer,
        Field(exclude_if=lambda given: given == "all"),
        Axis(
            "the positions that the last layer computes: all, or cls, the one that the classifier reads",
            values={
                "all": "compute every position",
                "cls": "compute only the first position, which the classification head reads",
            },
            aka=("cls_only", "pooled_only"),
        ),
    ] = "all"
    cuda_graphs: Annotated[
        bool,
        Field(exclude_if=lambda given: not given),
        Axis(
            "whether the loop engine captures its passes on CUDA and replays them",
            values={
                "false": "launch every kernel of a pass",
                "true": "capture the passes over batches of one shape as CUDA graphs and replay them",
            },
            aka=("cudagraphs", "graphs", "use_cuda_graphs"),
            rules=(
                Needs(
                    "true",
                    "device",
                    ("cuda",),
                    why="CUDA graphs need CUDA",
                    instead="cuda_graphs: false",
                ),
                Needs(
                    "true",
                    "engine",
                    ("loop",),
                    why="the loop engine alone captures graphs",
                    instead="engine: loop",
                ),
                Needs(
                    "true",
                    "padding",
                    ("static", "dynamic", "bucketed"),
                    why="a graph needs batches of one shape, and unpadded batches have none",
                    instead="padding: bucketed or static",
                ),
            ),
        ),
    ] = False
    # Dumps omit the defaults of later axes, so that ids and files of earlier trials do not change.
    tokenization: Annotated[
        Tokenization | None,
        Field(exclude_if=lambda given: given is None),
        Axis(
            "how the data set is tokenised, for trials that measure tokenization without training",
            changes="tokenizing",
            values={
                "whole": "give the tokenizer all texts in one call",
                "map": "`Dataset.map`, one example at a time",
                "map_batched": "`Dataset.map`, `batch_size` examples at a time",
            },
            label=str,
            shown="column",
            form=Annotated[Tokenization, AfterValidator(_options_are_for_map)],
            short="method",
            aka=("tokenisation", "tokenize", "tokenizing"),
        ),
    ] = None
    tokenizer: Annotated[
        Tokenizer,
        Field(exclude_if=lambda given: given == "fast"),
        Axis(
            "the tokenizer in Rust (fast) or in Python (slow)",
            changes="tokenizing",
            values={"fast": "the tokenizer in Rust", "slow": "the tokenizer in Python"},
            label=str,
            shown="column",
        ),
    ] = "fast"
    train: Train = Train()
    seed: Annotated[
        int,
        Field(ge=0, le=2**32 - 1),
        Axis(
            "the seed of weights, order and dropout",
            changes="training",
            shown="column",
            everywhere=True,
            aka=("seeds", "random_seed"),
        ),
    ] = 0

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 over the settings that can change a result."""
        return _digest(self._identity())

    @cached_property
    def variant_id(self) -> str:
        """Like `id`, without the seed: equal for all seeds of one condition."""
        return _digest({key: value for key, value in self._identity().items() if key != "seed"})

    def __copy__(self) -> Self:
        """Return a copy without cached digests, since `model_copy` may change the fields they cover."""
        copied = super().__copy__()
        for digest in ("id", "variant_id"):
            copied.__dict__.pop(digest, None)
        return copied

    def _identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"task": {"data_dir", "max_classes"}})


def _digest(identity: dict[str, Any]) -> str:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(f"{IDENTITY_VERSION}:{canonical}".encode()).hexdigest()[:16]


AXES: Final = axes_of(Trial)
"""Every axis of a suite by name, in the order of the fields."""
