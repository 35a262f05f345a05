"""`harness rescore`: compute metrics from a report's stored logits again, and compare them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from harness.analysis.rescoring import SCORED, Rescored, Scores, set_beside, to_score, with_scores
from harness.cli.messages import say
from harness.cli.options import harness_command, option, output_option, report_argument, verbosity_options
from harness.cli.reports import read_report
from harness.errors import UnavailableError
from harness.model.results import Report
from harness.output.cells import Column
from harness.output.numbers import NOTHING
from harness.output.safe_text import safe_text
from harness.output.tables import LONGEST_NOTE, FittedTable, make_console, safe_column
from harness.running.workers.scoring_process import SCORER, score_again
from harness.store.reading import UNSEALED
from harness.store.writing import to_json, write_atomic
from harness.words import count

_TITLES: Final = {"eval_accuracy": "accuracy", "eval_f1": "F1", "eval_mcc": "MCC", "eval_loss": "loss"}


@harness_command("rescore", epilog="For example:  harness rescore reports/padding/RUN")
@report_argument
@output_option("Write the report with the new scores to FILE, as JSON.")
@option("--scorer", default=SCORER, hidden=True)
@verbosity_options
def command(report: Path, output: Path | None, scorer: str) -> int:
    """Score the stored logits of REPORT again, and compare the scores with the stored ones.

    The exit code is 1 if any stored score differs by more than 1e-9, or another stored number contradicts the
    values it follows from: the report was changed, or comes from another version of the metrics.
    """
    stored = read_report(report, allow_unsealed=True)
    answer = score_again(to_score(stored), scorer)
    try:
        scores = Scores.model_validate_json(answer)
    except ValidationError as error:
        raise UnavailableError(
            f"what scores the logits gave no scores: {safe_text(answer, 200)}",
            hint="Check the installation: `harness run suites/quickstart.yaml`.",
        ) from error
    trials = set_beside(stored, scores)
    make_console(sys.stdout).print(_table(stored, trials, scores))
    if output is not None:
        write_atomic(output, to_json(with_scores(stored, scores)))
        say(f"wrote {output}")
    return int(any(trial.differs for trial in trials))


def _table(report: Report, trials: Sequence[Rescored], scores: Scores) -> FittedTable:
    differing = sum(trial.differs for trial in trials)
    versions = dict.fromkeys(
        result.metric_version or "unknown" for result in report.results if result.predictions is not None
    )
    columns = [
        Column("trial", tuple(trial.name for trial in trials), numeric=False),
        *(
            Column(title, tuple(_cell(trial, metric) for trial in trials))
            for metric, title in _TITLES.items()
            if metric in SCORED
        ),
        Column("verdict", tuple("differs" if trial.differs else "same" for trial in trials), numeric=False),
    ]
    return FittedTable(
        title=safe_text(
            f"{report.suite.name}, run {report.run}: {count(len(trials), 'trial')}, {differing} differing",
            500,
        ),
        subtitles=[
            safe_text(f"metrics: stored {', '.join(versions)}; now {scores.metric_version}", LONGEST_NOTE)
        ],
        columns=[safe_column(column) for column in columns],
        notes=[
            *([UNSEALED] if UNSEALED in report.notes else []),
            *(safe_text(f"{trial.name}: {note}", LONGEST_NOTE) for trial in trials for note in trial.notes),
        ],
    )


def _cell(trial: Rescored, metric: str) -> str:
    """`0.8578`, or `0.8578, now 0.8431` where the two differ; all digits where four do not show it."""
    stored, again = trial.values[metric]
    if not trial.differing(metric):
        return NOTHING if stored is None else f"{stored:.4f}"
    texts = [NOTHING if value is None else f"{value:.4f}" for value in (stored, again)]
    if texts[0] == texts[1]:
        texts = [repr(stored), repr(again)]
    return f"{texts[0]}, now {texts[1]}"
