"""Replay stored results as runs until decided, with their seeds in random orders.

`python -m tools.simulate.stored REPORT --by padding` takes the looks of `--until-decided` on the results of a
report with many seeds, and a fixed design of all of them: which share of the trials the looks would have
needed, and which verdicts are equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

import click
import numpy as np

from harness.analysis.comparison.look_table import LookTable, Question
from harness.analysis.stats.sequential import look_sizes
from harness.model.looks import Verdict
from harness.model.results import Report
from harness.model.seeds import Seed
from harness.store.reading import load_report

ORDERS: Final = 10
QUALITY: Final = ("eval_accuracy", "eval_f1")

Row = tuple[str, str]
"""A candidate, and the metric."""


@dataclass(frozen=True)
class Replayed:
    """The verdict of each row, and the share of all trials that was needed."""

    verdicts: Mapping[Row, Verdict]
    trials: float


def replay(report: Report, question: Question, seeds: Sequence[Seed], sizes: tuple[int, ...]) -> Replayed:
    """Take looks at the results of the first seeds, of the variants that each look leaves open."""
    table = LookTable(question, sizes)
    running = set(report.variants())
    # As the plan of such a run: the baseline is the first value of the first seed.
    places = {seed: at for at, seed in enumerate(seeds)}
    declared = {variant: at for at, variant in enumerate(report.variants())}
    planned = sorted(
        report.results, key=lambda each: (places[each.trial.seed], declared[each.trial.variant_id])
    )
    asked: set[str] = set()
    for size in sizes:
        now = set(seeds[:size])
        asked |= {
            result.trial.id
            for result in planned
            if result.trial.seed in now and result.trial.variant_id in running
        }
        results = tuple(result for result in planned if result.trial.id in asked)
        table.add(report.model_copy(update={"results": results}), {})
        running = set(table.open_variants)
        if not running:
            break
    rows = table.looks("most seeds" if running else "decided").rows
    return Replayed(
        {(row.candidate, row.metric): row.verdict for row in rows}, len(asked) / len(report.results)
    )


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--by", default="padding", show_default=True, help="The axis whose values are compared.")
@click.option("--margin", default=0.02, show_default=True, help="Scores that differ by less are the same.")
@click.option("--orders", default=ORDERS, show_default=True, help="Random orders of the seeds.")
def main(path: Path, by: str, margin: float, orders: int) -> None:
    """Replay the results of the report at PATH, and print what the looks would have needed."""
    report = load_report(path)
    question = Question(by, QUALITY, margin)
    seeds = list(dict.fromkeys(result.trial.seed for result in report.results))
    fixed = replay(report, question, seeds, (len(seeds),)).verdicts
    random = np.random.default_rng(20_261_126)
    runs = [
        replay(report, question, [seeds[at] for at in random.permutation(len(seeds))], look_sizes(len(seeds)))
        for _ in range(orders)
    ]
    pairs = [(verdict, fixed[row]) for run in runs for row, verdict in run.verdicts.items()]
    click.echo(f"{len(report.variants())} variants, {len(seeds)} seeds, {orders} orders, margin {margin:g}")
    click.echo(f"trials: {', '.join(f'{run.trials:.0%}' for run in runs)}, on average")
    click.echo(f"{fmean(run.trials for run in runs):.1%} of those of the fixed design")
    click.echo(
        f"the same verdict: {fmean(looked == full for looked, full in pairs):.1%} of {len(pairs)} rows"
    )
    click.echo(f"open: {fmean(looked == 'unsure' for looked, _ in pairs):.1%}")
    contrary = [pair for pair in pairs if pair[0] != pair[1] and "unsure" not in pair]
    click.echo(f"contradicting verdicts: {len(contrary)}")
    for row, verdict in fixed.items():
        click.echo(f"  fixed design: {' '.join(row)}: {verdict}")


if __name__ == "__main__":
    main()
