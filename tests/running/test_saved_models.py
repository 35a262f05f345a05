"""`--save-models`: a card for each model, and no finished trial without its model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.api import Run
from harness.errors import InvalidInputError
from tests.running.fakes import Watcher, fake_suite, run_fake


def saving(tmp_path: Path, watcher: Watcher | None = None, **options: object) -> Run:
    options = {"save_models": tmp_path / "models", **options}
    return run_fake(fake_suite(), tmp_path / "reports", "saving", watcher, **options)


def test_every_model_has_a_card_with_the_report_s_numbers_the_seed_and_the_digests(tmp_path: Path) -> None:
    run = saving(tmp_path)
    digest = hashlib.sha256((run.directory / "report.json").read_bytes()).hexdigest()
    for result in run.report.results:
        folder = tmp_path / "models" / result.trial.id
        card = (folder / "README.md").read_text()
        assert card.startswith("---\nlibrary_name: transformers\n")
        accuracy = result.value("eval_accuracy")
        assert accuracy is not None
        assert f"| accuracy | {100 * accuracy:.1f} % |" in card
        assert f"- seed: {result.trial.seed}\n" in card
        weights = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        assert all(each in card for each in (digest, weights, result.trial.id, run.directory.name))
        assert "stands in for bert-base-uncased" in card


def test_a_finished_trial_without_its_model_runs_again_and_no_other_one(tmp_path: Path) -> None:
    first = saving(tmp_path)
    lost, kept = first.report.results
    weights = tmp_path / "models" / lost.trial.id / "model.safetensors"
    weights.write_bytes(b"damaged")
    watcher = Watcher()
    saving(tmp_path, watcher, rerun="failed")
    assert [trial.id for trial in watcher.to_run] == [lost.trial.id]
    assert [result.trial.id for result in watcher.reused] == [kept.trial.id]
    assert any("1 finished trial will run again" in note for note in watcher.notes)
    assert weights.read_bytes() == lost.trial.id.encode()


def test_without_the_option_nothing_is_saved(tmp_path: Path) -> None:
    saving(tmp_path, save_models=None)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("change", ["edited", "removed"])
def test_a_model_whose_config_changed_does_not_count_as_saved(tmp_path: Path, change: str) -> None:
    lost, _ = saving(tmp_path).report.results
    folder = tmp_path / "models" / lost.trial.id
    if change == "edited":
        (folder / "config.json").write_text('{"id2label": {"0": "equivalent"}}')
    else:
        (folder / "config.json").unlink()
    (folder / "notes of mine").write_text("no part of the model")
    watcher = Watcher()
    saving(tmp_path, watcher, rerun="failed")
    assert [trial.id for trial in watcher.to_run] == [lost.trial.id]


@pytest.mark.parametrize("taken", ["the folder", "a model", "a link"])
def test_what_harness_has_not_saved_is_not_replaced(tmp_path: Path, taken: str) -> None:
    if taken == "the folder":
        (tmp_path / "models").write_text("a file")
    elif taken == "a link":
        # To replace a link fails, after the training.
        folder = tmp_path / "models" / saving(tmp_path).report.results[0].trial.id
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        for result in saving(tmp_path).report.results:
            (tmp_path / "models" / result.trial.id / "harness.json").unlink()
    with pytest.raises(InvalidInputError, match="exists and is no model that harness saved"):
        saving(tmp_path, fresh=True)
