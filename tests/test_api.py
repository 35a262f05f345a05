"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.analysis.comparison.comparing import compare
from harness.analysis.gates.applying import check
from harness.cli.run_options import how_to_go_on
from harness.model.results import TrialResult
from harness.model.trial import Trial
from harness.running.options import RunOptions
from tests.factories import make_report, make_result, make_trial
from tests.running.fakes import fake_suite, run_fake

HEAVY = ("torch", "transformers", "datasets", "evaluate", "accelerate", "ray")


def fresh(code: str) -> str:
    """What a new interpreter prints that runs the code."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_every_public_name_is_resolved_without_a_heavy_library() -> None:
    code = (
        "import sys, harness\n"
        "for name in harness.__all__: assert getattr(harness, name) is not None, name\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    assert fresh(code) == "[]\n"


def test_importing_the_package_imports_no_other_package() -> None:
    code = (
        "import sys, harness; print([name for name in ('pydantic', 'numpy', 'click') if name in sys.modules])"
    )
    assert fresh(code) == "[]\n"


def test_the_public_names() -> None:
    functions = {"load_suite", "expand", "run_suite", "prove_suite", "load_report", "compare", "check"}
    types = {"Suite", "Trial", "Report", "TrialResult", "Run", "RunOptions", "UntilDecided", "Observer"}
    types |= {"Comparison"}
    kinds = {name: kind for name, kind in vars(harness.errors).items() if isinstance(kind, type)}
    errors = {name for name, kind in kinds.items() if issubclass(kind, harness.HarnessError)}
    tables = {"GateReport", "AXES", "METRICS", "__version__"}
    assert set(harness.__all__) == functions | types | errors | tables
    assert sorted(harness.__all__) == dir(harness)
    assert list(harness.__all__) == sorted(harness.__all__, key=_order)


def _order(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'run_siute'"):
        harness.run_siute  # noqa: B018


def test_a_suite_is_expanded_run_and_compared_through_the_public_names(tmp_path: Path) -> None:
    class Recorder(harness.Observer):
        """Overrides one event; the others are ignored."""

        def __init__(self) -> None:
            self.finished_trials: list[Trial] = []

        def finished(self, result: TrialResult) -> None:
            self.finished_trials.append(result.trial)

    recorder = Recorder()
    suite = fake_suite()
    run = run_fake(suite, tmp_path, watcher=recorder)
    assert isinstance(run, harness.Run)
    assert tuple(recorder.finished_trials) == harness.expand(suite, ["cpu"])
    assert harness.load_report(run.directory) == run.report


def test_a_run_never_gives_the_report_of_a_later_run_in_its_directory(tmp_path: Path) -> None:
    before = run_fake(fake_suite(), tmp_path)
    after = run_fake(fake_suite(), tmp_path, rerun="all")
    assert before.directory == after.directory
    assert after.report.created == after.brief.created
    with pytest.raises(harness.InvalidInputError, match="was replaced by one of"):
        _ = before.report


def test_a_run_that_is_interrupted_after_its_last_trial_is_not_resumed() -> None:
    done, left = make_result(make_trial(seed=0)), make_result(make_trial(seed=1), status="interrupted")
    whole = harness.Run(make_report([done]), Path("run"), interrupted=2)
    assert whole.is_complete
    assert "the report is complete" in how_to_go_on(RunOptions(), complete=whole.is_complete)
    part = harness.Run(make_report([done, left]), Path("run"), interrupted=2)
    assert not part.is_complete
    assert "same command again" in how_to_go_on(RunOptions(), complete=part.is_complete)


def test_a_number_of_an_option_that_is_out_of_range_is_refused() -> None:
    with pytest.raises(harness.InvalidInputError, match="jobs is 0") as error:
        harness.RunOptions(jobs=0)
    assert error.value.hint == "Give a number from 1 to 256."
    with pytest.raises(harness.InvalidInputError, match="trial_timeout_s is nan"):
        harness.RunOptions(trial_timeout_s=float("nan"))


def test_a_fresh_run_has_no_failed_trials_to_run_again() -> None:
    with pytest.raises(harness.InvalidInputError, match="a fresh run has no failed trials"):
        harness.RunOptions(fresh=True, rerun="failed")
    assert harness.RunOptions(fresh=True, rerun="all").fresh


def test_reprs_are_one_short_line() -> None:
    made = [make_result(make_trial(padding)) for padding in ("static", "dynamic")]
    report = make_report(made, run="one")
    assert repr(report) == str(report) == "<Report padding one: 2 completed>"
    assert repr(make_report([])).endswith(": no trials>")
    assert (
        repr(made[0])
        == f"<TrialResult {made[0].trial.id}: completed, eval_f1 {made[0].value('eval_f1'):.4f}>"
    )
    comparison = compare([report], by="padding")
    assert repr(comparison).startswith("<Comparison of dynamic with static: ")
    assert repr(check(report)).startswith(f"<GateReport {report.suite.name}: ")
    assert all(len(repr(each)) < 120 for each in (report, made[0], comparison, check(report)))
