"""Attention by a kernel that the trial names: one of torch's, a package's, or a pinned one of the Hub.

Each is tried on two short rows, forward and backward with dropout as in training, before the trial begins.
What cannot run ends the trial as `unavailable`, with the library's reason: nothing falls back to another one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.model.job import TrialStoppedError
from harness.model.trial import Trial
from harness.model.values import Attention, ChosenAttention, SdpaBackend
from harness.training.devices import autocast

_BACKENDS: Final[dict[SdpaBackend, SDPBackend]] = {
    "math": SDPBackend.MATH,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
# The Python module and the package of each implementation that needs one.
_PACKAGES: Final[dict[Attention, tuple[str, str]]] = {
    "flash_attention_2": ("flash_attn", "flash-attn"),
    "flash_attention_3": ("flash_attn_interface", "flash-attn-3"),
    "kernel": ("kernels", "kernels"),
}
_EXTRAS: Final[dict[Attention, str]] = {"kernel": " (install the extra kernels)"}
_ON_CUDA: Final[frozenset[Attention]] = frozenset({"flash_attention_2", "flash_attention_3"})


def computes_fp32(trial: Trial) -> bool:
    """Whether the trial's attention has a kernel for fp32, in which a proof compares it too."""
    on_cuda = trial.device.startswith("cuda")
    halves = trial.attention in _PACKAGES or (trial.attention_backend in ("flash", "cudnn") and on_cuda)
    return trial.precision in ("fp32", "tf32") or not halves


def drops_as_in_fp32(trial: Trial) -> bool:
    """Whether a training in fp32 shows how the trial's attention drops: `jagged` on CUDA has two kernels."""
    other = trial.attention == "jagged" and trial.device.startswith("cuda")
    return computes_fp32(trial) and (trial.precision in ("fp32", "tf32") or not other)


def use_attention_of(trial: Trial, model: PreTrainedModel) -> None:
    """Let the model compute attention by the kernel that the trial names, in place, on its device.

    Raises:
        TrialStoppedError: `unavailable`, with the reason, for a kernel that cannot train this model here;
            `failed`, if another kernel computed.
    """
    asked = attention_of(trial)
    if trial.attention_backend is not None:
        _use_backend(model, trial.attention_backend)
        operations = _Operations()
        _try(trial, model, asked, operations)
        _check_backend(operations.names, trial.attention_backend, asked)
        return
    module, package = _PACKAGES.get(trial.attention, (None, ""))
    if module is not None and importlib.util.find_spec(module) is None:
        raise _unavailable(asked, f"the package {package} is not installed{_EXTRAS.get(trial.attention, '')}")
    if trial.attention in _ON_CUDA and model.device.type != "cuda":
        raise _unavailable(asked, f"it computes on CUDA, not on {model.device.type}")
    name: str = trial.attention
    if name == "kernel":
        name = f"{trial.attention_kernel}@{trial.attention_revision}"
    with _reasons(asked, trial, model):
        # The suite pins the revision, so that the kernel's code is what its author looked at.
        model.set_attn_implementation(name, allow_all_kernels=trial.attention == "kernel")
    if model.config._attn_implementation != name:  # noqa: SLF001 - transformers has no other way to ask
        found = model.config._attn_implementation  # noqa: SLF001 - see above
        raise TrialStoppedError("failed", f"attention: {asked} would compute {found} instead")
    _try(trial, model, asked)


def attention_of(trial: Trial) -> ChosenAttention:
    """Return the attention of a trial as one value."""
    return ChosenAttention(
        name=trial.attention,
        backend=trial.attention_backend,
        kernel=trial.attention_kernel,
        revision=trial.attention_revision,
    )


def _use_backend(model: PreTrainedModel, backend: SdpaBackend) -> None:
    """Put an attention function around the model's own that allows one kernel of torch alone."""
    inner_name = model.config._attn_implementation  # noqa: SLF001 - transformers has no other way to ask
    inner: Callable[..., tuple[torch.Tensor, Any]] = ALL_ATTENTION_FUNCTIONS[inner_name]

    def attend(*args: Any, **options: Any) -> tuple[torch.Tensor, Any]:
        with sdpa_kernel(_BACKENDS[backend]):
            return inner(*args, **options)

    # transformers takes any name with "flash" for one of its own.
    name = f"{inner_name}_only_{_BACKENDS[backend].value}"
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[inner_name])
    model.set_attn_implementation(name)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch leaves it so
    """Notes the names of the operations that run inside. Operations of higher order cannot run there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch leaves it so
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the operation and run it."""
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def _try(
    trial: Trial,
    model: PreTrainedModel,
    asked: ChosenAttention,
    watch: AbstractContextManager[object] = nullcontext(),  # noqa: B008 - it has no state
) -> None:
    """Train on two short rows of different length, inside of `watch`; no state changes."""
    known = getattr(model.get_input_embeddings(), "used", torch.arange(model.config.vocab_size))
    ids = known.to(model.device)[torch.arange(2 * 6, device=model.device) % len(known)].view(2, 6)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2], device=model.device)
    devices = [model.device] if model.device.type == "cuda" else []
    with _reasons(asked, trial, model), torch.random.fork_rng(devices=devices), watch:
        with autocast(model.device, trial.precision):
            logits = model(input_ids=ids, attention_mask=mask).logits
        torch.autograd.backward([logits.float().sum()])
    model.zero_grad(set_to_none=True)


def _check_backend(ran: set[str], backend: SdpaBackend, asked: ChosenAttention) -> None:
    """Raise if torch computed by another kernel; `math` consists of plain operations."""
    fused = {
        each for each in _BACKENDS if any(f"_scaled_dot_product_{each}_attention" in name for name in ran)
    }
    if fused != {backend} - {"math"}:
        found = " and ".join(sorted(fused)) or "math"
        raise TrialStoppedError("failed", f"attention: {asked} computed by torch's {found} kernel")


@contextmanager
def _reasons(asked: ChosenAttention, trial: Trial, model: PreTrainedModel) -> Iterator[None]:
    try:
        yield
    except (
        ImportError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        where = f"{model.config.model_type} in {trial.precision} on {model.device.type}"
        raise _unavailable(asked, f"it cannot train {where}, with the model's dropout: {reason}") from error


def _unavailable(asked: ChosenAttention, reason: str) -> TrialStoppedError:
    return TrialStoppedError(
        "unavailable", f"attention: {asked} is not available: {reason}", hint="use attention: sdpa or eager"
    )
