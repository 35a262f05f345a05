"""A report that lies in a file is printed as the one in memory is: safe for a terminal and a runner's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.printing import print_stored
from harness.output.formats.json_text import to_json_text
from harness.store.writing import to_json
from tests.output.hostile import HOSTILE, hostile_report


@pytest.mark.parametrize("text", [one for one in HOSTILE if "\ud800" not in one])
def test_line_by_line_is_as_safe_as_the_whole(
    text: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    report = hostile_report(text)
    (tmp_path / "report.json").write_bytes(to_json(report))
    print_stored(tmp_path / "report.json", report)
    assert capfdbinary.readouterr().out == to_json_text(report).encode()
