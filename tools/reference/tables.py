"""The pages that are one or two tables: shipped suites, metrics, statuses and exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.errors import ExitCode, after_signal
from harness.model.metrics import METRICS, Metric
from harness.model.status import STATUSES
from harness.output.formats.known_formats import FORMATS
from harness.suite.matrix import expand
from harness.suite.suite_file import load_suite
from tools.reference.markdown import code, page, table

SUITES: Final = Path(__file__).parents[2] / "suites"

_FAMILIES: Final = {
    "quality": "Scores of the predictions on the evaluation examples. Those on a further `task.eval_split` "
    "have its name in theirs: `eval_validation_mismatched_accuracy`.",
    "training": "Values that follow from the data and the recipe.",
    "time": "Seconds and rates; another machine, or other load on it, changes them.",
    "memory": "Memory, which depends on the machine.",
    "machine": "Work, peaks and energy of the machine.",
}
_GOALS: Final = {"max": "higher", "min": "lower", "none": "neither"}


def suites_page() -> str:
    """Return the shipped suites: their question, their trials and their text."""
    return page(
        "Shipped suites",
        "the files in `suites/`",
        "Each answers one question. Trials are counted for one device and all seeds.",
        *(part for path in sorted(SUITES.glob("*.yaml")) for part in _suite(path)),
    )


def _suite(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    question = re.findall(r"^# (.*\?)$", text, re.MULTILINE)[0]
    trials = len(expand(load_suite(path), ("cpu",)))
    yield f"## {path.stem}\n\n{question} {trials} trials."
    yield f"```yaml\n{text.rstrip()}\n```"


def metrics_page() -> str:
    """Return the table of metrics, by family."""
    return page(
        "Metrics",
        "`METRICS`",
        "The names are those of gates, `--metric`, `reference` and reports. A value that cannot be "
        "measured is null, with its reason.",
        *(f"## {family.capitalize()}\n\n{text}\n\n{_metrics(family)}" for family, text in _FAMILIES.items()),
    )


def _metrics(family: str) -> str:
    return table(
        ["Metric", "In tables", "Meaning", "Unit", "Better", "Range"],
        [
            [f"`{name}`", metric.label, metric.meaning, _unit(metric), _GOALS[metric.goal], metric.range]
            for name, metric in METRICS.items()
            if metric.family == family
        ],
    )


def _unit(metric: Metric) -> str:
    return metric.unit + (", one a step" if metric.several else "")


def outcomes_page() -> str:
    """Return the statuses of trials, the exit codes of commands, and the formats of results."""
    return page(
        "Statuses, exit codes and formats",
        "`STATUSES`, `ExitCode` and `FORMATS`",
        "## Statuses of a trial\n\nA completed trial that predicts one class only is also marked "
        "*degenerate*: it is shown, and never averaged in.",
        table(
            ["Status", "Meaning", "Another attempt with `--retries`", "Runs again when resumed"],
            [
                [f"`{status.name}`", status.meaning, _yes(status.retried), _yes(status.rerun)]
                for status in STATUSES.values()
            ],
        ),
        "## Exit codes\n\nReports are written before the exit code is decided. Standard output has the "
        "result alone; notes, progress and errors go to standard error.",
        table(["Code", "Meaning"], [[f"`{code:d}`", code.meaning] for code in ExitCode if code < 128])
        + f"\n| `{after_signal(2)}`, `{after_signal(15)}` | interrupted by Ctrl-C, by SIGTERM |"
        + f"\n| `{ExitCode.READER_GONE:d}` | {ExitCode.READER_GONE.meaning} |",
        "## Formats\n\n`--format NAME`, or the ending of the file that `-o` names.",
        table(
            ["Format", "Endings", "Of"],
            [
                [f"`{name}`", code(form.endings), _FORMATTED[form.needs or ""]]
                for name, form in FORMATS.items()
            ],
        ),
    )


_FORMATTED: Final = {
    "": "every result",
    "cases": "results with cases: trials, gates, proofs",
    "benchmarks": "reports",
}


def _yes(value: object) -> str:
    return "yes" if value else "no"
