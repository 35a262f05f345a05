"""The command line in this process, a hundred times faster than in one of its own."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from harness import cli


@dataclass(frozen=True, slots=True)
class Said:
    """What a command ended with."""

    code: int
    out: str
    err: str


def harness(*line: object) -> Said:
    """Run a command line that works in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli._exit_code(list(map(str, line)))
    out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    said = Said(code, out.buffer.getvalue().decode(), err.getvalue())
    assert "Traceback" not in said.out + said.err, said.err
    return said
