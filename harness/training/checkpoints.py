"""A fresh classifier from a checkpoint's files, whose weights must be those of the model of its config.

transformers draws weights at random that a checkpoint lacks, and drops those that the model has no place for.
That is normal for a classification head and for the head of the pretraining. In the body it is another model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from harness.assets.checkpoint_folder import weight_files
from harness.model.job import TrialStoppedError
from harness.model.values import Attention, TokenTypeIds


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in fp32 on the CPU, in training mode. `columns` are the inputs that its `forward` will get.

    `attention` is the implementation that computes, never `auto`. `parameters` is how many it came with: an
    engine may keep fewer. `trainable` of them, with an adapter's, train; an adapter adds `added`, and
    `adapter_note` describes it. `allowed` are the weights that the checkpoint lacks, or the model does not
    use, where only the suite's `allow_weights` accepts it.
    """

    model: PreTrainedModel
    attention: Attention
    parameters: int
    columns: tuple[str, ...]
    columns_note: str | None
    newly_initialized: tuple[str, ...]
    unused: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    trainable: int = 0
    added: int = 0
    adapter_note: str | None = None


def load_model(
    folder: Path,
    *,
    labels: tuple[str, ...],
    attention: Attention,
    token_type_ids: TokenTypeIds,
    allows: Callable[[str], bool] = lambda _weight: False,
) -> LoadedModel:
    """Read a checkpoint as a sequence classifier with one output a label; one label is a regression's.

    Only safetensors are read and no code but transformers' own is run. Weights that the checkpoint lacks (at
    least the head) are drawn from torch's generator: seed it first.

    Raises:
        TrialStoppedError: `failed`, for a checkpoint without safetensors, an attention it does not have, or
            weights that do not fit its config and that `allows` does not accept by their names.
    """
    if not any(folder.glob("*.safetensors")):
        raise TrialStoppedError(
            "failed",
            f"{folder.name} has no safetensors",
            hint="convert it once with model.save_pretrained(FOLDER): pickled weights can run code",
        )
    stored = stored_types(weight_files(folder))
    try:
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={name: index for index, name in enumerate(labels)},
            **({"problem_type": "regression"} if len(labels) == 1 else {}),
            # None takes sdpa where the model supports it, else eager.
            attn_implementation="eager" if attention == "eager" else None,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            # Differing shapes are refused by check_weights, which names them.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except ValueError as error:
        raise TrialStoppedError("failed", str(error).splitlines()[0]) from error
    used = _attention_of(model, attention)
    allowed = check_weights(model, stored, loading, allows)
    columns, note = model_columns(model, token_type_ids)
    model.train()
    return LoadedModel(
        model=model,
        attention=used,
        parameters=model.num_parameters(),
        columns=columns,
        columns_note=note,
        newly_initialized=tuple(sorted(loading["missing_keys"])),
        unused=tuple(sorted(loading["unexpected_keys"])),
        allowed=allowed,
        trainable=model.num_parameters(),
    )


def _attention_of(model: PreTrainedModel, asked: Attention) -> Attention:
    """The implementation that a model computes attention with, if it is the one asked for."""
    found: str | None = model.config._attn_implementation  # noqa: SLF001 - transformers has no other way to ask
    supported = getattr(model, "_supports_sdpa", False)
    if asked == "sdpa" and not supported:
        name = type(model).__name__.removesuffix("ForSequenceClassification")
        release = ".".join(transformers.__version__.split(".")[:2])
        raise TrialStoppedError(
            "failed",
            f"{name} has no SDPA attention in transformers {release}",
            hint="use attention: auto or eager",
        )
    wanted: Attention = "sdpa" if supported and asked != "eager" else "eager"
    if found != wanted:
        raise TrialStoppedError(
            "failed",
            f"attention: {asked} would compute {found} instead of {wanted}: config.json sets it",
            hint=f"use attention: {found}, or remove _attn_implementation from the checkpoint's config.json",
        )
    return wanted


def model_columns(model: PreTrainedModel, token_type_ids: TokenTypeIds) -> tuple[tuple[str, ...], str | None]:
    """The inputs a model gets, by its `forward` and its config, and a sentence about what it does not.

    A tokenizer cannot tell: DistilBERT's emits `token_type_ids`, and its `forward` swallows them unseen.
    """
    columns = ("input_ids", "attention_mask")
    kind = model.config.model_type
    if "token_type_ids" not in inspect.signature(model.forward).parameters:
        return columns, f"{kind} gets no token_type_ids: its forward does not take them"
    if getattr(model.config, "type_vocab_size", 0) < 2:
        return columns, f"{kind} gets no token_type_ids: its config knows a single type"
    if token_type_ids == "drop":
        return columns, f"{kind} gets no token_type_ids: dropped as asked"
    return (*columns, "token_type_ids"), None


_SHOWN: Final = 3
_FLOATS: Final = frozenset({"F64", "F32", "F16", "BF16"})
# Names of the first BERT checkpoints, which transformers still takes.
_OLD_ENDINGS: Final = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_ALLOW: Final = "name them in the suite's allow_weights, with * as a wildcard"


def stored_types(files: Iterable[Path]) -> dict[str, str]:
    """The type of every tensor in a checkpoint's files, such as `{"pooler.bias": "F32"}`, from their headers.

    Raises:
        TrialStoppedError: `failed`, for a file that is no safetensors file or is cut off, and for a tensor
            that two files have.
    """
    types: dict[str, str] = {}
    for path in files:
        try:
            with safe_open(path, framework="numpy") as file:
                found = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError) as error:
            raise TrialStoppedError(
                "failed", f"{path.name} cannot be read: {error}", hint="get the file again"
            ) from error
        _refuse_twice(sorted(types.keys() & found.keys()))
        types |= found
    return types


def check_weights(
    model: PreTrainedModel,
    stored: Mapping[str, str],
    loading: Mapping[str, Any],
    allows: Callable[[str], bool],
) -> tuple[str, ...]:
    """Compare a loaded model with the files it was loaded from.

    Everything outside `model.base_model` is the head and may be missing or unused, as may the body's
    `pooler`; buffers may be unused. Any other weight may not, unless `allows` accepts its name.

    Args:
        model: as loaded, on the CPU.
        stored: the type of every tensor in the files, by name.
        loading: what `from_pretrained` returned with `output_loading_info` and `ignore_mismatched_sizes`.
        allows: whether the suite accepts that a weight is missing or unused.

    Returns:
        The names of the weights that are missing or unused in the body and are allowed.

    Raises:
        TrialStoppedError: `failed`, naming the first weights that are missing, unused, of another shape,
            stored twice or not as floating-point numbers, or not finite.
    """
    _check_shapes(sorted(loading["mismatched_keys"], key=lambda found: str(found[0])))
    missing = [name for name in sorted(loading["missing_keys"]) if _in_body(model, name)]
    buffers = {name for name, _ in model.named_buffers()}
    unused = [
        name
        for name in sorted(loading["unexpected_keys"])
        if (_in_body(model, name) or _in_bare_body(model, name)) and not buffers & _full_names(model, name)
    ]
    refused = [[name for name in names if not allows(name)] for names in (missing, unused)]
    _refuse(*refused)
    _check_names(model, stored)
    _check_types(model, stored)
    _check_values(model)
    return (*missing, *unused)


def _in_body(model: PreTrainedModel, name: str) -> bool:
    """Whether the name is that of a weight below the base model, its pooler excepted."""
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    return name.startswith(prefix) and not name.startswith(f"{prefix}pooler.")


def _in_bare_body(model: PreTrainedModel, name: str) -> bool:
    """The same for a name in a checkpoint that was saved from the base model alone, without its prefix."""
    body = model.base_model
    parts = {part for part, _ in (*body.named_children(), *body.named_parameters(recurse=False))}
    return name.partition(".")[0] in parts - {"pooler"}


def _full_names(model: PreTrainedModel, name: str) -> set[str]:
    return {name, f"{model.base_model_prefix}.{name}"}


def _refuse(missing: Sequence[str], unused: Sequence[str]) -> None:
    found = []
    if missing:
        found.append(f"the checkpoint lacks {_listed(missing)}, which would be random")
    if unused:
        found.append(f"the model has no place for the checkpoint's {_listed(unused)}")
    if found:
        raise TrialStoppedError(
            "failed",
            f"the weights do not fit config.json: {'; '.join(found)}",
            hint=f"use the config.json that belongs to the weights, or {_ALLOW}",
        )


def _listed(names: Sequence[str]) -> str:
    """`2 weights (a, b)`, `24 weights (a, b, c, ...)`."""
    more = ", ..." if len(names) > _SHOWN else ""
    return f"{len(names)} weight{'' if len(names) == 1 else 's'} ({', '.join(names[:_SHOWN])}{more})"


def _check_shapes(mismatched: Sequence[tuple[str, Sequence[int], Sequence[int]]]) -> None:
    if not mismatched:
        return
    name, stored, wanted = mismatched[0]
    more = f" ({len(mismatched)} weights differ in shape)" if len(mismatched) > 1 else ""
    raise TrialStoppedError(
        "failed",
        f"{name} has shape {list(stored)} in the checkpoint and {list(wanted)} in the model{more}",
        hint="use the config.json that belongs to the weights; if it is the head of another task, save the "
        "checkpoint without it (model.base_model.save_pretrained)",
    )


def _check_names(model: PreTrainedModel, stored: Iterable[str]) -> None:
    """Refuse a weight that is stored under two of the names by which it is loaded: either could be taken."""
    seen: dict[str, str] = {}
    for name in sorted(stored):
        own = name.removeprefix(f"{model.base_model_prefix}.")
        for old, new in _OLD_ENDINGS.items():
            own = f"{own.removesuffix(old)}{new}" if own.endswith(old) else own
        if own in seen:
            _refuse_twice([seen[own], name])
        seen[own] = name


def _refuse_twice(names: Sequence[str]) -> None:
    if names:
        raise TrialStoppedError(
            "failed",
            f"the checkpoint stores a weight twice: {_listed(names)}",
            hint="load it in transformers once, and save it with save_pretrained",
        )


def _check_types(model: PreTrainedModel, stored: Mapping[str, str]) -> None:
    """Refuse integers in place of weights: quantised values mean nothing without their scales."""
    parameters = {name for name, _ in model.named_parameters()}
    wrong = [
        f"{name} {dtype}"
        for name, dtype in sorted(stored.items())
        if dtype not in _FLOATS and parameters & _full_names(model, name)
    ]
    if wrong:
        raise TrialStoppedError(
            "failed",
            f"the checkpoint stores {_listed(wrong)} in a type that is not F64, F32, F16 or BF16",
            hint="dequantise the checkpoint and save it with save_pretrained",
        )


def _check_values(model: PreTrainedModel) -> None:
    """Refuse NaN and infinity: a training on them may end with one class, or with numbers of no meaning."""
    # A sum takes an eighth of the time of isfinite. It is finite unless a weight is not, or it overflows.
    suspects = [(name, weight) for name, weight in model.named_parameters() if not _sums_up(weight)]
    wrong = [name for name, weight in suspects if not bool(torch.isfinite(weight).all())]
    if wrong:
        raise TrialStoppedError(
            "failed",
            f"the checkpoint has NaN or infinity in {_listed(wrong)}",
            hint="get the checkpoint again, or save it from a training that did not diverge",
        )


def _sums_up(weight: torch.Tensor) -> bool:
    return bool(torch.isfinite(weight.detach().sum()))
