"""`torch.compile` on the model in place: the same way for both engines, for evaluation and for the proofs.

The compiled function replaces `model.forward`. The model stays the same object with the same parameters, so
that nothing has to be unwrapped, and hooks on the model itself run around the compiled function. `Trainer`'s
own setting has no `dynamic`: transformers 5.23 passes None.

Nothing falls back to eager torch unseen. Breaks of the graph are counted, torch's limit on compilations is
lifted, and an error of the compiler ends the trial.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch._dynamo import config
from torch._dynamo.exc import TorchDynamoException
from torch.utils._triton import has_triton
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from harness.model.job import TrialStoppedError
from harness.model.trial import Trial
from harness.training.devices import autocast
from harness.training.engines.engine import Training
from harness.training.measuring.compilations import compiled_graphs

Output = TypeVar("Output", bound=ModelOutput)
"""Results of a model, by name."""

Backend = Callable[[torch.fx.GraphModule, list[torch.Tensor]], Callable[..., Any]]
BACKEND: str | Backend = "inductor"
"""The compiler by torch's name, or a function of torch's interface for one."""

# Where torch would run eager code from the ninth shape of a batch on.
_LIMIT: Final = 1_000_000
_HINT: Final = "set compile: off"


def is_compiled(trial: Trial) -> bool:
    """Return whether the trial compiles its model."""
    return trial.compile.mode != "off"


def compile_model(trial: Trial, model: PreTrainedModel) -> None:
    """Replace `model.forward` by the function that compiles itself when it is first called.

    Inductor's caches go to the temporary folder, of which each worker has its own: a trial compiles cold.

    Raises:
        TrialStoppedError: `unavailable`, where this machine cannot compile.
    """
    _refuse_without_compiler(model.device)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(_cache())
    os.environ.pop("TRITON_CACHE_DIR", None)
    torch.compiler.reset()
    config.suppress_errors = False
    config.recompile_limit = config.accumulated_recompile_limit = _LIMIT
    config.fail_on_recompile_limit_hit = True
    # transformers sets it in the first pass with labels, which would invalidate the first compiled graph.
    if model.config.problem_type is None:
        one = model.config.num_labels == 1
        model.config.problem_type = "regression" if one else "single_label_classification"
    dynamic = None if trial.compile.dynamic == "auto" else trial.compile.dynamic
    compiled = torch.compile(model.forward, backend=BACKEND, mode=trial.compile.mode, dynamic=dynamic)
    model.forward = copying(compiled) if trial.compile.mode == "reduce-overhead" else compiled


def copying(compiled: Callable[..., Output]) -> Callable[..., Output]:
    """Return a function that gives copies of the results.

    `reduce-overhead` replays CUDA graphs, whose results lie where the next replay writes its own.
    """

    @wraps(compiled)
    def forward(*args: Any, **options: Any) -> Output:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call] # torch leaves it so
        found = compiled(*args, **options)
        return type(found)(**{name: tensor.clone() for name, tensor in found.items()})

    return forward


def _cache() -> Path:
    return Path(tempfile.gettempdir()) / "inductor"


def _refuse_without_compiler(device: torch.device) -> None:
    if config.disable or os.environ.get("TORCHDYNAMO_DISABLE", "0") == "1":
        raise TrialStoppedError(
            "unavailable",
            "torch.compile is turned off by TORCH_COMPILE_DISABLE or TORCHDYNAMO_DISABLE",
            hint=f"unset the variable, or {_HINT}",
        )
    if device.type == "cuda" and not has_triton():
        raise TrialStoppedError(
            "unavailable",
            f"Inductor needs Triton and a GPU that it supports, and {torch.cuda.get_device_name(device)} "
            "has none here",
            hint=f"install triton, or {_HINT}",
        )
    if device.type == "cpu":
        _find_cpp_compiler()


def _find_cpp_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler  # noqa: PLC0415 - takes a second
    from torch._inductor.exc import InvalidCxxCompiler  # noqa: PLC0415 - as above

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise TrialStoppedError(
            "unavailable",
            f"Inductor needs a C++ compiler: {str(error).splitlines()[0]}",
            hint=f"install g++ or clang, name it by CXX, or {_HINT}",
        ) from error


def compile_ahead(training: Training) -> None:
    """Compile the passes over the first planned batch before the first step, timed as compilation.

    Other shapes compile when training meets them, inside its timed steps. The state of the random number
    generator is restored, and gradients are zero afterwards.

    Raises:
        TrialStoppedError: `unavailable` with the compiler's reason, where it cannot compile the model.
    """
    if not is_compiled(training.trial):
        return
    device, before = training.device, compiled_graphs()
    cold = not _cache().exists() or not any(_cache().iterdir())
    devices = [device] if device.type == "cuda" else []
    batch = training.collator(training.epochs[0][0].rows.tolist())
    there = {name: tensor.to(device) for name, tensor in batch.items()}
    with training.compiling(), torch.random.fork_rng(devices=devices):
        try:
            with autocast(device, training.trial.precision):
                loss = training.loss_of(training.model.forward, there)
            torch.autograd.backward([loss])
        except TorchDynamoException as error:
            raise TrialStoppedError(
                "unavailable",
                f"torch.compile cannot compile {training.model.config.model_type}: {_reason(error)}",
                hint=_HINT,
            ) from error
    for parameter in training.model.parameters():
        if parameter.grad is not None:
            parameter.grad.zero_()
    if compiled_graphs() == before:
        raise TrialStoppedError(
            "unavailable",
            "torch.compile compiled nothing: the first pass ran eagerly",
            hint=f"look for variables of torch in the environment that turn it off, or {_HINT}",
        )
    training.note(f"torch.compile started with {'empty' if cold else 'filled'} caches")


def _reason(error: Exception) -> str:
    """Return the first two lines of a message: the kind of error, and its explanation."""
    return " ".join([line.strip() for line in str(error).splitlines() if line.strip()][:2])
