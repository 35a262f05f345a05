"""A model whose weights are not those of its checkpoint is refused, by the names of the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AlbertForPreTraining,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
)

from harness.model.job import TrialStoppedError
from harness.training.checkpoints import LoadedModel, load_model
from harness.training.run_trial import run_trial
from tests.training.conftest import MakeJob

pytestmark = pytest.mark.heavy

Weights = dict[str, torch.Tensor]
SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 27,
    "max_position_embeddings": 64,
}
DISTILBERT: dict[str, Any] = {
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 64,
    "vocab_size": 27,
    "max_position_embeddings": 64,
}
LAST = "encoder.layer.1."


def load(folder: Path, *allow: str) -> LoadedModel:
    return load_model(
        folder,
        labels=("no", "yes"),
        attention="sdpa",
        token_type_ids="auto",
        allows=lambda name: any(name.startswith(start) for start in allow),
    )


def refusal(folder: Path, *allow: str) -> TrialStoppedError:
    with pytest.raises(TrialStoppedError) as caught:
        load(folder, *allow)
    assert caught.value.status == "failed"
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value


@pytest.fixture
def bert(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the small BERT, saved from the base model, that a test may damage."""
    return shutil.copytree(checkpoints["bert"], tmp_path / "copy")


@pytest.fixture
def distilbert(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(checkpoints["distilbert"], tmp_path / "copy")


def rewrite(folder: Path, change: Callable[[Weights], Weights]) -> None:
    """Change the stored weights."""
    weights = change(load_file(folder / "model.safetensors"))
    kept = {name: weight.clone() for name, weight in weights.items()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def without_last_layer(weights: Weights) -> Weights:
    return {name: weight for name, weight in weights.items() if not name.startswith(LAST)}


@pytest.mark.parametrize(
    "model",
    [
        BertForMaskedLM(BertConfig(**SHAPE)),
        BertForPreTraining(BertConfig(**SHAPE)),
        BertForSequenceClassification(BertConfig(**SHAPE)),
        DistilBertForMaskedLM(DistilBertConfig(**DISTILBERT)),
        ElectraForPreTraining(ElectraConfig(embedding_size=16, **SHAPE)),
        ElectraForMaskedLM(ElectraConfig(embedding_size=16, **SHAPE)),
        RobertaForMaskedLM(RobertaConfig(type_vocab_size=1, **SHAPE)),
        RobertaModel(RobertaConfig(type_vocab_size=1, **SHAPE)),
        AlbertForPreTraining(AlbertConfig(embedding_size=16, **SHAPE)),
        ModernBertForMaskedLM(ModernBertConfig(**SHAPE | {"vocab_size": 64}, pad_token_id=0)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_pretrained_checkpoint_loads_whatever_head_it_was_saved_with(
    model: PreTrainedModel, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    assert load(tmp_path).allowed == ()


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_buffers_of_older_libraries_are_no_weights(prefix: str, bert: Path) -> None:
    positions = {f"{prefix}embeddings.position_ids": torch.arange(64)[None]}
    rewrite(bert, lambda weights: {f"{prefix}{name}": one for name, one in weights.items()} | positions)
    assert load(bert).allowed == ()


def test_a_layer_that_is_missing_is_named_and_counted(bert: Path) -> None:
    rewrite(bert, without_last_layer)
    assert refusal(bert).message == (
        "the weights do not fit config.json: the checkpoint lacks 16 weights "
        "(bert.encoder.layer.1.attention.output.LayerNorm.bias, "
        "bert.encoder.layer.1.attention.output.LayerNorm.weight, "
        "bert.encoder.layer.1.attention.output.dense.bias, ...), which would be random"
    )


def test_a_single_missing_weight_is_enough(distilbert: Path) -> None:
    lost = "transformer.layer.0.ffn.lin1.bias"
    rewrite(distilbert, lambda weights: {name: one for name, one in weights.items() if name != lost})
    assert "lacks 1 weight (distilbert.transformer.layer.0.ffn.lin1.bias)" in refusal(distilbert).message


def test_a_layer_of_another_name_is_both_missing_and_unused(bert: Path) -> None:
    rewrite(
        bert, lambda weights: {name.replace(LAST, "encoder.block.1."): one for name, one in weights.items()}
    )
    said = refusal(bert).message
    assert "lacks 16 weights (bert.encoder.layer.1." in said
    assert "no place for the checkpoint's 16 weights (encoder.block.1." in said


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_layers_that_the_config_does_not_count_are_refused(prefix: str, bert: Path) -> None:
    rewrite(bert, lambda weights: {f"{prefix}{name}": one for name, one in weights.items()})
    configure(bert, num_hidden_layers=1)
    said = refusal(bert).message
    assert f"no place for the checkpoint's 16 weights ({prefix}encoder.layer.1." in said


def test_layers_that_the_config_counts_and_the_file_lacks_are_refused(
    bert: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    configure(bert, num_hidden_layers=3)
    assert "lacks 16 weights (bert.encoder.layer.2." in refusal(bert).message
    other = shutil.copytree(checkpoints["distilbert"], tmp_path / "other")
    configure(other, n_layers=3)
    assert "lacks 16 weights (distilbert.transformer.layer.2." in refusal(other).message


def test_weights_that_the_suite_allows_are_random_and_recorded(bert: Path) -> None:
    rewrite(bert, without_last_layer)
    loaded = load(bert, "bert.encoder.layer.1.")
    assert len(loaded.allowed) == 16
    assert all(name.startswith("bert.encoder.layer.1.") for name in loaded.allowed)
    assert "lacks 16 weights" in refusal(bert, "bert.encoder.layer.2.").message


def test_a_trial_takes_the_allowed_weights_from_its_suite_in_training_and_in_its_proof(
    make_job: MakeJob, bert: Path
) -> None:
    rewrite(bert, without_last_layer)
    job = make_job(train={"max_steps": 2})
    job = job.model_copy(update={"checkpoint": job.checkpoint.model_copy(update={"path": str(bert)})})
    with pytest.raises(TrialStoppedError, match="allow_weights"):
        run_trial(job, lambda _progress: None)
    job = job.model_copy(update={"allow_weights": ("bert.encoder.layer.1.*",)})
    for purpose in ("train", "prove"):
        result = run_trial(job.model_copy(update={"purpose": purpose}), lambda _progress: None)
        assert result.checkpoint is not None
        assert len(result.checkpoint.allowed_weights) == 16
        assert set(result.checkpoint.allowed_weights) < set(result.checkpoint.newly_initialized)


def test_another_shape_is_told_in_one_sentence(bert: Path) -> None:
    configure(bert, intermediate_size=48)
    assert refusal(bert).message == (
        "bert.encoder.layer.0.intermediate.dense.bias has shape [64] in the checkpoint and [48] "
        "in the model (6 weights differ in shape)"
    )


def test_the_head_of_another_number_of_labels_is_refused_with_a_way_out(tmp_path: Path) -> None:
    BertForSequenceClassification(BertConfig(**SHAPE | {"num_labels": 3})).save_pretrained(tmp_path)
    error = refusal(tmp_path)
    assert error.message.startswith("classifier.bias has shape [3] in the checkpoint and [2] in the model")
    assert "without it" in (error.hint or "")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_is_refused(value: float, bert: Path) -> None:
    def spoil(weights: Weights) -> Weights:
        weights["encoder.layer.1.output.dense.weight"][3, 5] = value
        return weights

    rewrite(bert, spoil)
    assert refusal(bert).message == (
        "the checkpoint has NaN or infinity in 1 weight (bert.encoder.layer.1.output.dense.weight)"
    )


def test_large_finite_weights_whose_sum_overflows_are_accepted(bert: Path) -> None:
    def enlarge(weights: Weights) -> Weights:
        return weights | {f"{LAST}output.dense.bias": torch.full((32,), 3e38)}

    rewrite(bert, enlarge)
    assert load(bert).allowed == ()


def test_half_precision_weights_are_accepted_and_integers_refused(bert: Path) -> None:
    name = f"{LAST}output.dense.weight"
    rewrite(bert, lambda weights: {key: one.to(torch.bfloat16) for key, one in weights.items()})
    assert load(bert).model.dtype == torch.float32
    rewrite(bert, lambda weights: weights | {name: torch.ones(32, 64, dtype=torch.int8)})
    assert "stores 1 weight (encoder.layer.1.output.dense.weight I8) in a type" in refusal(bert).message


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("encoder.layer.0.output.dense.weight", "bert.encoder.layer.0.output.dense.weight"),
        ("encoder.layer.0.output.LayerNorm.bias", "encoder.layer.0.output.LayerNorm.beta"),
    ],
)
def test_a_weight_under_two_names_is_refused(name: str, second: str, bert: Path) -> None:
    rewrite(bert, lambda weights: weights | {second: torch.zeros_like(weights[name])})
    said = refusal(bert).message
    assert said.startswith("the checkpoint stores a weight twice: 2 weights (")
    assert name in said
    assert second in said


def test_names_of_the_first_checkpoints_are_taken(bert: Path) -> None:
    def older(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    rewrite(bert, lambda weights: {f"bert.{older(name)}": one for name, one in weights.items()})
    assert load(bert).newly_initialized == ("classifier.bias", "classifier.weight")


def test_only_the_shards_that_the_index_names_are_looked_at(bert: Path) -> None:
    weights = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    shards = {"a.safetensors": {}, "b.safetensors": {}, "unused.safetensors": weights}
    for at, (name, weight) in enumerate(weights.items()):
        shards[("a.safetensors", "b.safetensors")[at % 2]][name] = weight
    for shard, content in shards.items():
        save_file(content, bert / shard, metadata={"format": "pt"})
    index = {name: shard for shard in ("a.safetensors", "b.safetensors") for name in shards[shard]}
    (bert / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    assert load(bert).allowed == ()
    index["pooler.dense.bias"] = "unused.safetensors"
    (bert / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    assert "stores a weight twice" in refusal(bert).message


def test_a_file_that_is_cut_off_is_named(bert: Path) -> None:
    file = bert / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert refusal(bert).message.startswith("model.safetensors cannot be read: ")
