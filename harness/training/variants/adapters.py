"""LoRA (Hu et al. 2021, arXiv:2106.09685): each frozen linear layer with a trained product of two thin ones.

The encoder is frozen. Adapters of peft are injected into the model in place, so that its class, its names and
everything that hooks it stay as they are. The classification head trains as well: it is new.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from torch import nn
from transformers import PreTrainedModel

from harness.errors import UnavailableError
from harness.machine.requirements import require_extra
from harness.model.job import TrialStoppedError
from harness.model.values import Adapter
from harness.training.checkpoints import LoadedModel

# Names under which transformers' attention modules keep the projections of queries and of values.
_QUERY_AND_VALUE: Final = (("query", "value"), ("q_lin", "v_lin"), ("q_proj", "v_proj"), ("q", "v"))


def add_adapter(loaded: LoadedModel, adapter: Adapter) -> LoadedModel:
    """Freeze the encoder of a loaded model in place and add adapters, drawn from torch's generator.

    Their second factor is zero, so that the model computes what it did until the first optimizer step.

    Raises:
        TrialStoppedError: `unavailable` without peft; `failed` for targets that are not in every layer.
    """
    try:
        require_extra("peft")
    except UnavailableError as error:
        raise TrialStoppedError("unavailable", error.message, hint=error.hint) from error
    from peft import LoraConfig, inject_adapter_in_model  # noqa: PLC0415 - an extra

    model = loaded.model
    targets = find_targets(model, adapter.targets)
    head = dict(_head(loaded))
    before = model.num_parameters()
    config = LoraConfig(
        r=adapter.r,
        # Annotated as int, used as a number.
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]
        lora_dropout=adapter.dropout,
        target_modules=list(targets),
    )
    inject_adapter_in_model(config, model)
    for parameter in head.values():
        parameter.requires_grad_(True)
    _check_placed(model, targets)
    trainable = model.num_parameters(only_trainable=True)
    return replace(
        loaded,
        trainable=trainable,
        added=model.num_parameters() - before,
        adapter_note=(
            f"adapter: {adapter} in {', '.join(_ends(targets))} of {len(_layers(model))} layers; the head "
            f"({', '.join(head)}) trains too: {trainable / model.num_parameters():.2%} of all parameters"
        ),
    )


def find_targets(model: PreTrainedModel, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the encoder's linear layers that get an adapter, in the order of the model.

    Args:
        model: a classifier of transformers.
        wanted: names of linear layers or their ends; None for the projections of queries and values.

    Raises:
        TrialStoppedError: `failed`, for a target that is no linear layer of the encoder, or that leaves a
            layer without an adapter.
    """
    linear = {
        name: module
        for name, module in model.base_model.named_modules(prefix=model.base_model_prefix)
        if isinstance(module, nn.Linear)
    }
    ends = wanted or next(
        (pair for pair in _QUERY_AND_VALUE if all(_matching(linear, end) for end in pair)), None
    )
    if ends is None:
        raise _refusal(model, linear, "it has no projections of queries and values with a known name")
    for end in ends:
        if not _matching(linear, end):
            raise _refusal(model, linear, f"it has no linear layer {end}")
    found = tuple(name for name in linear if any(_is(name, end) for end in ends))
    for place, layer in enumerate(_layers(model)):
        if not any(linear[name] in set(layer.modules()) for name in found):
            raise _refusal(model, linear, f"layer {place} would have no adapter with {', '.join(ends)}")
    return found


def _matching(linear: dict[str, nn.Linear], end: str) -> list[str]:
    return [name for name in linear if _is(name, end)]


def _is(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def _layers(model: PreTrainedModel) -> list[nn.Module]:
    stack = next((each for each in model.base_model.modules() if isinstance(each, nn.ModuleList)), None)
    return [] if stack is None else list(stack)


def _refusal(model: PreTrainedModel, linear: dict[str, nn.Linear], why: str) -> TrialStoppedError:
    return TrialStoppedError(
        "failed",
        f"adapter: lora cannot serve {model.config.model_type}: {why}",
        hint=f"set targets to some of its linear layers, by name or end: {', '.join(_ends(linear))}",
    )


def _ends(names: Sequence[str] | dict[str, nn.Linear]) -> list[str]:
    """Return the last parts of names, each once: `query`, `value`."""
    return list(dict.fromkeys(name.rpartition(".")[2] for name in names))


def _head(loaded: LoadedModel) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters around the encoder, and those that the checkpoint lacks."""
    inside = f"{loaded.model.base_model_prefix}."
    for name, parameter in loaded.model.named_parameters():
        if not name.startswith(inside) or name in loaded.newly_initialized:
            yield name, parameter


def _check_placed(model: PreTrainedModel, targets: Sequence[str]) -> None:
    placed = {name.partition(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A." in name}
    if placed != set(targets):
        odd = ", ".join(sorted(placed ^ set(targets)))
        raise TrialStoppedError(
            "failed",
            f"peft placed other adapters than asked for: {odd}",
            hint="use the version of peft that requirements.txt names, or set other targets",
        )
