"""Decide how to compare the quality of two variants of one run that share trainings."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.comparison.alignment import Pair
from harness.analysis.comparison.matching import Match
from harness.analysis.sharing import is_proved, trained_by
from harness.model.looks import Verdict
from harness.model.seeds import Seed


def shared_training(pair: Pair, matched: Match) -> tuple[Verdict, str] | None:
    """Return verdict and note where both sides have the scores of one training; None if they share none."""
    seeds = _shared(pair, matched)
    if not seeds:
        return None
    doubt = _doubt_of_sharing(pair, seeds, matched)
    verdict: Verdict = "same function" if doubt is None else "not comparable"
    return verdict, f"{_not_twice(seeds, matched)}{doubt or ''}"


def _shared(pair: Pair, matched: Match) -> list[Seed]:
    """Return the seeds of which both sides have the scores of one training, down to the predictions."""
    if pair.before is None or pair.after is None or pair.before.report is not pair.after.report:
        return []
    before = {trained_by(result): result for result in matched.before}
    return [
        result.trial.seed
        for result in matched.after
        if (other := before.get(trained_by(result))) is not None and other.predictions == result.predictions
    ]


def _is_proved(pair: Pair) -> bool:
    """Return whether the proofs in the report let both sides share one training."""
    return all(
        is_proved(result, filter(None, [side.proof]), filter(None, [side.training]))
        for side in (pair.before, pair.after)
        if side is not None
        for result in side.results.values()
    )


def _doubt_of_sharing(pair: Pair, shared: Sequence[Seed], matched: Match) -> str | None:
    """Return why shared trainings do not settle the comparison of both sides, or None."""
    if not _is_proved(pair):
        return ", but no proof shows that they compute the same function"
    if len(shared) < len(matched.after):
        return (
            ", and of two trainings of each other seed, which may differ: run all seeds in one run, with "
            "`harness run SUITE --fresh`"
        )
    return None


def _not_twice(shared: Sequence[Seed], matched: Match) -> str:
    of_seeds = "each seed" if len(shared) == len(matched.after) else f"seed {', '.join(map(str, shared))}"
    return f"quality not measured twice: both sides have the scores of one training of {of_seeds}"
