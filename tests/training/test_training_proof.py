"""A proof of training passes both engines in every variant, and its parts see what they are there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoConfig, AutoModel

from harness.analysis.training_verdicts import failed_checks, training_of, training_verdict
from harness.model.job import Job
from harness.model.proof import TrainingProof
from harness.model.results import TrialResult
from harness.model.seeds import SeedRoles, number_of
from harness.model.values import Adapter, Engine, Padding
from harness.training import fitting, preparing
from harness.training.engines import loop as loop_engine
from harness.training.engines import trainer as trainer_engine
from harness.training.engines.cpu_attention import WeightedSum
from harness.training.engines.dropout import Dropout, RandomBits
from harness.training.engines.trainer import _Epochs
from harness.training.evaluation import predict
from harness.training.measuring.flops import EncoderShape
from harness.training.measuring.phases import PhaseClock
from harness.training.proofs.masks.drawn_masks import (
    Mask,
    correlated_masks,
    correlated_sites,
    scale_error,
    share_error,
)
from harness.training.proofs.precision import check_reduced, count_effective
from harness.training.proofs.reference import load_reference, train_reference
from harness.training.proofs.scores import scores_of
from harness.training.proofs.small_trainings import LONGEST, small_rows, write_small
from harness.training.proofs.watching import Pass, Seen, Update
from harness.training.run_trial import run_trial
from harness.training.variants.known_variants import VARIANTS
from tests.factories import make_result, make_trial
from tests.training.conftest import MakeJob

pytestmark = pytest.mark.heavy


def prove(job: Job, model: str = "bert") -> TrialResult:
    trial = training_of(job.trial, model)
    return run_trial(
        job.model_copy(update={"trial": trial, "purpose": "prove_training"}), lambda _progress: None
    )


def found(result: TrialResult) -> dict[str, str]:
    return {check.name: check.found for check in failed_checks(result)}


CASES: list[dict[str, Any]] = [
    {"engine": "trainer"},
    {
        "engine": "trainer",
        "padding": "bucketed",
        "train": {"lr_scheduler_type": "cosine", "dataloader_num_workers": 2},
    },
    {"engine": "trainer", "padding": "unpadded", "precision": "bf16", "last_layer": "cls"},
    {"engine": "trainer", "model": "distilbert", "attention": "eager", "train": {"optim": "adamw_torch"}},
    {"engine": "loop", "padding": Padding(strategy="static", length=128, multiple_of=8)},
    {"engine": "loop", "padding": "bucketed", "train": {"lr_scheduler_type": "constant_with_warmup"}},
    {"engine": "loop", "padding": "unpadded", "precision": "bf16"},
    {"engine": "loop", "padding": "unpadded", "last_layer": "cls", "train": {"optim": "adamw_torch"}},
    {"engine": "loop", "padding": "unpadded", "attention": "jagged", "model": "distilbert"},
    {"engine": "trainer", "seed": SeedRoles(init=3, order=4)},
    {"engine": "loop", "attention": "eager", "seed": SeedRoles(init=3, order=4)},
    {"engine": "loop", "model": "distilbert", "seed": SeedRoles(init=3, order=4)},
    {"engine": "trainer", "adapter": Adapter(kind="lora", r=4, alpha=16)},
    {"engine": "loop", "adapter": Adapter(kind="lora", r=4, dropout=0.1), "padding": "unpadded"},
    {"engine": "loop", "token_type_ids": "drop", "train": {"lr_scheduler_type": "constant"}},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.values())))
def test_each_engine_trains_as_the_reference(case: dict[str, Any], make_job: MakeJob) -> None:
    result = prove(make_job(**case), case.get("model", "bert"))
    assert found(result) == {}
    assert training_verdict(result) == "same"
    assert result.training is not None
    assert len(result.training.checks) >= 35
    assert any("two narrow layers" in text for text in result.training.unproved)
    assert TrialResult.model_validate_json(result.model_dump_json()) == result


FAMILIES = {
    "albert": {"embedding_size": 16},
    "electra": {"embedding_size": 16},
    "modernbert": {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    "mpnet": {},
    "roberta": {"pad_token_id": 1, "type_vocab_size": 1, "max_position_embeddings": 66},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_train_as_the_reference(family: str, make_job: MakeJob, tmp_path: Path) -> None:
    """Shared layers, factorised embeddings, positions from padding, biases that are no vector."""
    sizes = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
    config = AutoConfig.for_model(family, vocab_size=300, **sizes, **FAMILIES[family])
    AutoModel.from_config(config).save_pretrained(tmp_path / family)  # type: ignore[no-untyped-call] # transformers leaves it so
    job = make_job(engine="loop", attention="eager")
    checkpoint = job.checkpoint.model_copy(update={"path": str(tmp_path / family)})
    result = prove(job.model_copy(update={"checkpoint": checkpoint}), family)
    assert found(result) == {}
    assert result.checkpoint is not None
    assert result.checkpoint.model_type == family


def test_a_proof_of_training_reads_no_data(make_job: MakeJob) -> None:
    job = make_job(engine="loop")
    gone = job.model_copy(update={"data": job.data.model_copy(update={"files": {"train": "/gone"}})})
    assert training_verdict(prove(gone)) == "same"


def spoil_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loop_engine._optimizer

    def spoilt(*args: Any) -> torch.optim.AdamW:
        optimizer = made(*args)
        optimizer.param_groups[-1]["eps"] = 1e-8
        return optimizer

    monkeypatch.setattr(loop_engine, "_optimizer", spoilt)


def spoil_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    made = loop_engine._schedule
    monkeypatch.setattr(loop_engine, "_schedule", lambda one, other, steps: made(one, other, steps + 1))


def spoil_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dropout, "forward", lambda self, given: given * self.draw(given[:1], self.p))


def spoil_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    right = WeightedSum.backward

    def unmasked(ctx: Any, *gradients: torch.Tensor) -> Any:
        class Context:
            heads = ctx.heads
            saved_tensors = (*ctx.saved_tensors[:-1], None)

        return right(Context(), *gradients)

    monkeypatch.setattr(WeightedSum, "backward", staticmethod(unmasked))


def spoil_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_engine, "RandomBits", lambda _seed: RandomBits(0))


def spoil_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charge the time of an evaluation to the training around it."""

    def charge(clock: PhaseClock) -> None:
        now = clock._now()
        if clock._open:
            name = clock._open[0]
            clock.seconds[name] = clock.seconds.get(name, 0.0) + now - clock._since
        clock._since = now

    monkeypatch.setattr(PhaseClock, "_charge", charge)


@pytest.mark.parametrize(
    ("spoil", "seen"),
    [
        (spoil_phases, "counts"),
        (spoil_optimizer, "parameters"),
        (spoil_schedule, "training"),
        (spoil_mask, "dropout independence"),
        (spoil_backward, "dropout gradients"),
        (spoil_seed, "seeds of dropout"),
    ],
    ids=["phases", "epsilon", "schedule", "mask of rows", "backward", "seed"],
)
def test_a_loop_that_trains_otherwise_is_caught(
    spoil: Callable[[pytest.MonkeyPatch], None],
    seen: str,
    make_job: MakeJob,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch)
    result = prove(make_job(engine="loop"))
    assert training_verdict(result) == "differs"
    assert seen in found(result)


def test_what_shows_with_many_draws_seeds_or_after_an_interruption_is_caught(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pool(RandomBits):
        """A million elements that come again and again, at rates in steps of 1/256."""

        def __call__(self, like: torch.Tensor, p: float) -> torch.Tensor:
            if not hasattr(self, "pool"):
                self.pool, self.at = self._generator.random_raw(2**18).view(np.int16), 0
            drawn = np.take(self.pool, np.arange(self.at, self.at + like.numel()), mode="wrap")
            self.at = (self.at + like.numel()) % len(self.pool)
            dropped = int(p * 256)
            kept = torch.from_numpy(drawn).view(like.shape) >= (dropped - 128) * 256
            return kept.to(like.dtype) * (256 / (256 - dropped))

    def only_rates(optimizer: torch.optim.AdamW, state: dict[str, Any]) -> None:
        for group, kept in zip(optimizer.param_groups, state["param_groups"], strict=True):
            group["lr"] = kept["lr"]

    monkeypatch.setattr(loop_engine, "RandomBits", Pool)
    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", only_rates)
    monkeypatch.setattr(preparing, "number_of", lambda seed, role: number_of(seed, role) % 1000)
    problems = found(prove(make_job(engine="loop")))
    assert {"dropout repetition", "dropout scale", "training with an interruption"} <= problems.keys()
    assert "begins with other values than its seed gives" in problems["seeds of head and order"]


def test_an_optimizer_in_half_precision_is_caught_within_bf16(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = loop_engine._Loop._step_optimizer

    def rounded(self: Any) -> bool:
        stepped = step(self)
        for each in self._optimizer.state.values():
            each["exp_avg"].copy_(each["exp_avg"].bfloat16())
        return stepped

    monkeypatch.setattr(loop_engine._Loop, "_step_optimizer", rounded)
    problems = found(prove(make_job(engine="loop", precision="bf16")))
    assert "exp_avg of the optimizer's tensor 0 is rounded to bf16" in problems["precision"]
    assert "bf16 optimizer steps" in problems


def test_a_model_whose_flops_are_not_known_trains_as_the_reference(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EncoderShape, "of", lambda *_: None)
    assert found(prove(make_job(engine="loop"))) == {}


def test_weights_cast_once_an_epoch_are_caught_within_bf16(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_epoch = loop_engine._Loop.run_epoch

    def cached(self: Any, *args: Any) -> None:
        # The outermost autocast keeps the casts of all passes inside of it.
        with torch.autocast("cpu", torch.bfloat16):
            run_epoch(self, *args)

    monkeypatch.setattr(loop_engine._Loop, "run_epoch", cached)
    problems = found(prove(make_job(engine="loop", precision="bf16")))
    assert "linear layers compute with other weights than those of the step" in problems["precision"]


def test_dropout_modules_and_attention_with_one_seed_are_seen() -> None:
    bits = np.random.default_rng(3).random(4 * 10 * 32)
    hidden = Mask("hidden", 1, 0, ((bits >= 0.2) / 0.8).reshape(4, 10, 32))
    attention = Mask("attention", 1, 0, ((bits[: 4 * 2 * 10 * 10] >= 0.3) / 0.7).reshape(4, 2, 10, 10))
    assert list(correlated_sites([hidden, attention])) == ["hidden and attention in epoch 1, batch 0"]


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_dropout_that_ignores_its_seed_is_caught(
    engine: Engine, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (loop_engine, trainer_engine):
        monkeypatch.setattr(module, "number_of", lambda seed, _role: number_of(seed, "init"))
    problems = found(prove(make_job(engine=engine, seed=SeedRoles(init=0, order=1))))
    assert "the seed of init changes the masks of dropout" in problems["seed roles"]
    assert "the seed of dropout does not change the masks of dropout" in problems["seed roles"]


def test_a_trainer_that_repeats_its_first_epoch_is_caught(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Epochs, "set_epoch", lambda self, epoch: None)
    assert "batches" in found(prove(make_job(engine="trainer")))


def test_bf16_that_runs_in_fp32_is_caught(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext  # noqa: PLC0415 - the test's own stand-in

    monkeypatch.setattr(loop_engine, "autocast", lambda *_args, **_options: nullcontext())
    problems = found(prove(make_job(engine="loop", precision="bf16")))
    assert "linear layers give float32 in training, bf16 was asked for" in problems["precision"]
    assert "nothing ran in bf16" in problems["bf16 losses are not fp32"]


def test_eager_attention_that_the_loop_replaces_is_caught(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replaced(trial: Any, model: Any, tokens: Any) -> None:
        prepare(trial.model_copy(update={"attention": "sdpa"}), model, tokens)

    prepare = loop_engine.prepare
    variant = VARIANTS["engine=loop"]
    monkeypatch.setitem(VARIANTS, "engine=loop", replace(variant, prepare=replaced))
    problems = found(prove(make_job(engine="loop", attention="eager")))
    assert [*problems] == ["kernels"]
    assert "attention: eager calls torch's fused attention 0 and softmax 0 times in 2 layers" in str(problems)


@pytest.mark.parametrize("engine", ["trainer", "loop"])
def test_an_optimizer_that_steps_in_other_kernels_than_asked_for_is_caught(
    engine: Engine, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = torch.optim.AdamW.__init__

    def unfused(self: Any, *args: Any, **options: Any) -> None:
        begin(self, *args, **options | {"fused": False})

    monkeypatch.setattr(torch.optim.AdamW, "__init__", unfused)
    problems = found(prove(make_job(engine=engine)))
    assert problems["optimizer steps"] == "adamw_torch_fused steps in many kernels, due in one kernel"


def test_workers_of_the_data_loader_that_are_left_out_are_caught(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(*args: Any, **options: Any) -> Any:
        return DataLoader(*args, **options | {"num_workers": 0})

    monkeypatch.setattr(trainer_engine, "DataLoader", alone)
    problems = found(prove(make_job(engine="trainer", train={"dataloader_num_workers": 1})))
    assert [*problems] == ["counts", "counts, cut short"]
    assert problems["counts"] == "0 data loader workers load the batches, due 1"


@pytest.mark.parametrize("spoilt", [8, 1])
def test_an_evaluation_in_other_batches_is_caught(
    spoilt: int, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fitting, "predict", lambda model, rows, _size, kind: predict(model, rows, spoilt, kind)
    )
    problems = found(prove(make_job(engine="loop")))
    assert [*problems] == ["counts", "counts, cut short"]
    assert "evaluation pass 1 computes" in problems["counts"]


@pytest.fixture(scope="module")
def drawn() -> list[Mask]:
    """Masks of 12 passes, six in each of two epochs, of (rows, tokens, channels)."""
    random = np.random.default_rng(3)
    draw = (random.random((12, 4, 10, 32)) >= 0.2) / 0.8
    return [Mask("site", 1 + at // 6, at % 6, each) for at, each in enumerate(draw)]


def test_honest_masks_have_their_rate_and_scale_and_nothing_in_common(drawn: list[Mask]) -> None:
    error, limit = share_error(drawn, 0.2)
    assert error < limit
    assert scale_error(drawn, 0.2) < 1e-9
    assert list(correlated_masks(drawn, 0.2)) == []


def test_no_false_alarm_in_a_thousand_pairs_of_small_masks() -> None:
    random = np.random.default_rng(5)
    for _ in range(1_000):
        one, other = (Mask(name, 1, 0, (random.random((4, 32)) >= 0.1) / 0.9) for name in ("one", "other"))
        assert list(correlated_sites([one, other])) == []
        assert list(correlated_masks([one], 0.1)) == []


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mask_repeated_along_an_axis_is_seen(axis: int, drawn: list[Mask]) -> None:
    factors = drawn[0].factors
    repeated = np.broadcast_to(factors.take([0], axis=axis), factors.shape)
    assert any(f"along axis {axis}" in text for text in correlated_masks([Mask("site", 1, 0, repeated)], 0.2))


def test_a_mask_repeated_in_the_next_pass_epoch_or_layer_is_seen(drawn: list[Mask]) -> None:
    factors = drawn[0].factors
    again = [drawn[0], Mask("site", 1, 1, factors)]
    assert list(correlated_masks(again, 0.2)) == ["site: in batch 0 of epoch 1 and batch 1 of epoch 1"]
    epochs = [*drawn[:6], *(Mask("site", 2, each.batch, each.factors) for each in drawn[:6])]
    assert "site: in batch 4 of epoch 1 and batch 4 of epoch 2" in list(correlated_masks(epochs, 0.2))
    assert list(correlated_sites([drawn[0], Mask("other", 1, 0, factors)])) == [
        "site and other in epoch 1, batch 0"
    ]


def test_a_wrong_rate_or_scale_is_seen(drawn: list[Mask]) -> None:
    error, limit = share_error(drawn, 0.23)
    assert error > limit
    unscaled = [Mask("site", 1, 0, drawn[0].factors * 0.8)]
    assert scale_error(unscaled, 0.2) == pytest.approx(0.2)


def test_scores_are_those_of_their_definitions() -> None:
    logits = [[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]
    scores = scores_of(logits, [1, 0, 0, 0])
    assert scores["eval_accuracy"] == 0.75
    assert scores["eval_f1"] == pytest.approx(2 / 3)
    assert scores["eval_mcc"] == pytest.approx((1 * 2 - 1 * 0) / (2 * 1 * 3 * 2) ** 0.5)
    margins = [1.0, 1.0, -2.0, 3.0]
    assert scores["eval_loss"] == pytest.approx(np.mean([np.log1p(np.exp(-margin)) for margin in margins]))


def test_the_reference_steps_as_torchs_own_adamw(
    checkpoints: dict[str, Path], tmp_path: Path, make_job: MakeJob
) -> None:
    """Against a third writing: torch's optimizer on the reference's own gradients."""
    folder = write_small(checkpoints["bert"], tmp_path / "small", dropout=False)
    tokens = small_rows(AutoConfig.from_pretrained(folder), 29, 19)
    trial = training_of(make_job().trial, "bert")
    model, twin = load_reference(folder, 2, 0), load_reference(folder, 2, 0)
    first = next(train_reference(model, trial, tokens)).steps
    names = dict(twin.named_parameters())
    still = {name for name in names if name.endswith("bias") or "LayerNorm" in name}
    groups = [
        {"params": [each for name, each in names.items() if name not in still], "weight_decay": 0.5},
        {"params": [names[name] for name in sorted(still)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.8, 0.95), eps=1e-3)
    from harness.training.proofs.reference import backward  # noqa: PLC0415 - what both share: the gradient

    for step in first:
        for group in optimizer.param_groups:
            group["lr"] = step.learning_rate
        backward(twin, tokens.train, step.batches, pad_token_id=0, types=True)
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        optimizer.step()
        for name, each in twin.named_parameters():
            torch.testing.assert_close(each.detach(), step.parameters[name], rtol=0, atol=1e-6)
    assert [round(step.learning_rate, 6) for step in first] == [0.0, 0.001, 0.002]


def test_generated_rows_are_short_enough_for_masks_to_follow(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = write_small(checkpoints["distilbert"], tmp_path / "small", dropout=True)
    config = AutoConfig.from_pretrained(folder)
    tokens = small_rows(config, 29, 19)
    assert tokens.longest == LONGEST < config.hidden_size // config.num_attention_heads
    assert (config.attention_dropout, config.dropout, config.seq_classif_dropout) == (0.3, 0.2, 0.25)
    rows = [tuple(tokens.train.input_ids[slice(*tokens.train.offsets[at : at + 2])]) for at in range(29)]
    assert len(set(rows)) == 29
    assert TrainingProof(checks=()).unproved == ()


def test_a_step_that_a_gradient_scaler_leaves_out_widens_the_limits_of_fp16() -> None:
    def updates(*values: float) -> list[Update]:
        return [Update(0, 0, frozenset(), {"weight": torch.tensor(each)}, {}, {}, 0.0) for each in values]

    start = {"weight": torch.tensor(1.0)}
    # A warm-up's first step has a learning rate of zero.
    assert count_effective(start, updates(1.0, 2.0, 3.0)) == 2
    assert count_effective(start, updates(1.0, 1.0, 2.0)) == 1

    def run(loss: float) -> tuple[Seen, TrialResult]:
        one = Pass(
            rows=((1, 2),),
            trains=True,
            modes=frozenset({True}),
            dtypes=frozenset({torch.float16}),
            computed=2,
            product_error=0.0,
            labels=(0,),
            loss=torch.tensor(loss),
            logits=torch.zeros(1, 2),
            began=0.0,
            ended=0.0,
        )
        return Seen([one]), make_result(make_trial("static", 0))

    def failed(left_out: int) -> list[str]:
        checks = check_reduced("fp16", run(0.5), run(0.57), left_out=left_out)
        return [check.name for check in checks if not check.passed and "losses" in check.name]

    assert failed(0) == ["fp16 losses"]
    assert failed(1) == []
