"""A compiled model trains and is proved as the plain one, and what cannot be compiled is told."""

from __future__ import annotations

import logging
import operator
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo import config as dynamo
from transformers import AutoConfig, AutoModel
from transformers.modeling_outputs import SequenceClassifierOutput

from harness.analysis.parity import verdict_of
from harness.analysis.training_verdicts import failed_checks, training_of
from harness.model.job import Job, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.values import Compile, Engine, LastLayer, PaddingStrategy, Precision
from harness.training.proofs.small_trainings import SIZES
from harness.training.proofs.watching import hook_first
from harness.training.run_trial import run_trial
from harness.training.variants import compiling
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy

Backend = Callable[..., Any]
STEPS = {"max_steps": 5, "per_device_eval_batch_size": 24}


@pytest.fixture(autouse=True)
def _traced_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let torch trace and guard as always, and run what it traced as it is: Inductor takes minutes."""
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    # pytest listens to loggers that do not propagate, and to a listener torch writes traces of all it traced.
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "propagate", True)
    # Torch formats the stack of every change of an object, even without a listener.
    with dynamo.patch(side_effect_replay_policy="silent"):
        yield


@pytest.fixture(scope="module")
def checkpoints(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A BERT and a DistilBERT of one layer: the time to trace a model grows with its layers."""
    shallow = {}
    for name in ("bert", "distilbert"):
        shallow[name] = tmp_path_factory.mktemp("shallow") / name
        shutil.copytree(checkpoints[name], shallow[name])
        torch.manual_seed(0)
        config = AutoConfig.from_pretrained(shallow[name], num_hidden_layers=1)
        AutoModel.from_config(config).save_pretrained(shallow[name])  # type: ignore[no-untyped-call] # transformers leaves it so
    return shallow


def compiled(**options: Any) -> Compile:
    return Compile(mode="default", **options)


def values(result: TrialResult) -> dict[str, float]:
    return {each.metric: each.values[0] for each in result.measurements if each.values}


def counts(result: TrialResult) -> tuple[float, ...]:
    found = values(result)
    return tuple(found[name] for name in ("compiled_shapes", "recompiles", "graph_breaks"))


def prove(job: Job) -> TrialResult:
    return run_trial(job.model_copy(update={"purpose": "prove"}), quietly)


@pytest.mark.parametrize(("engine", "precision"), [("trainer", "bf16"), ("loop", "fp32")])
def test_fixed_shapes_compile_once_and_before_the_first_step(
    engine: Engine, precision: Precision, make_job: MakeJob
) -> None:
    """Autocast is on in the same way in what is compiled ahead and in the steps."""
    job = make_job(padding="static", engine=engine, precision=precision, compile=compiled(), train=STEPS)
    result = run_trial(job, quietly)
    assert counts(result) == (1, 0, 0)
    assert values(result)["compile_seconds"] > 0
    assert any("torch.compile started" in note for note in result.notes)


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_changing_shapes_compile_again_and_again(engine: Engine, make_job: MakeJob) -> None:
    """At its limit, by default after the eighth shape and here after the first, torch would run eagerly."""
    job = make_job(engine=engine, compile=compiled(dynamic=False), train=STEPS | {"max_steps": 3})
    with dynamo.patch(recompile_limit=1):
        assert counts(run_trial(job, quietly)) == (3, 2, 0)


@pytest.mark.parametrize(("dynamic", "most"), [("auto", 2), (True, 0)])
def test_one_graph_for_all_lengths_is_not_compiled_again(
    dynamic: bool | str, most: int, make_job: MakeJob
) -> None:
    chosen = Compile.model_validate({"mode": "default", "dynamic": dynamic})
    job = make_job(compile=chosen, train=STEPS)
    assert counts(run_trial(job, quietly))[1] <= most


def test_training_with_dropout_takes_the_random_numbers_of_the_plain_one(make_job: MakeJob) -> None:
    """What is compiled ahead leaves the generator, gradients and weights as they were."""
    plain, traced = (
        run_trial(make_job(padding="static", train=STEPS, **chosen), quietly)
        for chosen in ({}, {"compile": compiled()})
    )
    assert traced.epochs[-1].train_loss == pytest.approx(plain.epochs[-1].train_loss, abs=1e-6)
    assert "compiled_shapes" not in values(plain)
    assert traced.observed is not None
    assert plain.observed is not None
    assert (traced.observed.dropped_share, traced.observed.optimizer_steps) == (None, 5)
    assert plain.observed.dropped_share is not None


@pytest.mark.parametrize(
    ("engine", "model", "last_layer"), [("trainer", "bert", "all"), ("loop", "distilbert", "cls")]
)
def test_a_compiled_model_computes_the_plain_function(
    engine: Engine, model: str, last_layer: LastLayer, make_job: MakeJob
) -> None:
    job = make_job(model, padding="static", engine=engine, last_layer=last_layer, compile=compiled())
    assert verdict_of(prove(job)) == "exact"


def test_a_compiled_last_layer_of_first_rows_has_no_break(make_job: MakeJob) -> None:
    job = make_job(padding="static", engine="loop", last_layer="cls", compile=compiled(), train=STEPS)
    assert counts(run_trial(job, quietly))[2] == 0


def altered(change: Callable[[torch.fx.Node], bool]) -> Backend:
    """A compiler that alters the first node of each graph that `change` takes."""

    def compile_graph(graph: torch.fx.GraphModule, _inputs: Any) -> Callable[..., Any]:
        next(filter(change, list(graph.graph.nodes)), None)
        graph.recompile()
        return graph.forward

    return compile_graph


def drop_a_term(node: torch.fx.Node) -> bool:
    """Leave out a residual: `dropout(x) + hidden` becomes `dropout(x)`."""
    if node.op != "call_function" or node.target is not operator.add:
        return False
    if not all(isinstance(each, torch.fx.Node) for each in node.args):
        return False
    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type] # checked above
    return True


def stop_a_gradient(node: torch.fx.Node) -> bool:
    """Detach the input of a linear layer, so that its forward pass stays right."""
    if node.op != "call_function" or node.target is not torch._C._nn.linear:
        return False
    with node.graph.inserting_before(node):
        detached = node.graph.call_method("detach", (node.args[0],))
    node.args = (detached, *node.args[1:])
    return True


def keep_all(node: torch.fx.Node) -> bool:
    """Turn a dropout off."""
    if node.op != "call_function" or node.target is not nn.functional.dropout or node.args[1] == 0.0:
        return False
    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type] # a node
    return True


@pytest.mark.parametrize(("change", "engine"), [(drop_a_term, "trainer"), (stop_a_gradient, "loop")])
def test_a_compiler_that_changes_the_function_is_caught(
    change: Callable[[torch.fx.Node], bool],
    engine: Engine,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", altered(change))
    assert verdict_of(prove(make_job(padding="static", engine=engine, compile=compiled()))) == "differs"


@pytest.fixture
def _of_one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a proof of training build a model of one layer, too: it compiles about twenty graphs."""
    monkeypatch.setitem(SIZES, "num_hidden_layers", 1)


def prove_training(job: Job, **train: int) -> dict[str, str]:
    trial = training_of(job.trial, "bert")
    trial = trial.model_copy(update={"train": trial.train.model_copy(update=train)})
    result = run_trial(job.model_copy(update={"trial": trial, "purpose": "prove_training"}), quietly)
    assert result.training is not None
    assert any("compiled graph" in text for text in result.training.unproved)
    return {check.name: check.found for check in failed_checks(result)}


@pytest.mark.usefixtures("_of_one_layer")
def test_a_compiled_training_follows_the_reference_with_every_mask_of_dropout(make_job: MakeJob) -> None:
    assert prove_training(make_job(padding="static", engine="trainer", compile=compiled())) == {}


@pytest.mark.usefixtures("_of_one_layer")
def test_a_compiler_that_turns_a_dropout_off_is_caught(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", altered(keep_all))
    # A batch of all rows has one shape, and a second one would be compiled with symbols for its sizes.
    whole = {"per_device_train_batch_size": 29, "per_device_eval_batch_size": 19}
    steps = {"gradient_accumulation_steps": 1, "num_train_epochs": 4}
    job = make_job(padding="static", engine="loop", compile=compiled())
    assert "dropout sites" in prove_training(job, **whole, **steps)


def stopped(job: Job) -> TrialStoppedError:
    with pytest.raises(TrialStoppedError) as caught:
        run_trial(job, quietly)
    assert caught.value.status == "unavailable"
    assert "compile: off" in (caught.value.hint or "")
    return caught.value


def test_without_a_cpp_compiler_it_is_unavailable(make_job: MakeJob) -> None:
    from torch._inductor import config as inductor  # noqa: PLC0415 - as the variant imports it

    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        assert "C++ compiler" in str(stopped(make_job(padding="static", compile=compiled())))


def test_a_variable_that_turns_compilation_off_is_told(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    assert "TORCHDYNAMO_DISABLE" in str(stopped(make_job(padding="static", compile=compiled())))


@pytest.mark.parametrize("strategy", ["static", "dynamic"])
def test_an_error_of_the_compiler_is_told(
    strategy: PaddingStrategy, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_graph: torch.fx.GraphModule, _inputs: Any) -> Callable[..., Any]:
        raise NotImplementedError("no kernel for this operator")

    monkeypatch.setattr(compiling, "BACKEND", fails)
    assert "no kernel for this operator" in str(stopped(make_job(padding=strategy, compile=compiled())))


def test_a_first_pass_that_ran_eagerly_is_told(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda forward, **_: forward)
    assert "compiled nothing" in str(stopped(make_job(padding="static", compile=compiled())))


def test_inductor_itself_computes_the_plain_function(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "inductor")
    assert verdict_of(prove(make_job(padding="static", compile=compiled()))) in ("exact", "within")


def test_results_of_replayed_graphs_are_copies_that_pass_gradients_back() -> None:
    place = torch.zeros(2)
    weight = torch.ones((), requires_grad=True)

    def replay(given: torch.Tensor) -> SequenceClassifierOutput:
        place.copy_(given)
        return SequenceClassifierOutput(loss=(weight * given).sum(), logits=place)

    copied = compiling.copying(replay)
    first, second = copied(torch.tensor([1.0, 2.0])), copied(torch.tensor([3.0, 4.0]))
    assert first.logits is not None
    assert second.logits is not None
    assert first.loss is not None
    assert (first.logits.tolist(), second.logits.tolist()) == ([1.0, 2.0], [3.0, 4.0])
    torch.autograd.backward([first.loss])
    assert weight.grad is not None
    assert weight.grad.item() == 3.0


def test_a_hook_in_front_is_the_first_key_by_which_a_compiler_finds_it() -> None:
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *_: None)
    calls: list[str] = []
    handles = [hook_first(layer, lambda *_, name=name: calls.append(name)) for name in ("last", "first")]
    layer(torch.ones(1, 2))
    assert calls == ["first", "last"]
    # Of an OrderedDict `dict.keys` gives the order of insertion.
    keys = list(dict.keys(layer._forward_hooks))
    assert keys[:2] == [handle.id for handle in reversed(handles)]
    for handle in handles:
        handle.remove()
    assert len(layer._forward_hooks) == 1
