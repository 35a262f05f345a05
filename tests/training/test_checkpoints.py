from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from transformers import RobertaConfig, RobertaForSequenceClassification

from harness.model.job import TrialStoppedError
from harness.model.values import Attention
from harness.training.checkpoints import load_model, model_columns

pytestmark = pytest.mark.heavy
LABELS = ("no", "yes")


def test_bert_gets_token_types_and_distilbert_does_not_and_says_so(checkpoints: dict[str, Path]) -> None:
    bert, distilbert = (
        load_model(checkpoints[name], labels=LABELS, attention="sdpa", token_type_ids="auto")
        for name in ("bert", "distilbert")
    )
    assert bert.columns == ("input_ids", "attention_mask", "token_type_ids")
    assert bert.columns_note is None
    assert distilbert.columns == ("input_ids", "attention_mask")
    assert distilbert.columns_note == "distilbert gets no token_type_ids: its forward does not take them"


def test_token_types_can_be_dropped(checkpoints: dict[str, Path]) -> None:
    loaded = load_model(checkpoints["bert"], labels=LABELS, attention="sdpa", token_type_ids="drop")
    assert loaded.columns == ("input_ids", "attention_mask")
    assert loaded.columns_note == "bert gets no token_type_ids: dropped as asked"


@pytest.mark.parametrize(
    ("name", "attention", "used"),
    [
        ("bert", "auto", "sdpa"),
        ("bert", "sdpa", "sdpa"),
        ("bert", "eager", "eager"),
        ("mpnet", "auto", "eager"),
        ("mpnet", "eager", "eager"),
    ],
)
def test_auto_attention_is_sdpa_where_the_model_supports_it_and_eager_elsewhere(
    checkpoints: dict[str, Path], name: str, attention: Attention, used: Attention
) -> None:
    loaded = load_model(checkpoints[name], labels=LABELS, attention=attention, token_type_ids="auto")
    assert loaded.attention == used
    assert loaded.model.config._attn_implementation == used


def test_sdpa_without_support_is_one_sentence(checkpoints: dict[str, Path]) -> None:
    with pytest.raises(TrialStoppedError) as caught:
        load_model(checkpoints["mpnet"], labels=LABELS, attention="sdpa", token_type_ids="auto")
    release = ".".join(transformers.__version__.split(".")[:2])
    assert str(caught.value) == (
        f"MPNet has no SDPA attention in transformers {release}\nuse attention: auto or eager"
    )


@pytest.mark.parametrize("attention", ["auto", "sdpa"])
def test_a_config_that_sets_another_attention_than_asked_is_refused(
    checkpoints: dict[str, Path], tmp_path: Path, attention: Attention
) -> None:
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "forced")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_attn_implementation": "eager"}))
    with pytest.raises(TrialStoppedError, match=r"would compute eager instead of sdpa.*config\.json"):
        load_model(folder, labels=LABELS, attention=attention, token_type_ids="auto")
    assert load_model(folder, labels=LABELS, attention="eager", token_type_ids="auto").attention == "eager"


def test_a_model_with_a_single_token_type_gets_none() -> None:
    config = RobertaConfig(
        vocab_size=50,
        type_vocab_size=1,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=32,
    )
    columns, note = model_columns(RobertaForSequenceClassification(config), "auto")
    assert columns == ("input_ids", "attention_mask")
    assert note == "roberta gets no token_type_ids: its config knows a single type"


def test_what_a_checkpoint_lacks_is_named_and_drawn_from_the_seed(checkpoints: dict[str, Path]) -> None:
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        loaded = load_model(checkpoints["bert"], labels=LABELS, attention="sdpa", token_type_ids="auto")
        assert loaded.newly_initialized == ("classifier.bias", "classifier.weight")
        assert loaded.unused == ()
        assert loaded.model.dtype == torch.float32
        heads.append(loaded.model.get_parameter("classifier.weight"))
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_checkpoint_saved_in_half_precision_is_trained_in_fp32(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "half")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float16", "torch_dtype": "float16"}))
    assert (
        load_model(folder, labels=LABELS, attention="sdpa", token_type_ids="auto").model.dtype
        == torch.float32
    )


def test_pickled_weights_are_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(TrialStoppedError, match="pickled has no safetensors"):
        load_model(folder, labels=LABELS, attention="sdpa", token_type_ids="auto")


def test_code_beside_a_checkpoint_is_not_run(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "coded")
    (folder / "modeling_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config))
    load_model(folder, labels=LABELS, attention="sdpa", token_type_ids="auto")
    assert not (tmp_path / "ran").exists()
