"""The values of a trial's fields: attention, padding, compilation, tokenization, adapter and so on."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from harness.model.axis import text
from harness.model.frozen import Frozen

PaddingStrategy = Literal["static", "dynamic", "bucketed", "unpadded", "group_by_length", "batch_rebalance"]
ORDER_KEEPING: Final[frozenset[PaddingStrategy]] = frozenset({"static", "dynamic", "unpadded"})
"""Strategies whose batches have the same rows in the same order; each other one composes its own."""
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Engine = Literal["trainer", "loop"]
Attention = Literal[
    "auto",
    "eager",
    "sdpa",
    "jagged",
    "flash_attention_2",
    "flash_attention_3",
    "flex_attention",
    "kernel",
]
SdpaBackend = Literal["math", "efficient", "flash", "cudnn"]
TokenTypeIds = Literal["auto", "drop"]
LastLayer = Literal["all", "cls"]
CompileMode = Literal["off", "default", "reduce-overhead", "max-autotune-no-cudagraphs"]
TokenizationMethod = Literal["whole", "map", "map_batched"]
Tokenizer = Literal["fast", "slow"]

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


class ChosenAttention(Frozen):
    """An implementation of attention: a word, `{sdpa: BACKEND}`, or `{kernel: REPO, revision: SHA}`.

    `backend` is the one kernel that `scaled_dot_product_attention` of torch may use, `kernel` a repository of
    the Hub with kernels, at the commit `revision`.
    """

    model_config = ConfigDict(title="Attention")

    name: Attention
    backend: SdpaBackend | None = None
    kernel: str | None = None
    revision: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_spelled(cls, given: Any) -> Any:
        """Accept the spelling of suites, in which `sdpa` and `kernel` are keys."""
        if not isinstance(given, dict) or "name" in given:
            return given
        if given.keys() == {"sdpa"} and given["sdpa"] in get_args(SdpaBackend):
            return {"name": "sdpa", "backend": given["sdpa"]}
        if given.keys() == {"kernel", "revision"}:
            return {"name": "kernel", **given}
        backends = "|".join(get_args(SdpaBackend))
        raise ValueError(f"attention is a word, {{sdpa: {backends}}} or {{kernel: REPO, revision: SHA}}")

    @model_validator(mode="after")
    def _kernels_are_pinned(self) -> Self:
        if self.backend is not None and self.name != "sdpa":
            raise ValueError(f"{self.name} has no {self.backend} kernel: write {{sdpa: {self.backend}}}")
        if self.name != "kernel":
            if self.kernel is not None or self.revision is not None:
                raise ValueError("write a kernel as {kernel: OWNER/NAME, revision: SHA}")
            return self
        if re.fullmatch(r"[\w.-]+/[\w.-]+", self.kernel or "") is None:
            raise ValueError("a kernel is a repository of the Hub: {kernel: OWNER/NAME, revision: SHA}")
        if re.fullmatch(r"[0-9a-f]{40}", self.revision or "") is None:
            raise ValueError("a kernel runs code of its repository: pin its revision, a commit of 40 digits")
        return self

    def spelled(self) -> Any:
        """Return the value in suite syntax."""
        if self.kernel is not None:
            return {"kernel": self.kernel, "revision": self.revision}
        return self.name if self.backend is None else {"sdpa": self.backend}

    def __str__(self) -> str:
        if self.kernel is not None:
            return f"kernel({self.kernel}@{(self.revision or '')[:12]})"
        return self.name if self.backend is None else f"sdpa({self.backend})"

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: Any, _handler: Any) -> dict[str, Any]:
        """Return the schema of the mappings that a suite may contain."""

        def mapping(**properties: dict[str, Any]) -> dict[str, Any]:
            required = list(properties)
            return {
                "type": "object",
                "additionalProperties": False,
                "required": required,
                "properties": properties,
            }

        text, sha = (
            {"type": "string", "pattern": "^[^/]+/[^/]+$"},
            {"type": "string", "pattern": "^[0-9a-f]{40}$"},
        )
        backend = {"enum": list(get_args(SdpaBackend))}
        return {"title": "Attention", "anyOf": [mapping(sdpa=backend), mapping(kernel=text, revision=sha)]}


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


class Compile(Frozen):
    """How `torch.compile` compiles the forward and the backward pass; `off` leaves both to eager torch.

    `dynamic` is torch's: `false` compiles each shape of a batch separately, `true` compiles for all shapes at
    once, and `auto` compiles the first shape, then for all values of the sizes that have changed.
    """

    mode: CompileMode
    dynamic: Literal["auto", True, False] = "auto"

    def __str__(self) -> str:
        return _with_options(self)


def _dynamic_needs_a_mode(compiled: Compile) -> Compile:
    if compiled.mode == "off" and compiled.dynamic != "auto":
        raise ValueError("dynamic belongs to a compiled model, not to off")
    return compiled


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


class Adapter(Frozen):
    """Which weights train: all of them (`none`), or low-rank adapters and the classification head (`lora`).

    Names and defaults are those of `peft.LoraConfig`: `r` is the rank, `alpha` over `r` scales the adapters,
    `dropout` drops elements of their inputs. `targets` are names of linear layers or their ends, as
    `target_modules` in peft; None takes the projections of queries and values in every layer.
    """

    kind: Literal["none", "lora"]
    r: Annotated[int, Field(ge=1, le=4_096)] = 8
    alpha: Annotated[float, Field(gt=0, le=65_536)] = 8.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)] | None = None

    def __str__(self) -> str:
        return "none" if self.kind == "none" else _with_options(self, always=("r",))


def _options_are_for_lora(adapter: Adapter) -> Adapter:
    given = [name for name in adapter.model_fields_set if name != "kind"]
    if adapter.kind == "none" and given:
        raise ValueError(f"{min(given)} belongs to lora, not to none")
    if adapter.targets is None:
        return adapter
    if not adapter.targets:
        raise ValueError("targets names no layer: name one, or leave targets out for queries and values")
    return adapter.model_copy(update={"targets": tuple(sorted(set(adapter.targets)))})


def _with_options(choice: Frozen, always: Collection[str] = ()) -> str:
    """Return the text of a choice: its first field, then the options beyond their defaults in parentheses.

    Options named in `always` are among them in any case.

    A structured value of an axis uses it as `__str__`, so that tables and labels print one word:
    `static(length=128)`, `map(num_proc=2)`.
    """
    (_, chosen), *options = choice
    defaults = type(choice).model_fields
    given = [
        f"{name}={text(value)}"
        for name, value in options
        if name in always or value != defaults[name].default
    ]
    return f"{text(chosen)}({', '.join(given)})" if given else text(chosen)
