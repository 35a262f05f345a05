"""`harness rescore`: compute metrics from a report's stored logits again, and compare them."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from harness.analysis.scored_again import (
    compare_scores,
    own_metric_problems,
    own_metrics_of,
    to_score,
    with_scores,
)
from harness.cli.messages import print_note
from harness.cli.reports import read_report, select_variants
from harness.cli.shared_options import (
    harness_command,
    option,
    output_option,
    output_options,
    report_argument,
    selection_option,
    verbosity_options,
)
from harness.cli.writing_results import Target, write
from harness.errors import InvalidInputError, UnavailableError, exit_code
from harness.model.quality import OwnScores, Scores
from harness.model.results import Report
from harness.output.builders.recomputed_scores import rescoring_document
from harness.output.safe_text import safe_text
from harness.running.workers.scoring_process import SCORER, own_scores, score_again
from harness.store.writing import require_writable, to_json, write_atomic


@harness_command("rescore", epilog="For example:  harness rescore reports/padding/RUN")
@report_argument
@selection_option("What to compare")
@output_options("rescoring", to_file=False)
@output_option("Write the report with the new scores to FILE, as JSON.")
@option("--scorer", default=SCORER, hidden=True)
@verbosity_options
def command(*, report: Path, selection: str | None, target: Target, output: Path | None, scorer: str) -> int:
    """Score the stored logits of REPORT again, and compare the scores with the stored ones.

    Users' metrics are computed by the files that the suite names, which a note mentions if they changed.

    The exit code is 1 if any stored score differs by more than 1e-9, or another stored number contradicts the
    values it follows from: the report was changed, or comes from another version of the metrics.
    """
    if selection is not None and output is not None:
        raise InvalidInputError(
            "-k cannot select from the report that -o writes: it has every trial",
            hint="Leave out -k, or -o.",
        )
    if output is not None:
        require_writable(output)
    (stored,), told = select_variants([read_report(report, allow_unsealed=True)], selection)
    for sentence in told:
        print_note(sentence)
    scores = _scores(score_again(to_score(stored), scorer))
    own = _own_scores(stored)
    trials = compare_scores(stored, scores, own)
    notes = tuple(own_metric_problems(stored, own))
    write(rescoring_document(stored, trials, scores.metric_version, notes), target)
    if output is not None:
        write_atomic(output, to_json(with_scores(stored, scores, own)))
        print_note(f"wrote {output}")
    return exit_code(passed=not any(trial.differs for trial in trials))


def _own_scores(stored: Report) -> tuple[OwnScores, ...]:
    metrics = own_metrics_of(stored)
    if not metrics:
        return ()
    kept = {
        result.trial.id: predictions
        for result in stored.results
        if result.predictions is not None and (predictions := result.predictions.on()) is not None
    }
    return own_scores(metrics, kept)


def _scores(answer: str) -> Scores:
    try:
        return Scores.model_validate_json(answer)
    except ValidationError as error:
        raise UnavailableError(
            f"the scorer of the logits gave no scores: {safe_text(answer, 200)}",
            hint="Check the installation: `harness run quickstart`.",
        ) from error
