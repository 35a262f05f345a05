"""Arguments of `transformers.TrainingArguments`: those of a suite, and why it refuses others.

The reasons are data, since reading a suite imports no transformers; a test compares it with the installed
release.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from harness.model.axis import Axis, text
from harness.model.frozen import Frozen, is_none
from harness.words import count

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
    if train.max_steps == 0:
        return "max_steps 0 is no number of steps: write -1 to train num_train_epochs"
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


@dataclass(frozen=True, slots=True)
class Ignored:
    """A setting that a training ignores if another one has certain values.

    Attributes:
        setting: The setting that is ignored.
        by: The other setting.
        ignores: Whether this value of the other setting has that effect.
        why: The reason, for the error message.
    """

    setting: str
    by: str
    ignores: Callable[[Any], bool]
    why: str

    def applies(self, train: Train) -> bool:
        """Return whether a training with these settings ignores it."""
        return self.ignores(getattr(train, self.by))


IGNORED: Final = (
    Ignored("num_train_epochs", "max_steps", lambda steps: steps > 0, "the steps end the training"),
    Ignored("warmup_steps", "lr_scheduler_type", lambda kind: kind == "constant", "it warms nothing up"),
    *(
        Ignored(key, "optim", lambda name: not name.startswith("adamw"), "it is a setting of AdamW")
        for key in ("adam_beta1", "adam_beta2", "adam_epsilon")
    ),
)
"""Settings that give equal trainings, whatever their value."""


# The replacement in a suite, or the reason why there is none, with the keys that it applies to.
_INSTEAD: Final[dict[str, str]] = {
    "matrix.precision": "bf16 bf16_full_eval fp16 fp16_full_eval tf32",
    "matrix.seed": "seed data_seed full_determinism",
    "matrix.device": "use_cpu",
    "matrix.padding": "train_sampling_strategy length_column_name",
    "train.gradient_checkpointing": (
        "activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing_kwargs"
    ),
    "train.optim": "optim_args optim_target_modules",
    "train.dataloader_num_workers": (
        "dataloader_drop_last dataloader_in_order dataloader_multiprocessing_context "
        "dataloader_persistent_workers dataloader_pin_memory dataloader_prefetch_factor"
    ),
    "train.per_device_train_batch_size": "auto_find_batch_size",
    "train.per_device_eval_batch_size": (
        "batch_eval_metrics eval_accumulation_steps eval_do_concat_batches eval_use_gather_object "
        "include_for_metrics prediction_loss_only"
    ),
    "train.num_train_epochs": "eval_delay eval_on_start eval_steps eval_strategy",
    "measure.warmup_steps": "skip_memory_metrics include_num_input_tokens_seen",
    "task.label": "label_names remove_unused_columns",
    "train.max_steps": "do_train do_eval do_predict ignore_data_skip resume_from_checkpoint",
}
_REFUSED: Final[dict[str, str]] = {
    "a trial saves no checkpoint": (
        "enable_jit_checkpoint greater_is_better load_best_model_at_end metric_for_best_model output_dir "
        "restore_callback_states_from_checkpoint save_on_each_node save_only_model save_steps save_strategy "
        "save_total_limit"
    ),
    "nothing is uploaded": (
        "hub_always_push hub_model_id hub_private_repo hub_revision hub_strategy hub_token push_to_hub "
        "trackio_bucket_id trackio_space_id trackio_static_space_id"
    ),
    "the report replaces logs, and writing them would be timed": (
        "debug disable_tqdm log_level log_level_replica log_on_each_node logging_first_step "
        "logging_nan_inf_filter logging_steps logging_strategy project report_to run_name"
    ),
    "a trial trains on one device": (
        "accelerator_config average_tokens_across_devices ddp_backend ddp_broadcast_buffers "
        "ddp_bucket_cap_mb ddp_find_unused_parameters ddp_static_graph ddp_timeout deepspeed fsdp "
        "fsdp_config local_rank parallelism_config"
    ),
    "it changes the model or its kernels, and no proof covers it": (
        "liger_kernel_config neftune_noise_alpha torch_compile torch_compile_backend torch_compile_mode "
        "torch_empty_cache_steps use_cache use_liger_kernel"
    ),
}

UNSUPPORTED_KEYS: Final[dict[str, str]] = {
    key: phrase
    for phrases in (
        {f"the nearest supported key is {key}": keys for key, keys in _INSTEAD.items()},
        _REFUSED,
    )
    for phrase, keys in phrases.items()
    for key in keys.split()
}
"""A phrase for each key of `TrainingArguments` that a suite does not accept."""

_PACKAGES: Final[dict[str, str]] = {
    "apollo-torch": "apollo_adamw apollo_adamw_layerwise",
    "bitsandbytes": (
        "adamw_8bit adamw_bnb_8bit ademamix ademamix_8bit lion_32bit lion_8bit paged_adamw_32bit "
        "paged_adamw_8bit paged_ademamix_32bit paged_ademamix_8bit paged_lion_32bit paged_lion_8bit "
        "rmsprop_bnb rmsprop_bnb_32bit rmsprop_bnb_8bit"
    ),
    "galore-torch": (
        "galore_adafactor galore_adafactor_layerwise galore_adamw galore_adamw_8bit "
        "galore_adamw_8bit_layerwise galore_adamw_layerwise"
    ),
    "grokadamw": "grokadamw",
    "lomo-optim": "adalomo lomo",
    "schedulefree": "schedule_free_adamw schedule_free_radam schedule_free_sgd",
    "torch-npu": "adamw_torch_npu_fused",
    "torch-optimi": "stable_adamw",
    "torch-xla": "adamw_torch_xla",
    "torchao": "adamw_torch_4bit adamw_torch_8bit",
    "torchdistx": "adamw_anyprecision",
}

UNSUPPORTED_VALUES: Final[dict[str, dict[str, str]]] = {
    "optim": {
        name: f"it needs the package {package}, and only optimizers without another package are offered"
        for package, names in _PACKAGES.items()
        for name in names.split()
    },
    "lr_scheduler_type": {
        "reduce_lr_on_plateau": "it follows evaluations inside of `Trainer`, which a trial does without",
        "greedy": "it follows the losses that `Trainer` logs, which a trial does without",
    },
}
"""The reason for each value of `TrainingArguments` that a suite does not accept, by key."""
