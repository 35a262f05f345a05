"""What a check writes when nothing could be judged: the same formats, so that no old file passes for new."""

from __future__ import annotations

import json

from harness.errors import HarnessError
from harness.output.cases import Case
from harness.output.formats.github import to_annotations
from harness.output.formats.json_text import safe_json
from harness.output.formats.junit import to_junit
from harness.output.formats.markdown import markdown_text
from harness.output.formats.spreadsheet import csv_cell
from harness.output.safe_text import safe_lines, safe_text


def failure_line(error: HarnessError) -> str:
    """The verdict line of a check that could not be made."""
    return f"harness check: FAIL nothing could be judged (exit code {error.exit_code})"


def failure(error: HarnessError, name: str) -> str:
    """The error in the format of that name."""
    case = Case(
        name="harness check",
        classname="harness.check",
        status="error",
        message=error.message,
        details=error.hint or "",
    )
    match name:
        case "json":
            found = {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
            return safe_json(json.dumps(found, indent=2)) + "\n"
        case "junit":
            return to_junit("gates", [case])
        case "github":
            return to_annotations([case])
        case "markdown":
            lines = [*safe_lines(error.message), *safe_lines(error.hint or "")]
            return (
                "# FAIL: nothing could be judged\n\n"
                + "\n".join(f"- {markdown_text(line)}" for line in lines if line)
                + "\n"
            )
        case "csv":
            return f'"error"\r\n"{csv_cell(error.message).replace(chr(34), chr(34) * 2)}"\r\n'
        case _:
            return f"nothing could be judged: {safe_text(error.message, 1_000)}\n"
