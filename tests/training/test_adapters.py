"""Adapters train in every layer, with the head and nothing more; each way of not doing so is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import AutoConfig, AutoModelForSequenceClassification

from harness.analysis.parity import verdict_of
from harness.analysis.training_verdicts import failed_checks, training_of
from harness.errors import UnavailableError
from harness.model.job import Job, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.values import Adapter, Engine
from harness.training import preparing
from harness.training.checkpoints import LoadedModel
from harness.training.engines import used_rows
from harness.training.engines.known_engines import ENGINES, TrainingEngine
from harness.training.loading import load_corpus
from harness.training.preparing import prepare_model, prepare_tokens
from harness.training.run_trial import run_trial
from harness.training.variants import adapters
from harness.training.variants.adapters import add_adapter, find_targets
from tests.training.conftest import MakeJob, quietly
from tests.training.test_cuda_graphs import Repeating
from tests.training.test_loop_engine import losses
from tests.training.test_run_trial import without_dropout

pytestmark = pytest.mark.heavy

LORA = Adapter(kind="lora", r=4, alpha=16)


def prepared(job: Job) -> LoadedModel:
    corpus = load_corpus(job.trial.task, job.data)
    return prepare_model(job, corpus, prepare_tokens(job, corpus), torch.device("cpu"))


def prove(job: Job) -> TrialResult:
    return run_trial(job.model_copy(update={"purpose": "prove"}), quietly)


def found(job: Job, family: str = "bert") -> dict[str, str]:
    trial = training_of(job.trial, family)
    result = run_trial(job.model_copy(update={"trial": trial, "purpose": "prove_training"}), quietly)
    return {check.name: check.found for check in failed_checks(result)}


CASES: list[dict[str, Any]] = [
    {"engine": "trainer"},
    {"engine": "trainer", "model": "distilbert", "padding": "unpadded", "last_layer": "cls"},
    {"engine": "trainer", "model": "mpnet"},
    {"engine": "loop", "padding": "static", "last_layer": "cls"},
    {"engine": "loop", "padding": "unpadded", "attention": "jagged"},
    {"engine": "loop", "model": "distilbert", "padding": "unpadded", "attention": "eager"},
    {"engine": "loop", "adapter": Adapter(kind="lora", targets=("dense", "query"), dropout=0.2)},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.values())))
def test_a_new_adapter_computes_the_plain_function_with_its_gradients(
    case: dict[str, Any], make_job: MakeJob
) -> None:
    assert verdict_of(prove(make_job(**{"adapter": LORA, **case}))) == "exact"


def test_an_adapter_in_bf16_is_within_its_threshold(make_job: MakeJob) -> None:
    assert verdict_of(prove(make_job(adapter=LORA, engine="loop", precision="bf16"))) == "within"


@pytest.mark.parametrize(
    "case",
    [
        {"engine": "trainer", "model": "distilbert", "padding": "unpadded"},
        {"engine": "loop", "last_layer": "cls", "precision": "bf16"},
        {"engine": "loop", "padding": "unpadded", "attention": "jagged"},
        {"engine": "loop", "adapter": Adapter(kind="lora", targets=("value",), dropout=0.2)},
    ],
    ids=lambda case: " ".join(map(str, case.values())),
)
def test_adapters_train_as_those_of_the_reference(case: dict[str, Any], make_job: MakeJob) -> None:
    assert found(make_job(**{"adapter": LORA, **case}), case.get("model", "bert")) == {}


@pytest.mark.parametrize("model", ["bert", "distilbert"])
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_the_first_loss_is_the_plain_models_and_later_ones_are_not(
    engine: Engine, model: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_dropout(monkeypatch)
    plain, adapted = (
        losses(
            make_job(model, engine=engine, train={"max_steps": 4, "learning_rate": 1e-2}, **axes), monkeypatch
        )
        for axes in ({}, {"adapter": LORA})
    )
    assert adapted[0] == pytest.approx(plain[0], abs=1e-6)
    assert adapted[-1] != pytest.approx(plain[-1], abs=1e-4)


@pytest.mark.parametrize(("model", "head"), [("bert", 2), ("distilbert", 4)])
@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_adapters_of_every_layer_and_the_head_move_and_nothing_else(
    engine: Engine, model: str, head: int, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[tuple[LoadedModel, dict[str, torch.Tensor]]] = []

    def keep(loaded: LoadedModel, adapter: Adapter) -> LoadedModel:
        made = add_adapter(loaded, adapter)
        kept.append((made, {name: each.detach().clone() for name, each in made.model.named_parameters()}))
        return made

    monkeypatch.setattr(preparing, "add_adapter", keep)
    sizes: list[int] = []

    def look(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        states = [value for state in optimizer.state.values() for value in state.values()]
        sizes.append(sum(each.numel() for each in states if each.ndim))

    handle = register_optimizer_step_post_hook(look)
    result = run_trial(make_job(model, engine=engine, adapter=LORA), quietly)
    handle.remove()
    ((made, before),) = kept
    after = dict(made.model.named_parameters())
    embedding = next(name for name in before if "word_embeddings" in name)
    moved = {
        name for name, each in before.items() if name != embedding and not torch.equal(each, after[name])
    }
    assert len([name for name in moved if "lora_" in name]) == 2 * 2 * 2
    outside = [name for name in moved if "lora_" not in name]
    assert len(outside) == head
    assert all("classifier" in name for name in outside)
    assert all(f"layer.{layer}." in " ".join(moved) for layer in (0, 1))
    trainable = sum(before[name].numel() for name in moved)
    assert result.value("trainable_parameters") == trainable == made.trainable
    assert result.value("total_parameters") == sum(each.numel() for each in before.values())
    assert set(sizes) == {2 * trainable}
    assert result.observed is not None
    assert result.observed.unmoved == result.observed.moved_frozen == ()
    (note,) = [text for text in result.notes if text.startswith("adapter:")]
    assert "lora(r=4, alpha=16)" in note
    assert all(name in note for name in outside)
    flops = result.measurement("model_flops")
    assert flops is not None
    assert "adapter freezes" in (flops.reason or "")


def test_all_parameters_train_without_an_adapter(make_job: MakeJob) -> None:
    result = run_trial(make_job(train={"max_steps": 2}), quietly)
    assert result.value("trainable_parameters") == result.value("total_parameters")


def test_a_seed_draws_the_same_adapters_again(make_job: MakeJob) -> None:
    first, again, other = (
        dict(prepared(make_job(adapter=LORA, seed=seed)).model.named_parameters()) for seed in (0, 0, 1)
    )
    drawn = [name for name in first if "lora_A" in name]
    assert drawn
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_captured_passes_train_adapters(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    without_dropout(monkeypatch)
    plain = losses(make_job(engine="loop", padding="static", adapter=LORA), monkeypatch)
    loop = ENGINES["loop"]
    captured = TrainingEngine(loop.prepare, lambda training: loop.train(training, Repeating))  # type: ignore[call-arg] # the seam of tests
    monkeypatch.setitem(ENGINES, "loop", captured)
    replayed = losses(make_job(engine="loop", padding="static", adapter=LORA, cuda_graphs=True), monkeypatch)
    assert replayed[-len(plain) :] == pytest.approx(plain, abs=1e-6)


def half_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "find_targets", lambda *given: find_targets(*given)[:2])


def unfrozen(monkeypatch: pytest.MonkeyPatch) -> None:
    def thaw(loaded: LoadedModel, adapter: Adapter) -> LoadedModel:
        made = add_adapter(loaded, adapter)
        made.model.requires_grad_(True)
        return made

    monkeypatch.setattr(preparing, "add_adapter", thaw)


def unfrozen_embedding(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = used_rows.keep_used_rows

    def thaw(*given: Any) -> None:
        kept(*given)
        given[0].get_input_embeddings().weight.requires_grad_(True)

    monkeypatch.setattr("harness.training.engines.loop.keep_used_rows", thaw)


def frozen_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "_head", lambda _loaded: iter(()))


def changed(**options: Any) -> Callable[[pytest.MonkeyPatch], None]:
    def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            preparing,
            "add_adapter",
            lambda loaded, adapter: add_adapter(loaded, adapter.model_copy(update=options)),
        )

    return spoil


def noisy_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(loaded: LoadedModel, adapter: Adapter) -> LoadedModel:
        made = add_adapter(loaded, adapter)
        for name, each in made.model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(each, std=0.02)
        return made

    monkeypatch.setattr(preparing, "add_adapter", draw)


SPOILS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "half the layers": (half_the_layers, "adapters"),
    "base unfrozen": (unfrozen, "adapters"),
    "embedding unfrozen": (unfrozen_embedding, "adapters"),
    "head frozen": (frozen_head, "adapters"),
    "dropout ignored": (changed(dropout=0.0), "dropout sites"),
    "scale ignored": (changed(alpha=4.0), "losses"),
    "B not zero": (noisy_start, "adapters"),
}


@pytest.mark.parametrize("name", SPOILS)
def test_a_broken_adapter_fails_the_proof_of_training(
    name: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, seen = SPOILS[name]
    spoil(monkeypatch)
    problems = found(make_job(engine="loop", adapter=LORA.model_copy(update={"dropout": 0.2})))
    assert seen in problems


@pytest.mark.parametrize(
    "name", ["half the layers", "base unfrozen", "head frozen", "scale ignored", "B not zero"]
)
def test_a_broken_adapter_computes_another_function(
    name: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    SPOILS[name][0](monkeypatch)
    assert verdict_of(prove(make_job(engine="trainer", adapter=LORA))) == "differs"


def test_a_frozen_weight_that_changes_ends_the_trial(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[nn.Module] = []

    def keep(loaded: LoadedModel, adapter: Adapter) -> LoadedModel:
        models.append(loaded.model)
        return add_adapter(loaded, adapter)

    monkeypatch.setattr(preparing, "add_adapter", keep)

    def nudge(*_: Any) -> None:
        with torch.no_grad():
            models[0].get_parameter("bert.pooler.dense.bias").add_(1e-3)

    handle = register_optimizer_step_post_hook(nudge)
    with pytest.raises(TrialStoppedError, match=r"bert\.pooler\.dense\.bias changed, and is frozen"):
        run_trial(make_job(engine="loop", adapter=LORA, train={"max_steps": 3}), quietly)
    handle.remove()


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        (("queri",), "it has no linear layer queri"),
        (("query", "classifier"), "it has no linear layer classifier"),
        (("layer.1.attention.self.query",), "layer 0 would have no adapter"),
        (("pooler.dense",), "layer 0 would have no adapter"),
    ],
)
def test_targets_that_leave_a_layer_out_fail_with_the_candidates(
    targets: tuple[str, ...], why: str, make_job: MakeJob
) -> None:
    with pytest.raises(TrialStoppedError, match=why) as caught:
        run_trial(make_job(adapter=Adapter(kind="lora", targets=targets)), quietly)
    assert caught.value.status == "failed"
    assert "query, key, value, dense" in (caught.value.hint or "")


FAMILIES = {
    "albert": ("query", "value"),
    "electra": ("query", "value"),
    "roberta": ("query", "value"),
    "distilbert": ("q_lin", "v_lin"),
    "mpnet": ("q", "v"),
    "modernbert": None,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_has_its_queries_and_values_or_fails_with_the_candidates(family: str) -> None:
    config = AutoConfig.for_model(
        family, vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=4
    )
    if family == "modernbert":
        config.pad_token_id = 0
    model = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call] # transformers leaves it so
    expected = FAMILIES[family]
    if expected is None:
        with pytest.raises(TrialStoppedError, match="no projections of queries and values") as caught:
            find_targets(model, None)
        assert "Wqkv" in (caught.value.hint or "")
        assert len(find_targets(model, ["Wqkv"])) == config.num_hidden_layers
        return
    targets = find_targets(model, None)
    assert {name.rpartition(".")[2] for name in targets} == set(expected)


def test_without_peft_the_trial_is_unavailable(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(extra: str) -> None:
        raise UnavailableError(f"{extra} is not here", hint="Install it: pip install '.[peft]'")

    monkeypatch.setattr(adapters, "require_extra", missing)
    with pytest.raises(TrialStoppedError, match="peft is not here") as caught:
        run_trial(make_job(adapter=LORA), quietly)
    assert caught.value.status == "unavailable"
    assert "[peft]" in (caught.value.hint or "")
