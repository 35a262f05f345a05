"""The values of a trial's fields: paddings, tokenizations, tasks and training settings, with their checks."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import AfterValidator, ConfigDict, Field, field_validator, model_validator

from harness.model.axis import Aka, Axis, text
from harness.model.frozen import Frozen, is_none
from harness.words import count

PaddingStrategy = Literal["static", "dynamic", "bucketed", "unpadded", "group_by_length", "batch_rebalance"]
ORDER_KEEPING: Final[frozenset[PaddingStrategy]] = frozenset({"static", "dynamic", "unpadded"})
"""Strategies whose batches have the same rows in the same order; each other one composes its own."""
Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Engine = Literal["trainer", "loop"]
TaskKind = Literal["classification", "regression"]
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
SchedulerType = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
]
Shape = Literal["linear", "cosine", "1-sqrt"]
Optimizer = Literal["adamw_torch", "adamw_torch_fused", "adafactor", "adagrad", "rmsprop", "sgd"]

CheckpointText = Annotated[str, Field(min_length=1, max_length=512)]


def _indexed(device: str) -> str:
    return "cuda:0" if device == "cuda" else device


SeedNumber = Annotated[int, Field(ge=0, le=2**32 - 1)]

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


class SeedRoles(Frozen):
    """One seed for each role: initial weights, order of examples, dropout. Missing roles take that of `init`.

    Numbers and roles have one order, so that seeds of both kinds can be sorted.
    """

    model_config = ConfigDict(title="Seed")

    init: SeedNumber
    order: SeedNumber | None = None
    dropout: SeedNumber | None = None

    def __str__(self) -> str:
        given = (f"{role}: {number_of(self, role)}" for role in ROLES)
        return f"{{{', '.join(given)}}}"

    def __lt__(self, other: Seed) -> bool:
        return _numbers(self) < _numbers(other)

    def __gt__(self, other: Seed) -> bool:
        return _numbers(self) > _numbers(other)


Seed = SeedNumber | SeedRoles
"""The seed of a trial: one number for every role, or a number for each role."""

SeedRole = Literal["init", "order", "dropout"]

ROLES: Final[tuple[SeedRole, ...]] = get_args(SeedRole)


def number_of(seed: Seed, role: SeedRole) -> int:
    """Return the number that seeds one role.

    >>> number_of(3, "order"), number_of(SeedRoles(init=1, order=2), "order")
    (3, 2)
    """
    if isinstance(seed, int):
        return seed
    number: int | None = getattr(seed, role)
    return seed.init if number is None else number


def _numbers(seed: Seed) -> tuple[int, ...]:
    return tuple(number_of(seed, role) for role in ROLES)


def _shortest(seed: Seed) -> Seed:
    """Return equal roles as their number, so that they are the same trial, and others in full."""
    numbers = _numbers(seed)
    if len(set(numbers)) == 1:
        return numbers[0]
    return SeedRoles(**dict(zip(ROLES, numbers, strict=True)))


def repeated_roles(seeds: Collection[Seed]) -> dict[str, int]:
    """Return the roles that have fewer different numbers than there are seeds, with the count of these.

    >>> repeated_roles([SeedRoles(init=0, order=1, dropout=1), SeedRoles(init=0, order=2, dropout=2)])
    {'init': 1}
    """
    columns = zip(*map(_numbers, seeds), strict=True)
    counts = {role: len(set(column)) for role, column in zip(ROLES, columns, strict=False)}
    return {role: count for role, count in counts.items() if count < len(seeds)}


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


class Limit(Frozen):
    """The first rows of each split, in the order of the files, that a task keeps; None keeps all rows."""

    train: Annotated[int | None, Field(ge=1, le=1_000_000_000, exclude_if=is_none)] = None
    eval: Annotated[int | None, Field(ge=1, le=1_000_000_000, exclude_if=is_none)] = None

    @model_validator(mode="after")
    def _limits_a_split(self) -> Self:
        if self.train is None and self.eval is None:
            raise ValueError("a limit needs train, eval or both")
        return self

    def __str__(self) -> str:
        return ", ".join(f"{split} {rows:,}" for split, rows in self if rows is not None)


SplitName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="1 to 64 letters, digits, _, . and -, the first a letter or digit",
    ),
]


class Task(Frozen):
    """A data set of texts with classes or numbers: where it comes from and which columns matter.

    `kind` is `classification`, or `regression` on a number, whose head has one output and mean squared error.

    The defaults are GLUE MRPC. `max_length` is the one truncation length of all variants of a suite,
    in tokens; None uses the limit of the model. `data_dir` is the location of the files; the identity of a
    trial does not include it, since the result records a hash of the content. A label column with more than
    `max_classes` distinct labels is rejected as the wrong column; this limit is not in the identity either.
    `limit` keeps the first rows of a split, always the same ones; it is in the identity where it is set.
    `eval_split` is one split, or a list of several: the scores of the first are `eval_accuracy` and so on,
    those of each further one have its name in theirs, such as `eval_validation_mismatched_accuracy`.
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
    # Omit the default, so that the ids of trials stay unchanged.
    kind: Annotated[TaskKind, Field(exclude_if=lambda kind: kind == "classification")] = "classification"
    train_split: str = "train"
    eval_split: str | Annotated[tuple[SplitName, ...], Field(min_length=1, max_length=16, strict=False)] = (
        "validation"
    )
    max_length: Annotated[
        Annotated[int, Field(ge=8, le=65_536)] | None,
        Aka(("max_len", "max_seq_len", "max_seq_length", "truncation_length")),
    ] = None
    # Omit the default, so that earlier plans and reports stay unchanged.
    max_classes: Annotated[int, Field(ge=2, le=1_000_000, exclude_if=lambda most: most == 1_000)] = 1_000
    limit: Annotated[Limit | None, Field(exclude_if=is_none)] = None

    @field_validator("eval_split")
    @classmethod
    def _each_split_once(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(given, str):
            return given
        if len(set(given)) < len(given):
            raise ValueError("eval_split names a split more than once")
        return given if len(given) > 1 else given[0]

    def spelled(self) -> str | dict[str, Any]:
        """Return the value in suite syntax, with the keys whose defaults depend on the data set."""
        if self == Task():
            return self.name
        whole = {name: getattr(self, name) for name in ("dataset", "config", "text", "eval_split", "kind")}
        given = {name: [*value] if isinstance(value, tuple) else value for name, value in whole.items()}
        return given | self.model_dump(mode="json", exclude_defaults=True)

    @property
    def eval_splits(self) -> tuple[str, ...]:
        """The evaluation splits: of further ones the scores have names of their own."""
        return (self.eval_split,) if isinstance(self.eval_split, str) else self.eval_split

    @property
    def name(self) -> str:
        """The common name of the data set: `glue/mrpc`."""
        dataset = "glue" if self.dataset == "nyu-mll/glue" else self.dataset
        return dataset if self.config is None else f"{dataset}/{self.config}"

    def __str__(self) -> str:
        return self.name

    @property
    def collapsed(self) -> str:
        """The output of a degenerate model: `a single class`, or in a regression `a single number`."""
        return "a single class" if self.kind == "classification" else "a single number"


class SchedulerKwargs(Frozen):
    """The options of a learning rate schedule, as in `lr_scheduler_kwargs` of transformers.

    `min_lr` and `lr_end` are learning rates, `min_lr_rate`, `min_lr_ratio` and `warmup_lr_rate` shares of
    `learning_rate`; steps are optimizer steps.
    """

    num_cycles: Annotated[float | None, Field(gt=0, le=1_000, exclude_if=is_none)] = None
    power: Annotated[float | None, Field(gt=0, le=100, exclude_if=is_none)] = None
    lr_end: Annotated[float | None, Field(ge=0, le=1, exclude_if=is_none)] = None
    timescale: Annotated[int | None, Field(ge=1, le=100_000_000, exclude_if=is_none)] = None
    min_lr: Annotated[float | None, Field(ge=0, le=1, exclude_if=is_none)] = None
    min_lr_rate: Annotated[float | None, Field(ge=0, le=1, exclude_if=is_none)] = None
    warmup_lr_rate: Annotated[float | None, Field(ge=0, le=1, exclude_if=is_none)] = None
    num_decay_steps: Annotated[int | None, Field(ge=0, le=100_000_000, exclude_if=is_none)] = None
    num_stable_steps: Annotated[int | None, Field(ge=0, le=100_000_000, exclude_if=is_none)] = None
    warmup_type: Annotated[Shape | None, Field(exclude_if=is_none)] = None
    decay_type: Annotated[Shape | None, Field(exclude_if=is_none)] = None
    min_lr_ratio: Annotated[float | None, Field(ge=0, le=1, exclude_if=is_none)] = None

    def given(self) -> dict[str, Any]:
        """Return the options that are set, by name."""
        return {name: value for name, value in self if value is not None}

    def spelled(self) -> dict[str, Any]:
        """Return the value in suite syntax."""
        return self.given()

    def __str__(self) -> str:
        return ", ".join(f"{name}={text(value)}" for name, value in self.given().items())


# The options that each schedule of transformers takes, those it needs one of first.
_SCHEDULE_OPTIONS: Final[dict[SchedulerType, tuple[frozenset[str], frozenset[str]]]] = {
    "cosine": (frozenset(), frozenset({"num_cycles"})),
    "cosine_with_restarts": (frozenset(), frozenset({"num_cycles"})),
    "polynomial": (frozenset(), frozenset({"lr_end", "power"})),
    "inverse_sqrt": (frozenset(), frozenset({"timescale"})),
    "cosine_with_min_lr": (frozenset({"min_lr", "min_lr_rate"}), frozenset({"num_cycles"})),
    "cosine_warmup_with_min_lr": (
        frozenset({"min_lr", "min_lr_rate"}),
        frozenset({"num_cycles", "warmup_lr_rate"}),
    ),
    "warmup_stable_decay": (
        frozenset({"num_decay_steps"}),
        frozenset({"num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles"}),
    ),
}

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
    # Dumps omit the defaults of later settings, so that ids and files of earlier trials do not change.
    lr_scheduler_kwargs: Annotated[
        SchedulerKwargs | None,
        Field(exclude_if=lambda given: given is None or not given.given()),
        _argument("scheduler_kwargs"),
    ] = None
    label_smoothing_factor: Annotated[
        float,
        Field(ge=0, lt=1, exclude_if=lambda given: not given),
        _argument("label_smoothing", "smoothing"),
    ] = 0.0
    gradient_checkpointing: Annotated[
        bool,
        Field(exclude_if=lambda given: not given),
        Axis(_ARGUMENT, aka=("activation_checkpointing", "checkpointing")),
    ] = False
    dataloader_num_workers: Annotated[
        int,
        Field(ge=0, le=64, exclude_if=lambda given: not given),
        _argument("num_workers", "workers"),
    ] = 0


def settings_problem(train: Train) -> str | None:
    """Return the reason why transformers refuses these settings together, or None.

    >>> settings_problem(Train(lr_scheduler_type="cosine_with_min_lr"))
    'lr_scheduler_type cosine_with_min_lr needs min_lr or min_lr_rate in lr_scheduler_kwargs'
    """
    kind = train.lr_scheduler_type
    needed, optional = _SCHEDULE_OPTIONS.get(kind, (frozenset(), frozenset()))
    options = train.lr_scheduler_kwargs or SchedulerKwargs()
    given = options.given().keys()
    if foreign := sorted(given - needed - optional):
        takes = f"it takes {', '.join(sorted(needed | optional))}" if needed | optional else "it takes none"
        return f"lr_scheduler_kwargs.{foreign[0]} has no meaning for lr_scheduler_type {kind}: {takes}"
    if needed and len(needed & given) != 1:
        together = "one of " if needed & given else ""
        names = " or ".join(sorted(needed))
        return f"lr_scheduler_type {kind} needs {together}{names} in lr_scheduler_kwargs"
    if kind == "cosine_with_restarts" and options.num_cycles is not None and options.num_cycles % 1:
        return f"cosine_with_restarts takes whole num_cycles, not {options.num_cycles:g}"
    lowest = {"lr_end": 1e-7 if options.lr_end is None else options.lr_end, "min_lr": options.min_lr or 0.0}
    for name in needed | optional:
        if lowest.get(name, 0.0) >= train.learning_rate:
            return f"{name} {lowest[name]:g} is not below the learning rate {train.learning_rate:g}"
    return None
