"""What a command writes where there is no result: the same formats, so that no old file passes for new."""

from __future__ import annotations

from harness.output.document import Case, Document, Kind


def failure_document(message: str, hint: str | None, exit_code: int, kind: Kind, command: str) -> Document:
    """An error in the place of a document of that kind; `exit_code` is the one the command ends with."""
    title = "nothing could be judged" if kind == "check" else "no result"
    return Document(
        kind=kind,
        title=title,
        outcome="FAIL",
        model={"error": message, "hint": hint, "exit_code": exit_code},
        summary=tuple(line for text in (message, hint or "") for line in text.splitlines() if line),
        name=f"harness {command}",
        records=[{"error": message}],
        cases=[Case(f"harness {command}", f"harness.{command}", "error", message, hint or "")],
        verdict=(f"harness check: FAIL {title} (exit code {exit_code})",) if kind == "check" else (),
    )
