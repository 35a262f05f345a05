"""Captured passes are those of the plan, compute what they would have, and a capture leaves no trace.

The recorder of these tests does the work again where CUDA would replay it; the last tests need a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from harness.analysis.parity import verdict_of
from harness.model.job import Job, Progress, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.values import Padding, PaddingStrategy
from harness.training.batching import Batch
from harness.training.engines import loop as loop_engine
from harness.training.engines.cuda_graphs import (
    CudaRecorder,
    GraphedPasses,
    Inputs,
    Shape,
    describe_captured,
    shapes_to_capture,
)
from harness.training.engines.known_engines import ENGINES, TrainingEngine
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob, quietly
from tests.training.test_loop_engine import losses
from tests.training.test_run_trial import without_dropout

pytestmark = pytest.mark.heavy
CPU = torch.device("cpu")


class Repeating:
    """Warms up and records by doing the work, and replays by doing it again."""

    def __init__(self, _device: torch.device = CPU) -> None:
        self.recorded = self.replayed = 0

    def warm_up(self, work: Callable[[], None]) -> None:
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        work()
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay


def batch(rows: int, width: int) -> Batch:
    return Batch(np.arange(rows), rows * width - 1, rows * width)


def test_shapes_that_come_often_are_captured_the_largest_first() -> None:
    often, long, rare, last = batch(8, 10), batch(8, 30), batch(8, 20), batch(3, 30)
    steps = [[often], [rare], [often], [long], [last], [often], [long]]
    captured = shapes_to_capture(steps, at_least=2)
    assert list(captured.items()) == [(Shape(8, 30, 1), long), (Shape(8, 10, 1), often)]
    said = describe_captured(steps, captured)
    assert said.startswith("CUDA graphs: 2 of 4 shapes of batches were captured, 71.4% of the passes")


def test_a_last_step_of_fewer_batches_is_another_shape() -> None:
    steps = [[batch(8, 10)] * 3, [batch(8, 10)] * 3, [batch(8, 10)]]
    assert list(shapes_to_capture(steps, at_least=2)) == [Shape(8, 10, 3)]


class Summing:
    """A pass with a gradient and random numbers, which remembers the inputs it was run on."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[Inputs] = []

    def __call__(self, inputs: Inputs, batches: int) -> torch.Tensor:
        self.seen.append(inputs)
        torch.rand(3)
        loss = inputs["input_ids"].sum() * self.weight
        torch.autograd.backward([loss / batches])
        return loss.detach()


def inputs_of(*rows: list[int]) -> Inputs:
    return {"input_ids": torch.tensor(rows), "labels": torch.zeros(len(rows))}


def graphed(run: Summing, recorder: Repeating) -> GraphedPasses:
    passes = GraphedPasses(run, recorder, CPU)
    passes.capture({Shape(1, 2, 1): lambda: inputs_of([1, 1])})
    return passes


def test_a_replay_works_on_the_captured_tensors_with_the_new_inputs() -> None:
    run, recorder = Summing(), Repeating()
    passes = graphed(run, recorder)
    run.weight.grad = torch.zeros(())
    assert passes(inputs_of([2, 3]), 1).item() == 5
    assert passes(inputs_of([4, 4]), 1).item() == 8
    assert run.weight.grad.item() == 5 + 8
    assert (recorder.recorded, recorder.replayed) == (1, 2)
    assert all(seen is run.seen[0] for seen in run.seen)


def test_the_loss_of_a_replay_is_always_in_the_same_place() -> None:
    passes = graphed(Summing(), Repeating())
    first = passes(inputs_of([2, 3]), 1)
    assert passes(inputs_of([4, 4]), 1).data_ptr() == first.data_ptr()


@pytest.mark.parametrize(("inputs", "batches"), [(inputs_of([2, 3, 4]), 1), (inputs_of([2, 3]), 2)])
def test_another_shape_is_run_as_it_is(inputs: Inputs, batches: int) -> None:
    run, recorder = Summing(), Repeating()
    passes = graphed(run, recorder)
    assert passes(inputs, batches).item() == inputs["input_ids"].sum().item()
    assert run.seen[-1] is inputs
    assert recorder.replayed == 0


def test_a_capture_takes_no_random_number_and_leaves_the_example_alone() -> None:
    example = inputs_of([1, 1])
    torch.manual_seed(0)
    expected = torch.rand(1).item()
    torch.manual_seed(0)
    passes = GraphedPasses(Summing(), Repeating(), CPU)
    passes.capture({Shape(1, 2, 1): lambda: example})
    assert torch.rand(1).item() == expected
    passes(inputs_of([7, 7]), 1)
    assert example["input_ids"].tolist() == [[1, 1]]


class Failing(Repeating):
    """Cannot record."""

    error: RuntimeError = RuntimeError("operation not permitted when stream is capturing\nand more")

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        raise self.error


class Exhausted(Failing):
    """Has no memory to record."""

    error = torch.OutOfMemoryError("CUDA out of memory")


def test_a_pass_that_cannot_be_captured_fails_with_its_shape_and_what_to_do() -> None:
    with pytest.raises(TrialStoppedError) as caught:
        graphed(Summing(), Failing())
    assert caught.value.status == "failed"
    over, _, why = caught.value.message.partition(" cannot be captured: ")
    assert over == "the pass over 1 rows of 2 tokens"
    assert why == "operation not permitted when stream is capturing"
    assert caught.value.hint == "set cuda_graphs: false"


def test_a_capture_out_of_memory_stays_that() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        graphed(Summing(), Exhausted())


def test_without_cuda_nothing_is_captured_and_the_trial_says_so(make_job: MakeJob) -> None:
    with pytest.raises(TrialStoppedError) as caught:
        run_trial(make_job(engine="loop", cuda_graphs=True), quietly)
    assert (caught.value.status, caught.value.hint) == ("unavailable", "set cuda_graphs: false")


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[Repeating]:
    """Those that the loop engine made; its passes are captured by repeating them."""
    made: list[Repeating] = []

    def make(device: torch.device) -> Repeating:
        made.append(Repeating(device))
        return made[-1]

    engine = TrainingEngine(loop_engine.prepare, partial(loop_engine.train, recorder=make))
    monkeypatch.setitem(ENGINES, "loop", engine)
    return made


# Of `bucketed`, few shapes come often before the twelfth epoch.
@pytest.mark.parametrize(("strategy", "epochs"), [("static", 2), ("bucketed", 12)])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_captured_passes_give_the_losses_of_passes_run_as_they_are(
    strategy: PaddingStrategy,
    epochs: int,
    accumulation: int,
    make_job: MakeJob,
    recorders: list[Repeating],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_dropout(monkeypatch)
    train = {"num_train_epochs": epochs, "gradient_accumulation_steps": accumulation}
    as_they_are, captured = (
        losses(
            make_job(padding=strategy, engine="loop", cuda_graphs=graphs, train=train, last_layer="cls"),
            monkeypatch,
        )
        for graphs in (False, True)
    )
    (recorder,) = recorders
    assert recorder.recorded
    assert recorder.replayed > len(captured) / 4
    assert captured == as_they_are


def test_a_capture_is_a_phase_of_its_own_and_what_was_captured_is_noted(
    make_job: MakeJob, recorders: list[Repeating]
) -> None:
    phases: list[str] = []

    def announce(progress: Progress) -> None:
        phases.append(progress.phase)

    def of(result: TrialResult) -> dict[str, tuple[float, ...]]:
        return {each.metric: tuple(each.values) for each in result.measurements}

    result = run_trial(make_job(padding="static", engine="loop", cuda_graphs=True), announce)
    assert phases.index("train") < phases.index("compile") < phases.index("evaluate")
    assert of(result)["compile_seconds"][0] > 0
    assert result.notes[-1].startswith("CUDA graphs: 1 of 1 shapes of batches were captured, 100.0%")
    without = run_trial(make_job(padding="static", engine="loop"), quietly)
    assert of(without)["compile_seconds"] == ()
    assert not any("graphs" in note for note in without.notes)


@pytest.mark.parametrize("strategy", ["static", "dynamic"])
def test_what_is_captured_is_proved(
    strategy: PaddingStrategy, make_job: MakeJob, recorders: list[Repeating]
) -> None:
    job = make_job(padding=strategy, engine="loop", cuda_graphs=True)
    proof = run_trial(job.model_copy(update={"purpose": "prove"}), quietly)
    assert verdict_of(proof) == "exact"
    assert sum(recorder.replayed for recorder in recorders) == 3


def test_batches_without_a_fixed_shape_are_refused(make_job: MakeJob, recorders: list[Repeating]) -> None:
    with pytest.raises(TrialStoppedError, match="no shape"):
        run_trial(make_job(padding="unpadded", engine="loop", cuda_graphs=True), quietly)


def test_a_capture_that_fails_ends_the_trial(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TrainingEngine(loop_engine.prepare, partial(loop_engine.train, recorder=Failing))
    monkeypatch.setitem(ENGINES, "loop", engine)
    with pytest.raises(TrialStoppedError, match="cannot be captured"):
        run_trial(make_job(padding="static", engine="loop", cuda_graphs=True), quietly)


def on_cuda(job: Job) -> Job:
    return job.model_copy(update={"trial": job.trial.model_copy(update={"device": "cuda:0"})})


@pytest.mark.cuda
@pytest.mark.parametrize("strategy", ["static", "dynamic", "bucketed"])
@pytest.mark.parametrize("last_layer", ["all", "cls"])
def test_graphs_on_cuda_give_the_losses_of_launched_kernels(
    strategy: PaddingStrategy, last_layer: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dropout(monkeypatch)
    launched, replayed = (
        losses(
            on_cuda(
                make_job(
                    # Few shapes, or none would come often in 20 steps.
                    padding=Padding(strategy=strategy, multiple_of=32),
                    engine="loop",
                    last_layer=last_layer,
                    cuda_graphs=graphs,
                    train={"max_steps": 20},
                )
            ),
            monkeypatch,
        )
        for graphs in (False, True)
    )
    assert len(replayed) == 20
    np.testing.assert_allclose(replayed, launched, rtol=0, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_graphs_on_cuda_are_proved_at_every_precision(precision: str, make_job: MakeJob) -> None:
    job = on_cuda(make_job(padding="static", engine="loop", cuda_graphs=True, precision=precision))
    proof = run_trial(job.model_copy(update={"purpose": "prove"}), quietly)
    assert verdict_of(proof) in ("exact", "within")


@pytest.mark.cuda
def test_replays_on_cuda_drop_something_else_every_time() -> None:
    drop, ones = nn.Dropout(0.5), torch.ones(4, 64, device="cuda")
    dropped = torch.zeros(4, 64, device="cuda")

    def run(inputs: Inputs, _batches: int) -> torch.Tensor:
        dropped.copy_(drop(ones * inputs["input_ids"]))
        return dropped.mean()

    device = torch.device("cuda", 0)
    passes = GraphedPasses(run, CudaRecorder(device), device)
    inputs = {"input_ids": torch.ones(4, 64)}
    passes.capture({Shape(4, 64, 1): lambda: inputs})
    seen = []
    for _ in range(3):
        passes(inputs, 1)
        seen.append(dropped.clone())
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
