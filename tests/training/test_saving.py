"""A saved model is the checkpoint's plain one: transformers loads it, and it predicts what was stored."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.assets.digest import checkpoint_digests
from harness.model.job import Job, Progress, TrialStoppedError
from harness.model.measurements import measured
from harness.model.results import TrialResult
from harness.model.values import Adapter
from harness.store.saved_models import saved_model
from harness.training.fitting import Fitting
from harness.training.run_trial import run_trial
from harness.training.tokenizing.tokens import load_tokenizer
from tests.training.conftest import MakeJob, quietly

pytestmark = pytest.mark.heavy


def saving(job: Job, folder: Path) -> tuple[TrialResult, Path]:
    job = job.model_copy(update={"save_to": str(folder / "model")})
    return run_trial(job, quietly), folder / "model"


def logits_of(folder: Path, result: TrialResult, job: Job) -> np.ndarray[Any, Any]:
    """The logits of the evaluation texts by transformers alone, in the order of the result."""
    import datasets  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: PLC0415

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = datasets.Dataset.from_json(job.data.files["validation"][0])
    texts = [rows["sentence1"][:], rows["sentence2"][:]]
    inputs = tokenizer(*texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
    assert result.checkpoint is not None
    with torch.inference_mode():
        given = {name: inputs[name] for name in result.checkpoint.columns}
        found: np.ndarray[Any, Any] = model(**given).logits.numpy()
    return found


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"engine": "loop", "padding": "unpadded", "last_layer": "cls"},
        {"engine": "loop", "adapter": Adapter(kind="lora", r=4)},
        {"model": "distilbert", "engine": "loop"},
    ],
    ids=str,
)
def test_transformers_loads_the_model_and_predicts_what_is_stored(
    make_job: MakeJob, tmp_path: Path, variant: dict[str, Any]
) -> None:
    # So large a rate changes what it predicts.
    job = make_job(train={"learning_rate": 1e-2}, **variant)
    result, folder = saving(job, tmp_path)
    assert result.predictions is not None
    stored = np.array(result.predictions.logits, dtype=np.float32)
    np.testing.assert_allclose(logits_of(folder, result, job), stored, atol=2e-5)
    assert np.ptp(stored) > 0.1
    names = {file.name for file in folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "harness.json"} <= names
    assert all(
        str(job.checkpoint.path) not in (folder / name).read_text("utf-8", "replace") for name in names
    )
    assert not list(tmp_path.glob(".*.tmp"))


def test_the_model_is_this_result_s_until_its_weights_change(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(train={"max_steps": 2}, warmup_steps=0)
    first, folder = saving(job, tmp_path)
    assert saved_model(folder, first) is not None
    # A later training of the same trial takes its place.
    second, _ = saving(job, tmp_path)
    assert saved_model(folder, second) is not None
    assert saved_model(folder, first) is None
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert saved_model(folder, second) is None


def test_a_model_whose_window_was_timed_before_is_that_of_the_joined_result(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(train={"max_steps": 4}, engine="loop", warmup_steps=1)
    window = run_trial(job.model_copy(update={"purpose": "time"}), quietly)
    job = job.model_copy(update={"timed": window})
    training, folder = saving(job, tmp_path)
    joined = job.completed_by(training)
    assert saved_model(folder, joined) is not None
    # A later training after the same window: the model is not that of its result.
    again = tuple(
        measured(each.metric, each.values[0] + 1e-6) if each.metric == "train_loss" else each
        for each in joined.measurements
    )
    assert saved_model(folder, joined.model_copy(update={"measurements": again})) is None


def test_a_folder_of_something_else_is_not_replaced(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    with pytest.raises(TrialStoppedError, match="is no model that harness saved"):
        saving(make_job(train={"max_steps": 1}, warmup_steps=0), tmp_path)
    assert (tmp_path / "model" / "thesis.txt").exists()


@pytest.mark.parametrize("defect", ["rounded", "an adapter left out"])
def test_a_saved_model_that_predicts_otherwise_takes_no_place(
    defect: str, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # noqa: PLC0415
    from transformers import PreTrainedModel  # noqa: PLC0415

    from harness.training import saving as training_saving  # noqa: PLC0415

    kept, trained = PreTrainedModel.save_pretrained, training_saving._trained

    def rounded(self: PreTrainedModel, *args: Any, **options: Any) -> None:
        kept(self.to(torch.bfloat16), *args, **options)  # type: ignore[arg-type] # transformers wraps it

    def unmerged(module: Any, leaf: str, before: torch.Tensor) -> torch.Tensor | None:
        return trained(getattr(module, "base_layer", module), leaf, before)

    if defect == "rounded":
        monkeypatch.setattr(PreTrainedModel, "save_pretrained", rounded)
        job = make_job(engine="loop", train={"learning_rate": 1e-2})
    else:
        monkeypatch.setattr(training_saving, "_trained", unmerged)
        job = make_job(
            engine="loop", train={"learning_rate": 1e-2}, adapter=Adapter(kind="lora", r=4, alpha=64)
        )
    with pytest.raises(TrialStoppedError, match="the saved model has other logits than the trained one"):
        saving(job, tmp_path)
    assert not (tmp_path / "model").exists()


def on_a_copy(job: Job, folder: Path) -> Job:
    """The job on a copy of its checkpoint, whose files a test may change, with their digests."""
    shutil.copytree(job.checkpoint.path, folder)
    found = {"path": str(folder), "digests": checkpoint_digests(folder)}
    return job.model_copy(update={"checkpoint": job.checkpoint.model_copy(update=found)})


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_a_file_that_changed_during_the_training_becomes_no_part_of_a_saved_model(
    file: str, make_job: MakeJob, tmp_path: Path
) -> None:
    job = on_a_copy(make_job(train={"max_steps": 2}, warmup_steps=0), tmp_path / "checkpoint")

    def change(progress: Progress) -> None:
        if progress.phase == "train" and progress.step == 0:
            with (tmp_path / "checkpoint" / file).open("a") as opened:
                opened.write("\n")

    (tmp_path / "models").mkdir()
    with pytest.raises(TrialStoppedError, match="changed since the run started"):
        run_trial(job.model_copy(update={"save_to": str(tmp_path / "models" / "one")}), change)
    assert [*(tmp_path / "models").iterdir()] == []


def test_two_runs_that_save_the_same_trial_at_once_leave_one_whole_model(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(train={"max_steps": 2}, warmup_steps=0)
    check, runs = Fitting.check_saved, iter(("a", "b"))

    def save() -> tuple[TrialResult, Path]:
        return saving(job.model_copy(update={"folder": str(tmp_path / next(runs))}), tmp_path)

    def meanwhile(fitting: Fitting, folder: Path, labels: Sequence[str]) -> None:
        check(fitting, folder, labels)
        monkeypatch.setattr(Fitting, "check_saved", check)
        other, place = save()
        assert saved_model(place, other) is not None

    monkeypatch.setattr(Fitting, "check_saved", meanwhile)
    result, folder = save()
    assert saved_model(folder, result) is not None
    assert logits_of(folder, result, job).shape == (24, 2)
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        ("unused rows", "word_embeddings.weight differs from the trained weight by"),
        ("rounded rows", "weight differs from the trained weight by"),
        ("names", "its classes are 1, 0, due not_equivalent, equivalent"),
        ("no tokenizer", "its tokenizer"),
        ("a shorter limit", "its tokenizer takes 32 tokens, due"),
    ],
)
def test_a_saved_model_whose_rows_predict_the_same_is_compared_by_weights_names_and_tokens(
    spoil: str, expected: str, make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # noqa: PLC0415

    from harness.training import saving as training_saving  # noqa: PLC0415
    from harness.training.engines.used_rows import UsedRows  # noqa: PLC0415

    trained, plain = training_saving._trained, training_saving._plain

    def rows(module: Any, leaf: str, before: torch.Tensor) -> torch.Tensor | None:
        emptied = torch.zeros_like(before) if isinstance(module, UsedRows) else before
        return trained(module, leaf, emptied)

    def rounded(module: Any, leaf: str, before: torch.Tensor) -> torch.Tensor | None:
        found = trained(module, leaf, before)
        return found if found is None else found.to(torch.bfloat16).to(found)

    def reversed_names(*args: Any) -> Any:
        model = plain(*args)
        model.config.id2label = {0: "1", 1: "0"}
        return model

    class Nothing:
        def save_pretrained(self, _folder: Path) -> None:
            """Write no file."""

    def shorter(checkpoint: Path) -> Any:
        tokenizer = load_tokenizer(checkpoint)
        tokenizer.model_max_length = 32
        return tokenizer

    spoilt: dict[str, tuple[str, Any]] = {
        "unused rows": ("_trained", rows),
        "rounded rows": ("_trained", rounded),
        "names": ("_plain", reversed_names),
        "no tokenizer": ("load_tokenizer", lambda _checkpoint: Nothing()),
        "a shorter limit": ("load_tokenizer", shorter),
    }
    monkeypatch.setattr(training_saving, *spoilt[spoil])
    job = make_job(engine="loop", precision="bf16" if spoil == "rounded rows" else "fp32")
    with pytest.raises(TrialStoppedError, match="the saved model is not the trained one") as failed:
        saving(job, tmp_path)
    assert expected in str(failed.value)
    assert not (tmp_path / "model").exists()
