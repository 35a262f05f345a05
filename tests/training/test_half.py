"""Linear layers that compute from half copies: autocast's results and gradients, and trainings as proved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from harness.analysis.parity import verdict_of
from harness.analysis.training_verdicts import failed_checks, training_of
from harness.model.results import TrialResult
from harness.model.values import Adapter
from harness.training.engines import loop as loop_engine
from harness.training.engines.half import HalfCopies, HalfLinear, half_copies, use_half_layers
from harness.training.engines.loop import flatten
from harness.training.run_trial import run_trial
from tests.factories import make_trial
from tests.training.conftest import MakeJob, quietly
from tests.training.test_loop_engine import losses
from tests.training.test_run_trial import without_dropout

pytestmark = pytest.mark.heavy

HALF = make_trial(engine="loop", precision="bf16")


class Twice(nn.Module):
    """Calls its first layer twice, and its last one only where asked."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
        self.norm, self.last = nn.LayerNorm(6), nn.Linear(6, 6)

    def forward(self, given: torch.Tensor, *, last: bool = True) -> torch.Tensor:
        found: torch.Tensor = self.norm(self.second(self.first(self.first(given))))
        return self.last(found) if last else found


def passed_back(model: nn.Module, copies: HalfCopies | None, **options: Any) -> torch.Tensor:
    """The output of a pass under autocast, with the gradients of all parameters added to theirs."""
    torch.manual_seed(1)
    given = torch.randn(3, 5, 6)
    # With its cache, autocast would round the sum of the gradients of a layer that is called twice.
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False):
        found: torch.Tensor = model(given, **options)
    torch.autograd.backward([(found.float() ** 2).sum()])
    if copies is not None:
        copies.collect()
    return found.detach()


def models() -> tuple[Twice, Twice, HalfCopies]:
    """A plain model, its equal with half copies, and these; the gradients of both are zero."""
    torch.manual_seed(0)
    plain, halved = Twice(), Twice()
    halved.load_state_dict(plain.state_dict())
    use_half_layers(HALF, halved)
    for model in (plain, halved):
        flat = [flatten([each for each in model.parameters() if each.ndim == dims]) for dims in (1, 2)]
    copies = half_copies(halved, flat, "bf16")
    assert copies is not None
    return plain, halved, copies


class Three(nn.Module):
    """Three layers of one input, as in attention, of which the last may be left out or given another one."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, given: torch.Tensor, *, last: str = "called") -> torch.Tensor:
        found: torch.Tensor = self.query(given) * self.key(given)
        if last != "left out":
            found = found + self.value(given if last == "called" else 2 * given)
        return found


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The output features of the products of half copies, as they are computed."""
    seen: list[int] = []
    plain = functional.linear

    def linear(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(len(weight))
        result: torch.Tensor = plain(given, weight, bias)
        return result

    monkeypatch.setattr(functional, "linear", linear)
    return seen


@pytest.mark.parametrize("last", ["called", "left out", "of another input"])
def test_layers_of_one_input_are_one_product_after_the_first_pass(last: str, products: list[int]) -> None:
    torch.manual_seed(0)
    plain, halved = Three(), Three()
    halved.load_state_dict(plain.state_dict())
    use_half_layers(HALF, halved)
    for model in (plain, halved):
        flat = [flatten([each for each in model.parameters() if each.ndim == dims]) for dims in (1, 2)]
    copies = half_copies(halved, flat, "bf16")
    assert copies is not None
    for call in ("called", last, "called"):
        passes = [passed_back(halved, copies, last=call), passed_back(plain, None, last=call)]
        torch.testing.assert_close(*passes, rtol=1e-2, atol=1e-2)
        for name, expected in gradients(plain).items():
            torch.testing.assert_close(gradients(halved)[name], expected, rtol=1e-2, atol=5e-2)
    counted = [each for each in products if each == 12]
    assert len(counted) == 2


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def test_results_and_gradients_are_those_of_autocast_to_the_last_bit() -> None:
    plain, halved, copies = models()
    for _ in range(2):
        torch.testing.assert_close(passed_back(halved, copies), passed_back(plain, None), rtol=0, atol=0)
        assert gradients(halved).keys() == gradients(plain).keys() == dict(plain.named_parameters()).keys()
        for name, expected in gradients(plain).items():
            torch.testing.assert_close(gradients(halved)[name], expected, rtol=0, atol=0)


def test_a_layer_that_a_pass_leaves_out_adds_nothing() -> None:
    _, halved, copies = models()
    passed_back(halved, copies)
    before = gradients(halved)["last.weight"]
    assert before.abs().sum() > 0
    passed_back(halved, copies, last=False)
    torch.testing.assert_close(gradients(halved)["last.weight"], before, rtol=0, atol=0)


def test_copies_follow_the_parameters_when_refreshed_and_end_when_detached() -> None:
    _, halved, copies = models()
    before = passed_back(halved, copies)
    with torch.no_grad():
        halved.last.weight.mul_(2)
        halved.last.bias.zero_()
    torch.testing.assert_close(passed_back(halved, copies), before, rtol=0, atol=0)
    copies.refresh()
    assert not torch.equal(passed_back(halved, copies), before)
    copies.detach()
    assert isinstance(halved.last, HalfLinear)
    assert halved.last.copies is None


def test_layers_whose_parameters_others_use_or_that_do_not_train_stay_as_they_are() -> None:
    torch.manual_seed(0)
    model = Twice()
    model.second.weight = model.first.weight
    model.last.requires_grad_(requires_grad=False)
    use_half_layers(HALF, model)
    flat = [flatten(list(model.first.parameters()))]
    assert half_copies(model, flat, "bf16") is not None
    assert not [each for each in model.modules() if getattr(each, "copies", None) is not None]


def test_in_fp32_there_are_no_copies() -> None:
    model = Twice()
    use_half_layers(make_trial(engine="loop"), model)
    assert half_copies(model, [flatten(list(model.parameters()))], "bf16") is None


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loop engine use half copies on the CPU."""
    monkeypatch.setattr(loop_engine, "_HALF_ON", {"cpu"})


VARIANTS: list[dict[str, Any]] = [
    {"padding": "dynamic"},
    {"padding": "unpadded", "last_layer": "cls"},
    {"padding": "static", "adapter": Adapter(kind="lora", r=2)},
    {"padding": "dynamic", "train": {"gradient_accumulation_steps": 2}},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.usefixtures("on_cpu")
def test_a_training_from_copies_has_the_losses_of_autocast(
    variant: dict[str, Any], make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dropout(monkeypatch)
    job = make_job(engine="loop", precision="bf16", **variant)
    halved = losses(job, monkeypatch)
    monkeypatch.setattr(loop_engine, "_HALF_ON", set())
    # The gradients of one input's layers are added before they are rounded, not after.
    np.testing.assert_allclose(halved, losses(job, monkeypatch), rtol=5e-3)


@pytest.mark.parametrize("model", ["bert", "distilbert"])
@pytest.mark.usefixtures("on_cpu")
def test_half_copies_are_proved(model: str, make_job: MakeJob) -> None:
    job = make_job(model, engine="loop", precision="bf16")

    def proof(purpose: str, trial: Any) -> TrialResult:
        return run_trial(job.model_copy(update={"purpose": purpose, "trial": trial}), quietly)

    assert verdict_of(proof("prove", job.trial)) in ("exact", "within")
    assert failed_checks(proof("prove_training", training_of(job.trial, model))) == ()
