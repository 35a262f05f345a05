"""Measure the error rates of verdicts and gates, and write them as tables: `python -m tools.simulate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np

from harness.output.numbers import NOTHING
from tools.simulate.gates import GateWorld, false_greens, false_reds
from tools.simulate.history import DROP, NOISE_BAND, SLOWER, marked_series, separate_runs, single_seeds
from tools.simulate.looks import Scores, Suite, saved
from tools.simulate.looks import speed_alarms as looked_speed
from tools.simulate.rates import (
    Power,
    SpeedCase,
    false_alarms,
    power_as_printed,
    speed_alarms,
    wrongly_same,
)
from tools.simulate.worlds import Draw, QualityWorld, SpeedWorld, fixed

METRICS: Final = ("eval_accuracy", "eval_f1", "eval_mcc")
DISCORDANCE: Final = (0.04, 0.08, 0.12)
SEEDS: Final = (1, 2, 3, 5, 10)
TRIALS: Final = (1, 2, 3, 5, 10)
EARLIER_SEEDS: Final = (2, 3, 5, 10)
EARLIER_RUNS: Final = (3, 5)
STATES: Final = (0.0, 0.05, 0.1)
MOST_SEEDS: Final = (10, 20)
POINTS: Final = (6, 12, 24, 50)
STEPS: Final = (1.0, 1.05, 1.08)
OUTPUT: Final = Path("docs/error-rates.md")

HEAD: Final = """# Error rates of verdicts and gates

Measured by `python -m tools.simulate` with {replicates:,} simulated comparisons per cell, so that a rate of
5 % is measured as {low:.1f} to {high:.1f} % in 95 of 100 cases. The simulated classifiers have the numbers of
MRPC: 408 evaluation examples, 279 positive, 84 % accuracy, a standard deviation over seeds of 1.2 points.
*Discordance* is the share of examples on which two runs of one recipe differ in being right.
"""


@click.command()
@click.option("--replicates", default=2_000, show_default=True, help="Simulated comparisons per cell.")
@click.option("--output", default=OUTPUT, show_default=True, type=click.Path(path_type=Path))
def main(replicates: int, output: Path) -> None:
    """Simulate comparisons with known truth and write the error rates to a Markdown file."""
    half = 196 * np.sqrt(0.05 * 0.95 / replicates)
    parts = [HEAD.format(replicates=replicates, low=5 - half, high=5 + half)]
    for section in (
        _alarms,
        _power,
        _same,
        _speed,
        _seed_history,
        _run_history,
        _gates,
        _marks,
        _looks,
        _saved,
    ):
        click.echo(section.__name__.strip("_"), err=True)
        parts.append(section(replicates, np.random.default_rng(20_261_125)))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(parts), encoding="utf-8")


def _alarms(replicates: int, random: Draw) -> str:
    rows = (
        [metric, f"{100 * share:g} %", *map(_percent, rates)]
        for metric in METRICS
        for share in DISCORDANCE
        for rates in [
            [false_alarms(QualityWorld(discordance=share), metric, n, replicates, random) for n in SEEDS]
        ]
    )
    return _section(
        "False alarms in quality",
        "Equal recipes that are called better or worse; at most 5 % is promised. One seed per side never "
        "gives a verdict.",
        ["metric", "discordance", *(f"{n} seed{'' if n == 1 else 's'}" for n in SEEDS)],
        rows,
    )


def _power(replicates: int, random: Draw) -> str:
    def cells() -> Iterator[list[str]]:
        for metric in METRICS:
            for share in DISCORDANCE:
                for tests in (1, 6):
                    world = QualityWorld(discordance=share)
                    found = [power_as_printed(world, metric, n, tests, replicates, random) for n in SEEDS[1:]]
                    yield [metric, f"{100 * share:g} %", str(tests), *map(_power_cell, found)]

    return _section(
        "Power at the printed detectable effect",
        "How often a new comparison finds the effect that an earlier one printed as *min. detectable*, as "
        "the mean over gains and drops, adjusted over the given number of tests; 80 % is promised. A "
        "printed effect beyond the largest gain, 15.5 points of accuracy, is simulated as that gain. An "
        "empty cell: no effect is printed, since no possible effect would be detected or, with 3 seeds and 6 "
        "tests, since the critical value of 11 standard errors makes a verdict depend on chance.",
        ["metric", "discordance", "tests", *(f"{n} seeds" for n in SEEDS[1:])],
        cells(),
    )


def _power_cell(found: Power | None) -> str:
    return NOTHING if found is None else _percent((found.gain + found.drop) / 2)


def _same(replicates: int, random: Draw) -> str:
    rows = (
        [f"{100 * share:g} %", *map(_percent, rates)]
        for share in DISCORDANCE
        for rates in [
            [wrongly_same(QualityWorld(discordance=share), 0.02, n, replicates, random) for n in SEEDS]
        ]
    )
    return _section(
        "Wrongly *same*",
        "Recipes whose accuracy differs by exactly the margin of 2 points and that are called the same; at "
        "most 5 % is promised.",
        ["discordance", *(f"{n} seed{'' if n == 1 else 's'}" for n in SEEDS)],
        rows,
    )


def _speed(replicates: int, random: Draw) -> str:
    band = float(np.expm1(0.03 * np.sqrt(2) * 1.96))
    cases: list[tuple[str, SpeedWorld, Callable[[int], SpeedCase]]] = [
        (f"one run, state {100 * state:g} %", SpeedWorld(state=state), SpeedCase) for state in (0, 0.05, 0.1)
    ]
    cases += [
        ("one run, drift 20 %", SpeedWorld(drift=0.2), SpeedCase),
        (
            "one run, drift 20 %, variants in a fixed order (not what `run` does)",
            SpeedWorld(drift=0.2),
            lambda k: SpeedCase(k, order=fixed),
        ),
        ("one run, heavy tails", SpeedWorld(heavy=True), SpeedCase),
    ]
    for state in (0, 0.05, 0.1):
        cases.append(
            (f"two runs, state {100 * state:g} %", SpeedWorld(state=state), lambda k: SpeedCase(k, runs=2))
        )
        cases.append(
            (
                f"two runs, state {100 * state:g} %, calibrated over 5 states",
                SpeedWorld(state=state),
                lambda k: SpeedCase(k, runs=2, known_runs=5),
            )
        )
    cases += [
        ("one run, 5 % slower: found", SpeedWorld(), lambda k: SpeedCase(k, ratio=1.05)),
        (
            "one run, 5 % slower: found with a band",
            SpeedWorld(),
            lambda k: SpeedCase(k, ratio=1.05, band=band),
        ),
    ]
    rows = (
        [name, *(_percent(speed_alarms(world, case(k), replicates, random)) for k in TRIALS)]
        for name, world, case in cases
    )
    return _section(
        "Speed",
        "Equal variants that are called faster or slower, at a trial noise of 3 %; at most 5 % is promised. "
        "*State* is the standard deviation of a machine's speed between runs. Without a calibration over "
        "separate states, two runs have no verdict. The last two rows are the power for a true difference.",
        ["machine", *(f"{k} trial{'' if k == 1 else 's'}" for k in TRIALS)],
        rows,
    )


def _seed_history(replicates: int, random: Draw) -> str:
    def rows() -> Iterator[list[str]]:
        for metric in METRICS:
            for share in DISCORDANCE:
                world = QualityWorld(discordance=share)
                cells = [
                    single_seeds(world, metric, seeds, replicates, random, change=change, repeated=repeated)
                    for change, repeated in ((0.0, False), (0.0, True), (-DROP, False))
                    for seeds in EARLIER_SEEDS
                ]
                yield [metric, f"{100 * share:g} %", *map(_percent, cells)]

    kinds = ("equal", "equal, repeated", f"{100 * DROP:g} points worse")
    return _section(
        "One seed per side, with a history",
        "Comparisons of one seed per side that are called better or worse, where earlier runs give the "
        "variance over the given number of seeds; at most 5 % is promised for equal recipes. *Repeated*: one "
        "of the earlier seeds is the baseline's, with the same predictions. The last columns are the power "
        "for a drop of accuracy.",
        ["metric", "discordance", *(f"{kind}, {n} seeds" for kind in kinds for n in EARLIER_SEEDS)],
        rows(),
    )


def _run_history(replicates: int, random: Draw) -> str:
    def rows() -> Iterator[list[str]]:
        for state in STATES:
            for runs in EARLIER_RUNS:
                for ratio in (1.0, SLOWER):
                    rates = [
                        separate_runs(SpeedWorld(state=state), runs, k, replicates, random, ratio=ratio)
                        for k in TRIALS
                    ]
                    kind = "equal" if ratio == 1 else f"{100 * (ratio - 1):.0f} % slower"
                    yield [f"{100 * state:g} %", str(runs), kind, *map(_percent, rates)]

    return _section(
        "Two separate runs, with a history",
        "Comparisons of two runs that are called faster or slower, where earlier runs with as many "
        "trials give the variance between runs; at most 5 % is promised for equal variants. The rows of "
        "slower candidates are the power.",
        ["state", "earlier runs", "candidate", *(f"{k} trial{'' if k == 1 else 's'}" for k in TRIALS)],
        rows(),
    )


def _gates(replicates: int, random: Draw) -> str:
    def rows() -> Iterator[list[str]]:
        for seeds in (1, 3, 5):
            world = GateWorld(seeds=seeds)
            red, unsure = false_reds(world, replicates // 4, random)
            green = false_greens(world, replicates // 4, random)
            yield [str(seeds), _percent(red), _percent(unsure), NOTHING if green is None else _percent(green)]

    return _section(
        "Whole checks",
        "A suite of four variants with a gate on accuracy (2 points) and one on F1 (2 points) each. *Red*: "
        "an unchanged model fails the check; at most 5 % is promised. *Green at the detectable drop*: a "
        "model that dropped by what a gate prints as detectable passes that gate; at most 20 % is promised.",
        ["seeds per side", "unchanged: red", "unchanged: unsure", "green at the detectable drop"],
        rows(),
    )


def _marks(replicates: int, random: Draw) -> str:
    def rows() -> Iterator[list[str]]:
        for step in STEPS:
            for known in (True, False):
                found = [marked_series(n, replicates, random, step=step, known=known) for n in POINTS]
                kind = "none: marked" if step == 1 else f"{100 * (step - 1):.0f} %: marked once, at the step"
                rates = (some if step == 1 else exact for some, exact in found)
                yield [kind, "known" if known else "of the series", *map(_percent, rates)]

    return _section(
        "Changes in a history",
        f"Series of reports with a noise band of {100 * NOISE_BAND:.0f} %, without a change or with a step "
        "in the middle, in which `harness history` marks a change. Without a step at most 1 % is promised "
        "with a known band, and about 5 % with the band of the series itself.",
        ["step", "band", *(f"{n} points" for n in POINTS)],
        rows(),
    )


def _looks(replicates: int, random: Draw) -> str:
    def rows() -> Iterator[list[str]]:
        for most in MOST_SEEDS:
            never, _ = Scores(margin=None, most=most).rates(replicates, random)
            alarms, _ = Scores(most=most).rates(replicates, random)
            _, same = Scores(change=-0.02, most=most).rates(replicates, random)
            yield ["6 of scores", str(most), *map(_percent, (never, alarms, same))]
        for drift in (0.0, 0.2):
            alarms = looked_speed(SpeedWorld(drift=drift), 3, MOST_SEEDS[-1], replicates, random)
            yield [
                f"3 of speed, drift {100 * drift:g} %",
                str(MOST_SEEDS[-1]),
                _percent(alarms),
                *[NOTHING] * 2,
            ]

    return _section(
        "Runs until decided",
        "Runs with `--until-decided`: looks from 3 seeds to the most, and Holm's adjustment over the rows "
        "of several candidates against one baseline. *False alarms*: any row of equal candidates is "
        "called better or worse at any look; at most 5 % is promised for the whole table. Without a "
        "margin no row is called the same, so that every look is taken. *Wrongly same*: rows at the "
        "margin of 2 points that are called the same at any look; at most 5 % is promised. Scores are "
        "normal over seeds with a standard deviation of 1.2 points, tested by t tests without resampling; "
        "speeds are tested by the functions of a comparison.",
        ["rows", "most seeds", "false alarms, no margin", "false alarms", "wrongly same"],
        rows(),
    )


def _saved(replicates: int, random: Draw) -> str:
    def rows() -> Iterator[list[str]]:
        for share, seed_sd in ((0.02, 0.003), (0.045, 0.004), (0.065, 0.004)):
            world = QualityWorld(accuracy=0.77, discordance=share, seed_sd=seed_sd)
            for changes in ((0.0, 0.0, 0.0), (0.0, 0.0, -0.03)):
                found = saved(Suite(changes, 0.02, MOST_SEEDS[0], world), replicates // 10, random)
                kind = "equal" if not any(changes) else "one 3 points worse"
                shares = (found.seeds, found.equal, found.open, found.fixed_open)
                yield [f"{100 * share:g} %", kind, *map(_percent, shares)]

    return _section(
        "Seeds of runs until decided",
        "Accuracy and F1 of three candidates against a baseline, at most 10 seeds and a margin of 2 "
        "points, against a fixed design of 10 seeds on the same simulated predictions, a tenth of the "
        "simulated runs. MiniLM's stored trials differ on 4.5 % of the examples between the engines for a "
        "seed, on 5.4 to 7.8 % between paddings, at a standard deviation of 0.6 points over seeds. A row "
        "is *open* without a verdict.",
        ["discordance", "candidates", "trials", "same verdict", "open", "open in the fixed design"],
        rows(),
    )


def _section(title: str, about: str, columns: Sequence[str], rows: Iterator[list[str]]) -> str:
    lines = [" | ".join(row) for row in rows]
    table = [" | ".join(columns), " | ".join(["---"] * len(columns)), *lines]
    return f"## {title}\n\n{about}\n\n" + "\n".join(f"| {line} |" for line in table) + "\n"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
