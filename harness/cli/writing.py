"""Write the text of a result to standard output or to the file of `-o`."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.cli.messages import say
from harness.store.writing import write_atomic


def write_text(text: str, output: Path | None) -> None:
    """Write a result to the file, or to standard output where that is None."""
    if output is not None:
        write_atomic(output, encoded(text))
        say(f"wrote {output}")
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(encoded(text))
    sys.stdout.buffer.flush()


def encoded(text: str) -> bytes:
    """UTF-8. Every format's text is safe already; an oversight must not end in a traceback."""
    return text.encode("utf-8", "backslashreplace")
