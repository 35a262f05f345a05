from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.parity import verdicts
from harness.analysis.summary import summarize
from harness.model.results import Report, TrialResult
from harness.model.trial import Trial
from harness.running.proving import describe_proof
from harness.running.workers.interpreter import this_interpreter
from tests.factories import make_result, make_trial
from tests.running.fakes import Watcher, fake_suite, run_fake

MATRIX = {
    "checkpoint": ("bert-base-uncased",),
    "padding": ("static", "dynamic", "bucketed"),
    "device": ("cpu",),
    "seed": (0, 1, 2),
}


def run_proving(reports: Path, **options: Any) -> tuple[Report, Watcher]:
    watcher = Watcher()
    run = run_fake(fake_suite(matrix=MATRIX), reports, "proving", watcher, **({"parity": True} | options))
    return run.report, watcher


def test_each_function_is_proved_once_before_its_first_trial(tmp_path: Path) -> None:
    report, watcher = run_proving(tmp_path)
    assert [str(proof.trial.padding) for proof in report.proofs] == ["static", "dynamic", "bucketed"]
    assert len(report.results) == 9
    assert all(result.status == "completed" for result in report.results)
    assert watcher.notes[-8:-6] == [
        "proving that 3 variants compute the plain function; --no-parity leaves it out",
        "proving that 3 ways of training follow the independent reference; --no-parity leaves it out",
    ]
    said = watcher.notes[-6:]
    for expected in (
        "parity of bert-base-uncased dynamic cpu fp32 trainer sdpa: exact: largest logit difference 0.0e+00",
        "parity of bert-base-uncased bucketed cpu fp32 trainer sdpa: differs: largest logit",
        "proof of bert static cpu fp32 trainer attention=auto: unproven: failed in start",
        "proof of bert-base-uncased static cpu fp32 trainer attention=auto: unproven: failed in start",
        "training of bert dynamic cpu fp32 trainer sdpa: same: 1 checks against the",
        "training of bert bucketed cpu fp32 trainer sdpa: differs: losses: largest difference 1.0e+00",
    ):
        assert sum(note.startswith(expected) for note in said) == 1, said
    assert [str(proof.trial.padding) for proof in report.training_proofs] == ["static", "dynamic", "bucketed"]
    assert [proof.trial.checkpoint for proof in report.training_proofs] == ["bert"] * 3
    assert len(watcher.done) == 9
    assert watcher.proofs[0] == (1, 0, 6)
    assert watcher.proofs[-1] == (0, 6, 6)


def test_the_first_trial_runs_between_its_proofs_and_the_others(tmp_path: Path) -> None:
    report, _ = run_proving(tmp_path)
    first, *rest = sorted(report.results, key=lambda result: result.started)
    proofs = (*report.proofs, *report.training_proofs)
    of_first = [proof for proof in proofs if proof.trial.padding == first.trial.padding]
    others = [proof for proof in proofs if proof.trial.padding != first.trial.padding]
    assert len(of_first) == 2
    assert max(proof.started for proof in of_first) <= first.started <= min(proof.started for proof in others)
    assert max(proof.started for proof in others) <= rest[0].started


class Interrupting(Watcher):
    """Interrupts the run when its first trial has started."""

    def started(self, trial: Trial) -> None:
        super().started(trial)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_run_interrupted_in_its_first_trial_reports_the_proofs_of_that_trial(
    tmp_path: Path,
) -> None:
    suite = fake_suite(matrix={**MATRIX, "padding": ("dynamic", "bucketed")})
    report = run_fake(suite, tmp_path, "proving", Interrupting(), parity=True).report
    # The trial itself may have ended before the signal came.
    assert "pending" in {result.status for result in report.results}
    of_first = [str(proof.trial.padding) for proof in (*report.proofs, *report.training_proofs)]
    assert of_first.count("dynamic") == 2 or of_first.count("bucketed") == 2


@pytest.mark.parametrize("options", [{"fail_fast": True}, {"stop_after_same_error": 9}, {"jobs": 2}])
def test_every_proof_precedes_trials_whose_failures_count_together_or_that_run_at_once(
    options: dict[str, Any], tmp_path: Path
) -> None:
    report, _ = run_proving(tmp_path, **options)
    proofs = (*report.proofs, *report.training_proofs)
    assert max(proof.started for proof in proofs) <= min(result.started for result in report.results)


def test_checkpoints_of_one_family_share_a_proof_of_training(tmp_path: Path) -> None:
    checkpoints = ("bert-base-uncased", "bert-base-cased", "distilbert-base-uncased")
    matrix = {**MATRIX, "checkpoint": checkpoints, "padding": ("dynamic",), "seed": (0,)}
    report = run_fake(fake_suite(matrix=matrix), tmp_path, "proving", Watcher(), parity=True).report
    assert [proof.trial.checkpoint for proof in report.training_proofs] == ["bert", "distilbert"]
    assert len(report.proofs) == 3


def test_a_variant_that_differs_is_marked_in_the_report_and_its_tables(tmp_path: Path) -> None:
    report, _ = run_proving(tmp_path)
    marked = {str(row.trial.padding): row.fails_parity for row in summarize(report)}
    assert marked == {"static": False, "dynamic": False, "bucketed": True}
    assert list(verdicts(report).values()).count("differs") == 1


def test_a_run_in_which_a_proof_differs_does_not_end_with_0(tmp_path: Path) -> None:
    every, sound = (
        fake_suite(matrix={**MATRIX, "padding": padding})
        for padding in (("dynamic", "bucketed"), ("static", "dynamic"))
    )
    run = run_fake(every, tmp_path / "a", "proving", Watcher(), parity=True)
    assert all(result.status == "completed" for result in run.brief.results)
    assert run.exit_code == 1
    # What could not be proved is a warning, as in a check.
    assert run_fake(sound, tmp_path / "b", "proving", Watcher(), parity=True).exit_code == 0


def test_without_parity_nothing_is_proved(tmp_path: Path) -> None:
    report, watcher = run_proving(tmp_path, parity=False)
    assert report.proofs == report.training_proofs == ()
    assert not [note for note in watcher.notes if "prov" in note]


def test_a_resumed_run_proves_only_what_has_no_proof_yet(tmp_path: Path) -> None:
    first, _ = run_proving(tmp_path)
    (directory,) = (tmp_path / "fake").glob("*-*")
    (directory / "report.json").unlink()
    again, watcher = run_proving(tmp_path)
    assert "proving that 1 variants" in "".join(watcher.notes)
    assert [proof.status for proof in again.proofs] == [proof.status for proof in first.proofs]
    assert again.results == first.results


def test_a_run_that_goes_on_with_other_code_proves_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, watcher = run_proving(tmp_path)
    assert not any("code of harness changed" in note for note in watcher.notes)
    before = {proof.started for proof in (*first.proofs, *first.training_proofs)}
    monkeypatch.setattr("harness.running.workers.interpreter.Interpreter.code_sha256", lambda _self: "b" * 64)
    changed, watcher = run_proving(tmp_path, rerun="failed")
    told = (
        "proofs will be made again: the code of harness changed; 9 finished trials of the earlier code stay"
    )
    assert sum(note.startswith(told) for note in watcher.notes) == 1
    assert before.isdisjoint(proof.started for proof in (*changed.proofs, *changed.training_proofs))
    assert changed.results == first.results
    noted = "9 of 9 trials ran with earlier code of harness, which no proof of this run covers: "
    assert [note.startswith(noted) for note in changed.notes].count(True) == 1
    # It still is so when the run goes on once more, and in an edited suite that takes the trials over.
    again, watcher = run_proving(tmp_path, rerun="failed")
    assert not any("code of harness changed" in note for note in watcher.notes)
    assert again.notes == changed.notes
    assert not run_proving(tmp_path, rerun="all")[0].notes[len(first.notes) :]


@pytest.mark.parametrize("edit", ["changed", "removed"])
def test_a_report_tells_that_the_code_was_edited_during_its_run(
    edit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "checkout" / "harness" / "__init__.py"
    code.parent.mkdir(parents=True)
    code.write_text("before\n")
    interpreter = replace(this_interpreter(), package=code)
    monkeypatch.setattr("harness.running.work.this_interpreter", lambda: interpreter)

    class Editor(Watcher):
        def finished(self, result: TrialResult) -> None:
            if edit == "removed":
                code.unlink(missing_ok=True)
            else:
                code.write_text("after\n")

    def noted(watcher: Watcher) -> list[bool]:
        report = run_fake(fake_suite(), tmp_path, "quick", watcher, fresh=True).report
        return [f"the code of harness in {code.parent} was edited during this run" in n for n in report.notes]

    assert not any(noted(Watcher()))
    assert noted(Editor()).count(True) == 1


def test_an_edited_suite_tells_of_the_trials_of_earlier_code_that_it_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = fake_suite(matrix={**MATRIX, "padding": ("dynamic",)})
    run = run_fake(suite, tmp_path, "proving", Watcher(), parity=True)
    last = run.report.results[-1].trial.id
    (run.directory / "report.json").unlink()
    (run.directory / "trials" / last / "result.json").unlink()
    monkeypatch.setattr("harness.running.workers.interpreter.Interpreter.code_sha256", lambda _self: "b" * 64)
    watcher = Watcher()
    edited = fake_suite(matrix={**MATRIX, "padding": ("dynamic", "unpadded")})
    report = run_fake(edited, tmp_path, "proving", watcher, parity=False).report
    told = "the code of harness changed; 2 finished trials of the earlier code stay: --fresh runs all again"
    assert told in watcher.notes
    assert any(note.startswith("2 of 6 trials ran with earlier code of harness") for note in report.notes)


@pytest.mark.parametrize("torn", ["", "{", "null"])
def test_a_torn_proof_is_made_again(torn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_proving(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "empty cache"))
    (directory,) = (tmp_path / "fake").glob("*-*")
    (directory / "report.json").unlink()
    for result in (directory / "proofs").glob("*/result.json"):
        result.write_text(torn)
    again, watcher = run_proving(tmp_path)
    assert "proving that 3 variants" in "".join(watcher.notes)
    assert len(again.proofs) == 3


def test_nothing_is_proved_of_trials_that_only_tokenise(tmp_path: Path) -> None:
    matrix = {"checkpoint": ("bert-base-uncased",), "tokenization": ("whole", "map"), "seed": (0,)}
    watcher = Watcher()
    run = run_fake(fake_suite(matrix=matrix), tmp_path, "quick", watcher, parity=True)
    assert [str(result.trial.tokenization) for result in run.report.results] == ["whole", "map"]
    assert run.report.proofs == ()
    assert not any("prov" in note for note in watcher.notes)


def test_a_proof_names_what_is_not_the_usual_way() -> None:
    plain, unusual = (
        describe_proof(make_result(make_trial("dynamic", 0, **changes), status="failed", reason="no"))
        for changes in ({}, {"last_layer": "cls", "cuda_graphs": True, "engine": "loop"})
    )
    assert "cpu fp32 trainer attention=auto: unproven" in plain
    assert "cpu fp32 loop attention=auto last_layer=cls cuda_graphs=true: unproven" in unusual
