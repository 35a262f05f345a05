"""Reports and results of schema 1 are read through a migration, their digests verified before it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InvalidInputError
from harness.model.results import SCHEMA_VERSION, UNSEALED
from harness.store.migrations import MIGRATIONS, migrate
from harness.store.plan_file import make_plan
from harness.store.reading import load_report
from harness.store.run_directory import open_run
from harness.store.trial_folder import read_result, write_result
from harness.store.writing import canonical_json, digest_of, to_json
from tests.factories import make_result, make_suite, make_trial

REPORT_1 = Path(__file__).parent / "data" / "report-1.json"
SCORES = ("eval_loss", "eval_accuracy", "eval_f1", "eval_mcc")


def as_schema_1(result: dict[str, Any]) -> dict[str, Any]:
    epochs = [
        {"epoch": each["epoch"], "train_loss": each["train_loss"]}
        | {metric: each["scores"][metric] for metric in SCORES}
        for each in result["epochs"]
    ]
    return result | {"epochs": epochs}


def stored_1() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(REPORT_1.read_text())
    return document


def refused(tmp_path: Path, document: dict[str, Any]) -> str:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(document, indent=2))
    with pytest.raises(InvalidInputError) as caught:
        load_report(path, allow_unsealed=True)
    return str(caught.value)


def test_there_is_a_migration_from_every_older_schema() -> None:
    assert list(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_a_migration_moves_the_scores_and_nothing_else() -> None:
    old = stored_1()
    new = migrate(old, 1, 2)
    assert old == stored_1()
    assert new["schema_version"] == 2
    for result in new["results"]:
        assert all(list(epoch) == ["epoch", "train_loss", "scores"] for epoch in result["epochs"])
    back = new | {"schema_version": 1, "results": [as_schema_1(result) for result in new["results"]]}
    assert back == old


def test_a_report_of_schema_1_is_written_as_one_of_the_current_schema() -> None:
    report = load_report(REPORT_1)
    assert UNSEALED not in report.notes
    assert set(report.results[0].epochs[0].scores) == set(SCORES)
    new, old = json.loads(to_json(report)), stored_1()
    assert new["digest"] != old["digest"]
    assert new | {"digest": None} == migrate(old, 1, SCHEMA_VERSION) | {"digest": None}


def test_a_changed_score_in_schema_1_does_not_match_its_digest(tmp_path: Path) -> None:
    document = stored_1()
    document["results"][0]["epochs"][0]["eval_f1"] = 0.5
    assert "its content does not match its digest" in refused(tmp_path, document)


def test_another_layout_of_schema_1_still_matches_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(stored_1(), ensure_ascii=True, indent=7))
    assert to_json(load_report(path)) == to_json(load_report(REPORT_1))


def test_the_digest_of_the_migrated_report_does_not_seal_the_old_one(tmp_path: Path) -> None:
    document = stored_1() | {"digest": json.loads(to_json(load_report(REPORT_1)))["digest"]}
    assert "its content does not match its digest" in refused(tmp_path, document)


def test_a_report_of_schema_1_with_its_version_raised_is_refused(tmp_path: Path) -> None:
    assert "/results/0/epochs/0/scores: Field required" in refused(
        tmp_path, stored_1() | {"schema_version": 2, "digest": None}
    )


@pytest.mark.parametrize("version", [0, -1])
def test_a_schema_that_never_existed_is_refused(tmp_path: Path, version: int) -> None:
    assert "/schema_version: " in refused(tmp_path, stored_1() | {"schema_version": version, "digest": None})


def test_an_epoch_of_schema_1_without_a_score_is_refused(tmp_path: Path) -> None:
    document = stored_1() | {"digest": None}
    del document["results"][0]["epochs"][0]["eval_mcc"]
    assert "/results/0/epochs/0/scores: Field required" in refused(tmp_path, document)


@pytest.mark.parametrize("key", ["results", "proofs"])
@pytest.mark.parametrize("value", [None, 3, [3], [{"epochs": 3}], [{"epochs": [3]}], {"epochs": []}])
def test_a_malformed_report_of_schema_1_is_refused_with_a_place(
    tmp_path: Path, key: str, value: object
) -> None:
    assert f"/{key}" in refused(tmp_path, stored_1() | {"digest": None, key: value})


def result_of_1(folder: Path) -> Path:
    """Write a result as the first schema did: without a version, its digest over the old fields."""
    folder.mkdir(parents=True)
    write_result(folder, make_result(make_trial()))
    file = folder / "result.json"
    old = as_schema_1(json.loads(file.read_text())["result"])
    file.write_text(json.dumps({"digest": digest_of(canonical_json(old)), "result": old}))
    return file


def test_a_finished_trial_of_schema_1_counts_as_done(tmp_path: Path) -> None:
    file = result_of_1(tmp_path / "trials" / make_trial().id)
    stored = make_result(make_trial())
    (epoch,) = stored.epochs
    kept = epoch.model_copy(update={"scores": {name: epoch.scores[name] for name in SCORES}})
    assert read_result(file.parent) == stored.model_copy(update={"epochs": (kept,)})


def test_a_changed_result_of_schema_1_does_not_count(tmp_path: Path) -> None:
    file = result_of_1(tmp_path / "trials" / make_trial().id)
    document = json.loads(file.read_text())
    document["result"]["epochs"][0]["eval_f1"] = 0.5
    file.write_text(json.dumps(document))
    with pytest.raises(InvalidInputError, match="its content does not match its digest"):
        read_result(file.parent)


def test_a_plan_of_schema_1_is_the_plan_of_a_run_that_can_be_continued(tmp_path: Path) -> None:
    plan = make_plan(make_suite(), [make_trial()], "auto")
    (tmp_path / "plan.json").write_text(json.dumps(json.loads(to_json(plan)) | {"schema_version": 1}))
    assert open_run(tmp_path).plan == plan
