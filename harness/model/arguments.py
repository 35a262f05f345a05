"""Keys and values of `transformers.TrainingArguments` that a suite does not accept, with the reason.

The list is data, since reading a suite imports no transformers; a test compares it with the installed
release.
"""

from __future__ import annotations

from typing import Final

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
