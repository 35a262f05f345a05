"""Trial: one condition and one seed, the unit of running, resuming and storing; and its identity.

A field of `Trial` or `Train` with an `Axis` in its `Annotated` metadata is an axis of a suite's matrix.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field

from harness.model import axis_rules
from harness.model.arguments import Train
from harness.model.axis import Axis, axes_of
from harness.model.frozen import Frozen, is_none
from harness.model.seeds import Seed, SeedRoles, _shortest
from harness.model.tasks import Task, as_task
from harness.model.values import (
    Adapter,
    Attention,
    ChosenAttention,
    ChosenCheckpoint,
    Compile,
    DeviceText,
    Engine,
    LastLayer,
    Padding,
    Precision,
    SdpaBackend,
    Tokenization,
    Tokenizer,
    TokenTypeIds,
    _dynamic_needs_a_mode,
    _length_is_for_static,
    _options_are_for_lora,
    _options_are_for_map,
)

IDENTITY_VERSION: Final = "v1"


class Trial(Frozen):
    """One condition and one seed. `device` is resolved: `cpu`, `cuda:0`, `mps`.

    `attention` is `auto` for `sdpa` where the model supports it and `eager` elsewhere; `attention_backend` is
    the one kernel of torch's `sdpa`, `attention_kernel` and `attention_revision` a kernel of the Hub.
    `last_layer` selects the positions that the last encoder layer computes: all, or the first one only.
    With `cuda_graphs` the passes over padded batches are captured once and replayed.
    `compile` compiles the model's passes by `torch.compile`.
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
    task: Annotated[
        Task,
        Axis(
            "the data set: a short name of GLUE, or a mapping as for the key `{name}` of a suite",
            label=str,
            everywhere=True,
            form=Annotated[Task, BeforeValidator(as_task)],
            aka=("data", "dataset", "tasks"),
        ),
    ] = Task()
    padding: Annotated[
        Padding,
        Axis(
            "how the rows of a batch are padded to one length",
            values={
                "static": "pad every row to `length`, or to the longest example of the data set",
                "dynamic": "pad each batch to its longest row",
                "bucketed": "as dynamic, in batches of rows of similar length",
                "unpadded": "lay the rows of a batch end to end, so that no layer computes padding",
                "group_by_length": "as dynamic, in the batches of `Trainer` with this "
                "`train_sampling_strategy`: similar lengths together, the longest first",
                "batch_rebalance": "as dynamic, in the batches of `Trainer` with this "
                "`train_sampling_strategy`: the batches of a step cost about the same, with "
                "`gradient_accumulation_steps` above 1",
            },
            rules=axis_rules.PADDING,
            label=str,
            shown="column",
            form=Annotated[Padding, AfterValidator(_length_is_for_static)],
            short="strategy",
            default="dynamic",
            aka=("collator", "padding_strategy", "paddings", "strategy", "train_sampling_strategy"),
            interchangeable=True,
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
                "tf32": "fp32 whose products use TensorFloat-32, on CUDA since Ampere only",
                "bf16": "autocast to bfloat16; weights and optimizer stay in fp32",
                "fp16": "autocast to float16 with a gradient scaler, on CUDA only",
            },
            label=str,
            shown="column",
            aka=("dtype", "torch_dtype", "fp16", "bf16", "tf32", "amp", "mixed_precision"),
            rules=axis_rules.PRECISION,
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
            interchangeable=True,
            rules=axis_rules.ENGINE,
        ),
    ] = "trainer"
    attention: Annotated[
        Attention,
        Axis(
            "the implementation of attention: auto takes sdpa where the model supports it, else eager; "
            "jagged is for unpadded batches alone; also {{sdpa: math|efficient|flash|cudnn}}, the one kernel "
            "that torch may use, and {{kernel: REPO, revision: SHA}}, a kernel of the Hub",
            values={
                "auto": "sdpa where the model supports it, else eager",
                "eager": "the plain implementation of transformers",
                "sdpa": "`torch.nn.functional.scaled_dot_product_attention`",
                "jagged": "variable-length kernels over nested tensors, for unpadded batches only",
                "flash_attention_2": "the package flash-attn, in bf16 and fp16 on CUDA",
                "flash_attention_3": "the package flash-attn-3, in bf16 and fp16 on CUDA",
                "flex_attention": "`flex_attention` of torch, for models without dropout of attention",
                "kernel": "a kernel of the Hub at a pinned commit: {kernel: REPO, revision: SHA}",
            },
            label=str,
            shown="setting",
            form=ChosenAttention,
            short="name",
            fields=("attention", "attention_backend", "attention_kernel", "attention_revision"),
            aka=("attn", "attn_implementation"),
            interchangeable=True,
            rules=axis_rules.ATTENTION,
        ),
    ] = "auto"
    attention_backend: Annotated[SdpaBackend | None, Field(exclude_if=is_none)] = None
    attention_kernel: Annotated[str | None, Field(exclude_if=is_none)] = None
    attention_revision: Annotated[str | None, Field(exclude_if=is_none)] = None
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
            interchangeable=True,
            rules=axis_rules.LAST_LAYER,
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
            rules=axis_rules.CUDA_GRAPHS,
        ),
    ] = False
    compile: Annotated[
        Compile,
        Field(exclude_if=lambda given: given.mode == "off"),
        Axis(
            "the mode of `torch.compile`, and `dynamic`: `auto`, `true` or `false`",
            values={
                "off": "run the model eagerly",
                "default": "compile with Inductor",
                "reduce-overhead": "compile with Inductor and replay its kernels as CUDA graphs",
                "max-autotune-no-cudagraphs": "compile with Inductor and measure which kernels are fastest",
            },
            form=Annotated[Compile, AfterValidator(_dynamic_needs_a_mode)],
            short="mode",
            aka=("torch_compile", "torch_compile_mode", "compile_mode", "dynamo", "inductor"),
            rules=axis_rules.COMPILE,
        ),
    ] = Compile(mode="off")
    adapter: Annotated[
        Adapter,
        Field(exclude_if=lambda given: given.kind == "none"),
        Axis(
            "which weights train: all, or low-rank adapters and the classification head (needs peft)",
            values={
                "none": "train every weight",
                "lora": "freeze the encoder and train LoRA adapters of rank `r` in every layer, and the head",
            },
            label="adapter {}".format,
            form=Annotated[Adapter, AfterValidator(_options_are_for_lora)],
            short="kind",
            aka=("lora", "peft", "peft_config", "adapters"),
        ),
    ] = Adapter(kind="none")
    world_size: Annotated[
        int,
        Field(ge=1, le=64, exclude_if=lambda given: given == 1),
        Axis(
            "how many devices train one trial together, from `device` on (on the CPU: processes); a batch "
            "has `per_device_train_batch_size` examples for each of them",
            aka=("n_gpu", "num_gpus", "gpus", "nproc_per_node", "num_processes", "ddp", "data_parallel"),
            rules=axis_rules.WORLD_SIZE,
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
        Seed,
        AfterValidator(_shortest),
        Axis(
            "the seed of weights, order and dropout, or one for each of them",
            changes="training",
            shown="column",
            everywhere=True,
            form=Annotated[SeedRoles, AfterValidator(_shortest)],
            short="init",
            default=0,
            aka=("seeds", "random_seed"),
        ),
    ] = 0

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 over the settings that can change a result."""
        return self.digests[0]

    @property
    def variant_id(self) -> str:
        """Like `id`, without the seed: equal for all seeds of one condition."""
        return self.digests[1]

    @cached_property
    def digests(self) -> tuple[str, str]:
        """`id` and `variant_id`, from one dump: a report has thousands of trials."""
        identity = self.model_dump(mode="json", exclude={"task": {"data_dir", "max_classes"}})
        without_seed = {name: value for name, value in identity.items() if name != "seed"}
        return _digest(identity), _digest(without_seed)

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
        copied.__dict__.pop("digests", None)
        return copied


def _digest(identity: dict[str, Any]) -> str:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(f"{IDENTITY_VERSION}:{canonical}".encode()).hexdigest()[:16]


AXES: Final = axes_of(Trial)
"""Every axis of a suite by name, in the order of the fields."""
