"""Reports with impossible contents, and reports without a digest: what each command does with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.model.proof import TrainingCheck, TrainingProof
from harness.model.results import UNSEALED
from harness.store.reading import load_report
from harness.store.writing import to_json
from tests.factories import make_report, make_result, make_trial
from tests.store.forging import get, put, sealed

Run = Callable[..., tuple[int, str, str]]
REPORT = make_report([make_result(make_trial("dynamic", seed), examples=6) for seed in range(2)])
DOCUMENT = json.loads(to_json(REPORT))
LOGITS = DOCUMENT["results"][1]["predictions"]["logits"]
IDS = DOCUMENT["results"][1]["predictions"]["example_ids"]
ACCURACY = ("measurements", 0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *capfd.readouterr())

    return run


def index_of(metric: str) -> int:
    return next(
        at for at, one in enumerate(DOCUMENT["results"][1]["measurements"]) if one["metric"] == metric
    )


@pytest.mark.parametrize(
    ("path", "value", "pointer", "says"),
    [
        (("measurements", 0, "values"), [1.7], "/measurements/0", "eval_accuracy: 1.7 is impossible"),
        (("measurements", 0, "values"), [0.5, 0.9], "/measurements/0", "2 values, where a trial has one"),
        (("measurements", 2, "values"), [-1.1], "/measurements/2", "it is from -1 to 1"),
        (("measurements", 3, "values"), [-0.1], "/measurements/3", "it is 0 or more"),
        (("measurements", 7, "values"), [0.0], "/measurements/7", "it is above 0"),
        (("measurements", 7, "values"), [1e308], "/measurements/7", "it is at most 1e+100"),
        (("measurements", 0, "unit"), "percent", "/measurements/0", "its unit is ratio"),
        (("measurements", 1, "metric"), "eval_accuracy", "", "eval_accuracy occurs twice"),
        (("epochs", 0, "scores", "eval_f1"), 97.0, "/epochs/0/scores", "eval_f1: 97 is impossible"),
        (("epochs", 0, "epoch"), 2, "", "not numbered 1, 2, 3"),
        (("predictions", "logits"), LOGITS[:-1], "/predictions", "5 rows of logits"),
        (("predictions", "logits", 3), [0.5], "/predictions/logits", "row 3 of logits has 1 numbers"),
        (("predictions", "labels", 4), 2, "/predictions", "label 2 of row 4"),
        (("predictions", "labels", 4), -1, "/predictions", "label -1 of row 4"),
        (("predictions", "example_ids"), IDS[1:], "/predictions", "5 example_ids, 6 labels"),
        (("predictions", "example_ids", 0), IDS[1], "/predictions", "an example id occurs twice"),
        (("data", "eval_majority_share"), 1.5, "/data/eval_majority_share", "less than or equal to 1"),
        (("data", "mean_length"), 4_000.0, "/data", "each is at most the next"),
        (("data", "truncated"), 1_000_000, "/data", "truncated 1000000 of"),
        (("data", "labels"), ["yes", "yes"], "/data", "a class name occurs twice"),
        (("attempts",), 0, "/attempts", "greater than or equal to 1"),
    ],
)
def test_every_command_refuses_what_cannot_be_with_its_place(
    run: Run, path: tuple[str | int, ...], value: Any, pointer: str, says: str
) -> None:
    document = json.loads(to_json(REPORT))
    put(document, ("results", 1, *path), value)
    file = Path("forged.json")
    file.write_bytes(sealed(document))
    Path("good.json").write_bytes(to_json(REPORT))
    for arguments in (
        ("show", file),
        ("check", file),
        ("check", "good.json", "--baseline", file),
        ("compare", "good.json", file),
        ("compare", file, "--by", "seed"),
        ("rescore", file),
        ("baseline", "set", file, "main"),
    ):
        code, output, errors = run(*arguments)
        assert code == 2, arguments
        told = output + errors if arguments[0] == "check" else errors
        assert f"forged.json: no valid report: /results/1{pointer}: " in told.replace("\n", "")
        assert says in told.replace("\n", "")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("data", "eval_splits"), {"a": 3, "b": 2}, "they do not add up to 6 examples"),
        (("data", "eval_splits"), {"a": 6}, "a single split has no parts"),
        (("predictions", "splits"), {"a": 3, "b": 2}, "splits: 5 of 6 examples"),
        (("predictions", "labels", 4), 0.5, "the labels are no class numbers, and the logits have 2 classes"),
        (
            ("predictions",),
            {"example_ids": [], "labels": [], "logits": []},
            "the predictions are empty",
        ),
        (
            ("epochs",),
            [
                {"epoch": 1, "train_loss": 0.5, "scores": {"eval_f1": 0.5}},
                {"epoch": 2, "train_loss": 0.5, "scores": {"eval_accuracy": 0.5}},
            ],
            "epochs: their scores are not of the same metrics",
        ),
        (
            ("parity",),
            {
                "examples": 4,
                "largest_logit_difference": 0.5,
                "relative_gradient_error": 0.0,
                "flipped_predictions": 5,
            },
            "5 flipped_predictions of 4 examples",
        ),
        (
            ("parity",),
            {
                "examples": 4,
                "largest_logit_difference": 0.0,
                "relative_gradient_error": 0.0,
                "flipped_predictions": 1,
            },
            "flipped_predictions without a logit that differs",
        ),
    ],
)
def test_numbers_that_cannot_belong_together_are_refused(
    run: Run, path: tuple[str | int, ...], value: Any, reason: str
) -> None:
    document = json.loads(to_json(REPORT))
    put(document, ("results", 1, *path), value)
    Path("forged.json").write_bytes(sealed(document))
    code, _, errors = run("show", "forged.json")
    assert code == 2
    assert "forged.json: no valid report: /results/1" in errors.replace("\n", "")
    assert reason in errors.replace("\n", " ")


def test_a_trial_that_occurs_twice_is_refused(run: Run) -> None:
    document = json.loads(to_json(REPORT))
    put(document, ("results", 1, "trial", "seed"), get(document, ("results", 0, "trial", "seed")))
    Path("twice.json").write_bytes(sealed(document))
    code, _, errors = run("show", "twice.json")
    assert code == 2
    assert "occurs 2 times" in errors


def test_a_proof_that_occurs_twice_is_refused(run: Run) -> None:
    trained = TrainingProof(checks=(TrainingCheck(name="losses", passed=False, found="2.0"),))
    passed = TrainingProof(checks=(TrainingCheck(name="losses", passed=True, found="0.0"),))
    proofs = [make_result(make_trial(), training=each) for each in (trained, passed)]
    for kind in ("proofs", "training_proofs"):
        document = json.loads(to_json(REPORT))
        document[kind] = [json.loads(to_json(proof)) for proof in proofs]
        Path("twice.json").write_bytes(sealed(document))
        code, _, errors = run("check", "twice.json")
        assert code == 2, kind
        assert f"{kind}: trial {proofs[0].trial.id} occurs 2 times" in errors.replace("\n", "")


@pytest.fixture
def unsealed(run: Run) -> Path:
    Path("sealed.json").write_bytes(to_json(REPORT))
    file = Path("unsealed.json")
    file.write_bytes(json.dumps(DOCUMENT | {"digest": None}).encode())
    return file


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "unsealed.json"),
        ("check", "sealed.json", "--baseline", "unsealed.json"),
        ("compare", "sealed.json", "unsealed.json"),
        ("compare", "sealed.json", "--baseline", "unsealed.json"),
        ("baseline", "set", "unsealed.json", "main"),
    ],
    ids=" ".join,
)
def test_what_decides_refuses_a_report_without_a_digest_unless_it_is_allowed(
    run: Run, unsealed: Path, arguments: tuple[str, ...]
) -> None:
    code, _, errors = run(*arguments)
    assert code == 2
    assert f"{unsealed}: its digest is null" in errors
    assert "--allow-unsealed" in errors
    code, output, _ = run(*arguments, "--allow-unsealed")
    assert code == 0
    if arguments[0] != "baseline":
        assert UNSEALED in output.replace("\n", " ").replace("  ", " ")


def test_a_baseline_that_had_no_digest_says_so_for_ever(run: Run, unsealed: Path) -> None:
    assert run("baseline", "set", unsealed, "main", "--allow-unsealed")[0] == 0
    assert UNSEALED in load_report(Path("reports/baselines/main.json")).notes
    assert "unsealed" in run("baseline", "list")[1]
    assert "without a digest" in run("check", "sealed.json", "--baseline", "main")[1]


def test_show_and_rescore_read_it_with_a_remark(run: Run, unsealed: Path) -> None:
    code, output, _ = run("show", unsealed)
    assert code == 0
    assert "without a digest" in output
    _, output, _ = run("rescore", unsealed, "--scorer", "tests.cli.scorer")
    assert "without a digest" in output


def test_an_edited_report_is_told_how_to_be_read_all_the_same(run: Run) -> None:
    Path("edited.json").write_bytes(to_json(REPORT).replace(b'"attempts": 1', b'"attempts": 2', 1))
    code, _, errors = run("show", "edited.json")
    assert code == 2
    assert "does not match its digest" in errors
    assert "--allow-unsealed" in errors
