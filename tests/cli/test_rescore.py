"""`harness rescore`: honest reports score the same again, changed ones do not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.analysis.scored_again import compare_scores, to_score, with_scores
from harness.errors import InvalidInputError
from harness.model.measurements import measured
from harness.model.quality import Score, Scores
from harness.model.results import Report, TrialResult
from harness.store.reading import load_report
from harness.store.writing import to_json
from tests.factories import make_report, make_result, make_trial
from tests.running.fakes import environ, forked


def rescore(
    report: Report, folder: Path, *arguments: str, scorer: str | None = "tests.cli.scorer", **changes: str
) -> subprocess.CompletedProcess[str]:
    file = folder / "report.json"
    file.write_bytes(to_json(report))
    chosen = [] if scorer is None else ["--scorer", scorer]
    return forked("rescore", file, *chosen, *arguments, environment=environ(**changes))


def forged(metric: str = "eval_f1", value: float = 0.99) -> TrialResult:
    honest = make_result(make_trial(seed=7))
    kept = tuple(one for one in honest.measurements if one.metric != metric)
    return honest.model_copy(update={"measurements": (measured(metric, value), *kept)})


def test_an_honest_report_scores_the_same_again(tmp_path: Path) -> None:
    done = rescore(make_report(), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 trials, 0 differing" in done.stdout
    assert "stored glue/mrpc 1; now fake 1" in done.stdout


def test_a_selection_is_scored_again_and_never_written(tmp_path: Path) -> None:
    done = rescore(make_report(), tmp_path, "-k", "static")
    assert done.returncode == 0, done.stderr
    assert "3 trials, 0 differing" in done.stdout
    assert "-k 'static': 1 of 2 variants" in done.stderr
    refused = rescore(make_report(), tmp_path, "-k", "static", "-o", str(tmp_path / "new.json"))
    assert (refused.returncode, (tmp_path / "new.json").exists()) == (2, False)
    assert "it has every trial" in refused.stderr


@pytest.mark.parametrize("metric", ["eval_accuracy", "eval_f1", "eval_mcc", "eval_loss"])
def test_a_changed_score_is_shown_beside_what_its_logits_give(tmp_path: Path, metric: str) -> None:
    done = rescore(make_report([make_result(), forged(metric, 0.9876)]), tmp_path)
    assert done.returncode == 1
    assert "2 trials, 1 differing" in done.stdout
    assert "0.9876, now" in done.stdout


def test_the_new_scores_can_be_written_and_then_hold(tmp_path: Path) -> None:
    out = tmp_path / "new.json"
    failed = make_result(make_trial(seed=3), status="oom")
    assert rescore(make_report([forged(), failed]), tmp_path, "--output", str(out)).returncode == 1
    new = load_report(out)
    assert new.results[1] == failed
    assert new.results[0].metric_version == "fake 1"
    assert "scored again" in new.notes[-1]
    assert rescore(new, tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("behaviour", "says"), [("crash", "exit code 1: error: it broke"), ("babble", "gave no scores: no JSON")]
)
def test_a_scorer_without_an_answer_ends_with_69(tmp_path: Path, behaviour: str, says: str) -> None:
    done = rescore(make_report(), tmp_path, SCORER=behaviour)
    assert (done.returncode, done.stdout) == (69, "")
    assert says in done.stderr


def test_a_report_without_predictions_has_nothing_to_score() -> None:
    with pytest.raises(InvalidInputError, match="nothing to score"):
        to_score(make_report([make_result(status="failed")]))


def test_a_completed_trial_without_predictions_or_score_differs() -> None:
    bare = make_result(make_trial(seed=1)).model_copy(update={"predictions": None})
    report = make_report([make_result(), bare])
    first, second = compare_scores(report, Scores(metric_version="x", scores=(Score(reason="not finite"),)))
    assert (first.differs, second.differs) == (True, True)
    assert (first.notes, second.notes) == (("not finite",), ("kept no predictions",))
    unscored = with_scores(report, Scores(metric_version="x", scores=(Score(reason="not finite"),)))
    assert unscored.results == report.results


def test_the_flag_of_a_single_class_is_checked_too() -> None:
    report = make_report([make_result(degenerate=True)])
    score = Score(scores=report.results[0].epochs[-1].scores, degenerate=False)
    (found,) = compare_scores(report, Scores(metric_version="x", scores=(score,)))
    assert found.notes == ("degenerate is True, but False by its logits",)


@pytest.mark.heavy
def test_evaluate_gives_the_stored_scores_again(tmp_path: Path) -> None:
    report = make_report([make_result(), forged()])
    done = rescore(report, tmp_path, scorer=None)
    assert done.returncode == 1, done.stderr
    assert "2 trials, 1 differing" in done.stdout
    assert "now classification-" in done.stdout


def test_a_rate_that_its_step_times_contradict_makes_the_trial_differ(tmp_path: Path) -> None:
    done = rescore(make_report([make_result(), forged("train_samples_per_second", 99.0)]), tmp_path)
    assert done.returncode == 1
    assert "2 trials, 1 differing" in done.stdout
    assert "rates and times give" in done.stdout


def test_a_score_newer_than_the_report_is_shown_and_does_not_differ(tmp_path: Path) -> None:
    result = make_result()
    earlier = result.model_copy(
        update={
            "measurements": tuple(
                each for each in result.measurements if each.metric not in ("eval_ece", "eval_brier")
            ),
            "epochs": tuple(
                each.model_copy(
                    update={
                        "scores": {
                            name: value
                            for name, value in each.scores.items()
                            if name not in ("eval_ece", "eval_brier")
                        }
                    }
                )
                for each in result.epochs
            ),
        }
    )
    done = rescore(make_report([earlier]), tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"{result.value('eval_brier'):.4f}" in done.stdout
    assert f"{result.value('eval_ece'):.4f}" in done.stdout
