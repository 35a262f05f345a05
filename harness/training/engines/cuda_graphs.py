"""Passes captured once as CUDA graphs and replayed: one launch where there were a thousand.

At batch 8 a step of BERT on a GPU waits for launches, not for arithmetic. A graph needs batches of one shape
and tensors that stay where they are: the shapes of all batches are planned before the training, parameters
and gradients live in flat vectors, and the inputs of a shape are copied into tensors of its own. Clipping and
the optimizer are a few launches over two vectors and stay outside, and so does all that looks at the loss.

The rules are those of torch's notes on CUDA graphs ("Whole-network capture"). On one H100 a step of BERT-base
at batch 8 takes 5.1 ms instead of 31 (`reports/samples/cuda-h100`). One thing known to fail is the gradient
of an embedding over more than 3,072 tokens (pytorch #82886), in some versions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, Self

import torch

from harness.model.job import TrialStoppedError
from harness.training.batching import Batch
from harness.training.engines.engine import Training

Inputs = Mapping[str, torch.Tensor]
"""The model's inputs and labels by name."""

Pass = Callable[[Inputs, int], torch.Tensor]
"""A forward and a backward pass over inputs, their loss divided by a number of batches; returns the loss."""

_WARM_UPS = 3


class Recorder(Protocol):
    """What captures work that is given to a device."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Do the work a few times, as libraries want before they can be captured."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture the work and return what replays it, on the same tensors."""


class CudaRecorder:
    """Captures CUDA graphs, all on one side stream and in one pool of memory.

    torch's notes allow graphs to share a pool if they are replayed in the order of their capture, since one
    may overwrite what another left there. Nothing is left here: gradients and losses lie outside of the pool.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise TrialStoppedError(
                "unavailable", f"CUDA graphs need CUDA, not {device.type}", hint="set cuda_graphs: false"
            )
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch leaves it so
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], None]) -> None:
        """Do the work on the stream that will be captured, where autograd then expects it."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture the work, which does not happen by that, into a graph."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            work()
        return graph.replay


@dataclass(frozen=True, slots=True)
class Shape:
    """What a captured pass depends on: rows and padded tokens a row, and the batches of an optimizer step."""

    rows: int
    width: int
    batches: int

    @classmethod
    def of(cls, batch: Batch, batches: int) -> Self:
        """The shape of a planned batch that is padded."""
        return cls(len(batch.rows), batch.computed_tokens // len(batch.rows), batches)


def shapes_to_capture(steps: Iterable[Sequence[Batch]], at_least: int) -> dict[Shape, Batch]:
    """The shapes that come at least so often, with their first batch; the largest comes first.

    Later captures then fit into the memory that the first one has taken.
    """
    counts: Counter[Shape] = Counter()
    first: dict[Shape, Batch] = {}
    for batches in steps:
        for batch in batches:
            shape = Shape.of(batch, len(batches))
            counts[shape] += 1
            first.setdefault(shape, batch)
    often = [shape for shape, count in counts.items() if count >= at_least]
    often.sort(key=lambda shape: shape.rows * shape.width, reverse=True)
    return {shape: first[shape] for shape in often}


def graph_passes(
    training: Training, run: Pass, inputs: Callable[[Batch], Inputs], recorder: Recorder
) -> GraphedPasses:
    """Capture the passes of a training whose shape comes often; `inputs` are those of a batch on the host.

    Raises:
        TrialStoppedError: `failed`, for batches without a fixed shape or a pass that cannot be captured.
    """
    if training.trial.padding.strategy == "unpadded":
        raise TrialStoppedError(
            "failed", "unpadded batches have no shape to capture", hint="set cuda_graphs: false"
        )
    steps = [step for steps in training.optimizer_steps() for step in steps]
    examples = shapes_to_capture(steps, training.capture_from)
    passes = GraphedPasses(run, recorder, training.device)
    passes.capture({shape: partial(inputs, batch) for shape, batch in examples.items()})
    training.note(describe_captured(steps, examples))
    return passes


def describe_captured(steps: Iterable[Sequence[Batch]], captured: Mapping[Shape, Batch]) -> str:
    """A sentence about the share of the planned passes that are replayed."""
    counts = Counter(Shape.of(batch, len(batches)) for batches in steps for batch in batches)
    share = sum(counts[shape] for shape in captured) / counts.total()
    return (
        f"CUDA graphs: {len(captured)} of {len(counts)} shapes of batches were captured, "
        f"{share:.1%} of the passes; the others were launched kernel by kernel"
    )


class GraphedPasses:
    """Runs a pass by replaying it where its shape was captured, and as it is where not."""

    def __init__(self, run: Pass, recorder: Recorder, device: torch.device) -> None:
        self._run, self._recorder, self._device = run, recorder, device
        self._loss = torch.zeros((), device=device)
        self._captured: dict[Shape, tuple[Inputs, Callable[[], None]]] = {}

    def capture(self, examples: Mapping[Shape, Callable[[], Inputs]]) -> None:
        """Capture a pass of each shape, in this order, with inputs like those that will come.

        Gradients added by the passes remain. The state of the random number generator is restored.

        Raises:
            TrialStoppedError: `failed`, where a pass cannot be captured; there is no fallback.
        """
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            for shape, example in examples.items():
                self._captured[shape] = self._capture(shape, example())

    def _capture(self, shape: Shape, example: Inputs) -> tuple[Inputs, Callable[[], None]]:
        inputs = {name: tensor.to(self._device, copy=True) for name, tensor in example.items()}

        def work() -> None:
            # Where a graph leaves its results another may write: the loss is copied out within it.
            self._loss.copy_(self._run(inputs, shape.batches))

        try:
            self._recorder.warm_up(work)
            return inputs, self._recorder.record(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise TrialStoppedError(
                "failed",
                f"the pass over {shape.rows} rows of {shape.width} tokens cannot be captured: "
                f"{str(error).partition(chr(10))[0]}",
                hint="set cuda_graphs: false",
            ) from error

    def __call__(self, inputs: Inputs, batches: int) -> torch.Tensor:
        """Return the loss, a scalar that the next pass may overwrite; gradients are accumulated."""
        rows, width = inputs["input_ids"].shape
        shape = Shape(rows, width, batches)
        if shape not in self._captured:
            return self._run(inputs, batches)
        static, replay = self._captured[shape]
        for name, tensor in static.items():
            tensor.copy_(inputs[name], non_blocking=True)
        replay()
        return self._loss
