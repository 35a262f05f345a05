"""What `torch.compile` does in a trial: its graphs, when they were compiled, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch._dynamo.callback import CallbackArgs, CallbackTrigger, callback_handler
from torch._dynamo.utils import counters

from harness.model.measurements import Measurement, measured


class CompileWatch:
    """A context that counts compilations inside of it, and times each of them in the context of `compiling`.

    Graphs count if they were compiled with gradients on: those of evaluation are no shapes of training.

    Args:
        compiling: times its body as compilation; it may nest.
        in_steps: whether a window of timed steps is open.
    """

    def __init__(
        self, compiling: Callable[[], AbstractContextManager[None]], in_steps: Callable[[], bool]
    ) -> None:
        self._compiling, self._in_steps = compiling, in_steps
        self._timing: AbstractContextManager[None] | None = None
        self._trains = self._timed = False
        self._before = self._shapes = self._recompiles = self._breaks = 0

    def __enter__(self) -> None:
        """Register with torch."""
        self._breaks = _graph_breaks()
        callback_handler.register_start_callback(self._start)
        callback_handler.register_end_callback(self._end)

    def __exit__(self, *_: object) -> None:
        """Stop counting."""
        callback_handler.remove_start_callback(self._start)
        callback_handler.remove_end_callback(self._end)
        self._breaks = _graph_breaks() - self._breaks

    def measurements(self) -> list[Measurement]:
        """Return the counts, after the context."""
        return [
            measured("compiled_shapes", self._shapes),
            measured("recompiles", self._recompiles),
            measured("graph_breaks", self._breaks),
        ]

    def _start(self, started: CallbackArgs) -> None:
        # A backward pass is compiled with gradients off, after the forward pass that it belongs to.
        self._trains = started.callback_trigger is CallbackTrigger.DYNAMO and torch.is_grad_enabled()
        self._timed, self._before = self._in_steps(), compiled_graphs()
        self._timing = self._compiling()
        self._timing.__enter__()

    def _end(self, _ended: CallbackArgs) -> None:
        if self._trains:
            graphs = compiled_graphs() - self._before
            self._shapes += graphs
            self._recompiles += graphs if self._timed else 0
        if self._timing is not None:
            self._timing.__exit__(None, None, None)
            self._timing = None


def compiled_graphs() -> int:
    """Return how many graphs this process has compiled, a forward and its backward pass counted once."""
    return counters["stats"]["unique_graphs"]


def _graph_breaks() -> int:
    return sum(counters["graph_break"].values())
