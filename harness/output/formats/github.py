"""GitHub Actions: annotations as workflow commands, and the step summary, both inside their limits.

Limits: 10 errors and 10 warnings a step, 1 MiB for a step's summary. Source:
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from harness.output.document import Case, Document
from harness.output.safe_text import safe_text

MOST_OF_A_KIND: Final = 10
LARGEST_SUMMARY: Final = 1024 * 1024
LONGEST_MESSAGE: Final = 2_000

_CUT: Final = "\n\nThe rest is left out: a step summary is limited to 1 MiB. The report has everything.\n"


def active(environment: Mapping[str, str]) -> bool:
    """Whether these variables are those of a GitHub Actions step."""
    return environment.get("GITHUB_ACTIONS") == "true"


def to_annotations(document: Document) -> str:
    """A line for each case that did not pass: failed and error as errors, skipped as warnings.

    Where there are more of a kind than a step may show, the last line tells how many.
    """
    cases = list(document.cases)
    bad = [case for case in cases if case.status in ("failed", "error")]
    skipped = [case for case in cases if case.status == "skipped"]
    return "".join(f"{line}\n" for line in (*_commands("error", bad), *_commands("warning", skipped)))


def step_summary(markdown: str) -> str:
    """Return the Markdown, cut at a line inside the limit, with a note about the cut."""
    data = markdown.encode("utf-8", "backslashreplace")
    if len(data) <= LARGEST_SUMMARY:
        return data.decode("utf-8")
    kept = data[: LARGEST_SUMMARY - len(_CUT.encode())]
    whole_lines = kept[: kept.rfind(b"\n") + 1] or kept
    return whole_lines.decode("utf-8", "ignore").rstrip("\n") + _CUT


def command_message(text: str) -> str:
    """Text as the message of a workflow command."""
    return safe_text(text, LONGEST_MESSAGE).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    """Text as a property of a workflow command, which also ends at colons and commas."""
    return command_message(text).replace(":", "%3A").replace(",", "%2C")


def _commands(kind: str, cases: Sequence[Case]) -> list[str]:
    if len(cases) <= MOST_OF_A_KIND:
        return [_command(kind, case) for case in cases]
    shown = cases[: MOST_OF_A_KIND - 1]
    more = f"{len(cases) - len(shown)} more are in the report"
    return [*(_command(kind, case) for case in shown), f"::{kind} title=harness::{more}"]


def _command(kind: str, case: Case) -> str:
    return f"::{kind} title={command_property(case.name)}::{command_message(case.message)}"
