"""`harness rescore`: metrics from a report's stored logits, without training, beside those it holds."""

from __future__ import annotations

from pathlib import Path

import click
from pydantic import ValidationError

from harness.analysis.rescoring import set_beside, to_score, with_scores
from harness.cli.messages import say
from harness.cli.writing import failing_as_json, format_option, target_of, write
from harness.errors import UnavailableError
from harness.model.quality import Scores
from harness.output.builders.rescoring import rescoring_document
from harness.output.safe_text import safe_text
from harness.running.workers.scoring_process import SCORER, score_again
from harness.store.reading import load_report
from harness.store.writing import to_json, write_atomic


@click.command(epilog="For example:  harness rescore reports/padding/RUN")
@click.argument("report", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Write the report with the new scores there.",
)
@format_option("rescoring")
@click.option("--scorer", default=SCORER, hidden=True)
def command(report: Path, wanted: str | None, output: Path | None, scorer: str) -> int:
    """Score the stored logits of REPORT again, and set the result beside what is stored.

    The exit code is 1 if any stored score differs by more than 1e-9, or another stored number contradicts the
    values it follows from: the report was changed, or comes from another version of the metrics.
    """
    target = target_of("rescoring", wanted, None)
    with failing_as_json("rescoring", "rescore", target):
        stored = load_report(report, allow_unsealed=True)
        scores = _scores(score_again(to_score(stored), scorer))
        trials = set_beside(stored, scores)
    write(rescoring_document(stored, trials, scores.metric_version), target)
    if output is not None:
        write_atomic(output, to_json(with_scores(stored, scores)))
        say(f"wrote {output}")
    return int(any(trial.differs for trial in trials))


def _scores(answer: str) -> Scores:
    try:
        return Scores.model_validate_json(answer)
    except ValidationError as error:
        raise UnavailableError(
            f"what scores the logits gave no scores: {safe_text(answer, 200)}",
            hint="Check the installation: `harness run suites/quickstart.yaml`.",
        ) from error
