"""Trial: one condition and one seed, the unit of running, resuming and storing; and its identity.

A field of `Trial` or `Train` with an `Axis` in its `Annotated` metadata is an axis of a suite's matrix.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field

from harness.model.axis import Axis, Needs, axes_of
from harness.model.frozen import Frozen
from harness.model.values import (
    Attention,
    ChosenCheckpoint,
    DeviceText,
    Engine,
    LastLayer,
    Padding,
    Precision,
    Task,
    Tokenization,
    Tokenizer,
    TokenTypeIds,
    Train,
    _length_is_for_static,
    _options_are_for_map,
)

IDENTITY_VERSION: Final = "v1"


class Trial(Frozen):
    """One condition and one seed. `device` is resolved: `cpu`, `cuda:0`, `mps`.

    `attention` is `auto` for `sdpa` where the model supports it and `eager` elsewhere.
    `last_layer` selects the positions that the last encoder layer computes: all, or the first one only.
    With `cuda_graphs` the passes over padded batches are captured once and replayed.
    `world_size` devices train one trial together, `device` and those that follow it.
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
    world_size: Annotated[
        int,
        Field(ge=1, le=64, exclude_if=lambda given: given == 1),
        Axis(
            "how many devices train one trial together, from `device` on (on the CPU: processes); a batch "
            "has `per_device_train_batch_size` examples for each of them",
            aka=("n_gpu", "num_gpus", "gpus", "nproc_per_node", "num_processes", "ddp", "data_parallel"),
            rules=(
                Needs(
                    "1",
                    "device",
                    ("cpu", "cuda"),
                    why="a Mac has one MPS device",
                    instead="world_size: 1",
                    others=True,
                ),
                Needs(
                    "1",
                    "engine",
                    ("loop",),
                    why="the loop engine alone trains on several devices",
                    instead="engine: loop",
                    others=True,
                ),
                Needs(
                    "1",
                    "cuda_graphs",
                    ("false",),
                    why="passes are captured on one device alone",
                    instead="cuda_graphs: false",
                    others=True,
                ),
            ),
        ),
    ] = 1
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

    @property
    def batch_size(self) -> int:
        """Return the examples of one pass, over all devices together."""
        return self.train.per_device_train_batch_size * self.world_size

    @property
    def global_batch_size(self) -> int:
        """Return the examples of one optimizer step: of a pass, times the accumulated passes."""
        return self.batch_size * self.train.gradient_accumulation_steps

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the devices that train: `cuda:1`, `cuda:2` for two from `cuda:1` on; the CPU is one."""
        kind, _, first = self.device.partition(":")
        if kind != "cuda":
            return (self.device,)
        return tuple(f"{kind}:{int(first) + rank}" for rank in range(self.world_size))

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
