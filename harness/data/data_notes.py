"""Remarks on the data behind scores: the same sentences in notes, plans and tables."""

from __future__ import annotations

from collections.abc import Iterator

from harness.data.corpus import DuplicateRows


def data_remarks(
    published: bool | None, duplicates: DuplicateRows, train: int, evaluation: int
) -> Iterator[str]:
    """Yield a sentence about unpublished rows, leaked rows and repeated rows, if there are any.

    Args:
        published: whether the splits are the published ones, None if unknown.
        duplicates: the repeated rows.
        train: number of training examples.
        evaluation: number of evaluation examples.
    """
    if published is False:
        yield "these are not the published rows: do not compare their scores with published ones"
    if duplicates.leaked:
        yield (
            f"{duplicates.leaked:,} of {evaluation:,} evaluation examples "
            f"{'has' if duplicates.leaked == 1 else 'have'} the same texts as a training example: scores may "
            "be too high"
        )
    for repeated, examples, split in (
        (duplicates.train, train, "training"),
        (duplicates.evaluation, evaluation, "evaluation"),
    ):
        if repeated:
            verb = "repeats" if repeated == 1 else "repeat"
            yield f"{repeated:,} of {examples:,} {split} examples {verb} the texts of an earlier one"
