"""Runs until decided: which seeds run, what stops a variant or the run, and what a resumed run repeats."""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.analysis.checks.look_record import look_contradictions
from harness.api import Run
from harness.errors import InvalidInputError
from harness.model.looks import Looks
from harness.model.results import Report, TrialResult
from harness.model.suite import Measure, Suite
from harness.running.options import UntilDecided
from harness.running.until import with_seeds
from harness.store.reading import load_report
from tests.running.fakes import Watcher, fake_suite, run_fake

ACCURACY = UntilDecided(metrics=("eval_accuracy",), most_seeds=5)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "record"
    path.touch()
    monkeypatch.setenv("FAKE_RECORD", str(path))
    return path


def paddings(*names: str, seeds: tuple[int, ...] = (7, 1), **changes: Any) -> Suite:
    matrix = {
        "checkpoint": ("bert-base-uncased",),
        "padding": names or ("static", "dynamic", "bucketed", "unpadded"),
        "device": ("cpu",),
        "seed": seeds,
    }
    return fake_suite(matrix=matrix, **changes)


def decide(suite: Suite, tmp_path: Path, until: UntilDecided = ACCURACY, **options: Any) -> Run:
    return run_fake(suite, tmp_path / "reports", "deciding", until=until, **options)


def begun(record: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for line in record.read_text().splitlines():
        padding, seed = line.split()
        found.setdefault(padding, []).append(int(seed))
    return found


def looks(report: Report) -> Looks:
    assert report.looks is not None
    return report.looks


def verdicts(report: Report) -> dict[str, tuple[str, int]]:
    return {row.candidate: (row.verdict, row.seeds) for row in looks(report).rows}


def test_decided_variants_stop_and_open_ones_run_the_next_seeds(tmp_path: Path, record: Path) -> None:
    watcher = Watcher()
    run = decide(paddings(), tmp_path, watcher=watcher)
    # The seeds of the suite first, then the smallest numbers that it does not list.
    assert begun(record) == {
        "static": [7, 1, 0, 2, 3], "dynamic": [7, 1, 0], "bucketed": [7, 1, 0], "unpadded": [7, 1, 0, 2, 3],
    }  # fmt: skip
    assert verdicts(run.report) == {
        "dynamic": ("same", 3),
        "bucketed": ("worse", 3),
        "unpadded": ("unsure", 5),
    }
    assert (looks(run.report).seeds, looks(run.report).ended) == ((3, 4, 5), "most seeds")
    assert list(look_contradictions(looks(run.report))) == []
    assert run.exit_code == 0
    assert Counter(result.status for result in run.report.results) == {"completed": 16}
    assert load_report(run.directory) == run.report
    assert "look 3 of at most 3, 5 seeds: 2 of 3 rows decided, 1 open" in watcher.notes
    page, markdown = (run.directory / name for name in ("report.html", "report.md"))
    for text in (page.read_text(), markdown.read_text()):
        assert "2 of 3 rows decided, 1 open; 3 looks at 3, 4, 5 of at most 5 seeds" in text
        assert "open: bert-base-uncased, unpadded, accuracy" in text


def test_a_run_ends_when_every_row_is_decided_and_is_not_resumed(tmp_path: Path, record: Path) -> None:
    suite = paddings("static", "dynamic", "bucketed")
    first = decide(suite, tmp_path)
    assert (looks(first.report).ended, looks(first.report).seeds) == ("decided", (3,))
    assert len(first.report.results) == 9
    assert decide(suite, tmp_path).directory != first.directory


def test_the_budget_stops_between_looks_and_the_same_command_goes_on(tmp_path: Path, record: Path) -> None:
    suite = paddings("static", "unpadded")
    four = UntilDecided(metrics=("eval_accuracy",), most_seeds=4)
    short = replace(four, budget_s=1e-6)
    first = decide(suite, tmp_path, short)
    assert (looks(first.report).ended, looks(first.report).seeds) == ("budget", (3,))
    assert len(first.report.results) == 6
    watcher = Watcher()
    second = decide(suite, tmp_path, four, watcher=watcher)
    assert second.directory == first.directory
    assert looks(second.report).seeds == (3, 4)
    assert [trial.seed for trial in watcher.begun] == [2, 2]
    assert Counter(begun(record)["static"]) == dict.fromkeys((7, 1, 0, 2), 1)
    whole = decide(suite, tmp_path, four, fresh=True)
    assert verdicts(whole.report) == verdicts(second.report)
    assert looks(whole.report).rows == looks(second.report).rows


def test_terms_that_change_after_a_look_are_noted_from_then_on(tmp_path: Path, record: Path) -> None:
    suite = paddings("static", "unpadded")
    short = UntilDecided(metrics=("eval_accuracy",), most_seeds=5, budget_s=1e-6)
    assert "terms were changed" not in str(decide(suite, tmp_path, short).report.notes)
    other = replace(short, margin=0.01)
    for _ in range(2):
        report = decide(suite, tmp_path, other).report
        (note,) = (note for note in report.notes if "terms were changed after looks" in note)
        assert (
            "up to 3 seeds by padding, metrics eval_accuracy, margins eval_accuracy ±0.02; "
            "then by padding, metrics eval_accuracy, margins eval_accuracy ±0.01"
        ) in note
    fresh = decide(suite, tmp_path, other, fresh=True).report
    assert "terms were changed" not in str(fresh.notes)


class _Interrupter(Watcher):
    """Sends SIGINT to this process when a trial with a number begins."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def finished(self, result: TrialResult) -> None:
        super().finished(result)
        if len(self.done) == self._number:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(("number", "taken"), [(2, ()), (7, (3,))])
def test_an_interrupt_leaves_a_report_of_the_looks_so_far(
    tmp_path: Path, record: Path, number: int, taken: tuple[int, ...]
) -> None:
    suite = paddings("static", "unpadded")
    run = decide(suite, tmp_path, watcher=_Interrupter(number))
    assert run.exit_code == 130
    found = load_report(run.directory)
    assert (looks(found).ended, looks(found).seeds) == ("interrupted", taken)
    assert sum(result.status == "completed" for result in found.results) == number
    resumed = decide(suite, tmp_path)
    assert resumed.directory == run.directory
    assert looks(resumed.report).seeds == (3, 4, 5)
    assert Counter(begun(record)["unpadded"]).most_common(1)[0][1] == 1


def test_a_failing_variant_stops_and_the_others_go_on(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAILS", "bucketed")
    run = decide(paddings("static", "bucketed", "unpadded"), tmp_path)
    assert verdicts(run.report)["bucketed"] == ("failed", 3)
    assert (len(begun(record)["bucketed"]), len(begun(record)["unpadded"])) == (3, 5)
    assert run.exit_code == 1


def test_fail_fast_ends_the_run_at_the_first_failure(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAILS", "static")
    run = decide(paddings("static", "unpadded"), tmp_path, fail_fast=True)
    assert looks(run.report).ended == "first failure"
    assert len(record.read_text().splitlines()) == 1


def test_another_number_of_seeds_begins_a_new_run_without_the_results(tmp_path: Path, record: Path) -> None:
    suite = paddings("static", "unpadded")
    short = UntilDecided(metrics=("eval_accuracy",), most_seeds=6, budget_s=1e-6)
    decide(suite, tmp_path, short)
    decide(suite, tmp_path, UntilDecided(metrics=("eval_accuracy",), most_seeds=5, budget_s=1e-6))
    assert begun(record)["static"] == [7, 1, 0, 7, 1, 0]


@pytest.mark.parametrize(
    ("suite", "until", "options", "message"),
    [
        (paddings("static"), ACCURACY, {}, "one variant: there is nothing to decide"),
        (paddings(), UntilDecided(by="engine"), {}, "no two variants differ in"),
        (paddings(), UntilDecided(by="pading"), {}, "did you mean padding"),
        (paddings(), UntilDecided(metrics=("eval_acc",)), {}, "there is no metric"),
        (paddings(), UntilDecided(margin=2.0), {}, "margin"),
        (paddings(), UntilDecided(margin=1.0), {}, "below 1, its whole range"),
        (paddings(), ACCURACY, {"shard": "1/2"}, "a look needs all of them"),
        (paddings(include=({"seed": 3},)), ACCURACY, {}, "a list of numbers in matrix.seed"),
        (
            paddings().model_copy(update={"measure": Measure(separate=True)}),
            ACCURACY,
            {},
            "not measure.separate",
        ),
    ],
)
def test_a_run_that_cannot_be_decided_is_refused_before_it_begins(
    tmp_path: Path, suite: Suite, until: UntilDecided, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        decide(suite, tmp_path, until, **options)
    assert not (tmp_path / "reports").exists()


def test_two_varying_axes_need_a_choice(tmp_path: Path, record: Path) -> None:
    suite = paddings("static", "dynamic")
    two = suite.model_copy(update={"matrix": {**suite.matrix, "precision": ("fp32", "bf16")}})
    with pytest.raises(InvalidInputError, match="which of them is compared") as caught:
        decide(two, tmp_path)
    assert caught.value.hint == "Name the axis: --by AXIS."
    found = looks(decide(two, tmp_path, replace(ACCURACY, by="precision", most_seeds=3)).report)
    assert (found.by, found.baseline) == ("precision", "fp32")
    assert {(row.candidate, row.verdict) for row in found.rows} == {("bf16", "same")}
    assert len(found.rows) == 2


def test_seeds_continue_the_list_of_the_suite() -> None:
    found = with_seeds(paddings(seeds=(4, 0)), UntilDecided(most_seeds=6))
    assert found.matrix["seed"] == (4, 0, 1, 2, 3, 5)
    assert with_seeds(paddings(seeds=(4, 0, 9, 8)), UntilDecided(most_seeds=3)).matrix["seed"] == (4, 0, 9)


@pytest.mark.parametrize("changes", [{"most_seeds": 2}, {"most_seeds": 201}, {"budget_s": 0.0}])
def test_a_number_out_of_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="is"):
        UntilDecided(**changes)
