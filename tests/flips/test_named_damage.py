"""Damage that once stopped a suite for good, or made trials run again without a message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from harness.api import RunOptions, run_suite
from harness.model.suite import Suite
from harness.store.reading import NewerSchemaError
from tests.flips.in_process import in_process
from tests.running import runners
from tests.running.fakes import Watcher, fake_suite

SUITE: Final = fake_suite((0, 1))
EDITED: Final = fake_suite((0, 1, 2))


def run(reports: Path, suite: Suite = SUITE, *, fresh: bool = False) -> tuple[Path, Watcher]:
    watcher = Watcher()
    options = RunOptions(assets="embedded", reports=reports, runner="none:none", parity=False, fresh=fresh)
    done = run_suite(suite, options, observer=watcher, seams=in_process(runners.good))
    assert {result.status for result in done.brief.results} == {"completed"}
    return done.directory, watcher


def flip(file: Path, text: bytes, mask: int = 2) -> None:
    """Flip a bit, the second one unless given, of the last byte of a text in the file."""
    at = file.read_bytes().index(text) + len(text) - 1
    content = bytearray(file.read_bytes())
    content[at] ^= mask
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["report.json", "plan.json"])
def test_a_schema_version_that_was_flipped_leaves_a_way_on(name: str, tmp_path: Path) -> None:
    flip(run(tmp_path)[0] / name, b'"schema_version": 2', mask=1)
    with pytest.raises(NewerSchemaError, match="written by schema 3") as caught:
        run(tmp_path)
    assert "start a new run with --fresh" in (caught.value.hint or "")
    run(tmp_path, fresh=True)
    run(tmp_path)


def test_a_damaged_report_is_named_when_it_is_written_again(tmp_path: Path) -> None:
    directory, _ = run(tmp_path)
    flip(directory / "report.json", b'"status": "c')
    again, watcher = run(tmp_path)
    assert again == directory
    assert len(watcher.reused) == 2
    assert [note for note in watcher.notes if f"{directory / 'report.json'}: " in note]
    assert b'"status": "completed"' in (directory / "report.json").read_bytes()


def _damage_a_result(directory: Path) -> Path:
    file = min(directory.glob("trials/*/result.json"))
    flip(file, b'"status": "c')
    return file


def _damage_the_plan(directory: Path) -> Path:
    flip(directory / "plan.json", b'"digest": "')
    return directory / "plan.json"


@pytest.mark.parametrize(("damage", "reused"), [(_damage_a_result, 1), (_damage_the_plan, 0)])
def test_an_edited_suite_names_the_damaged_file_for_which_trials_run_again(
    damage: Callable[[Path], Path], reused: int, tmp_path: Path
) -> None:
    directory, _ = run(tmp_path)
    (directory / "report.json").unlink()
    damaged = damage(directory)
    _, watcher = run(tmp_path, EDITED)
    assert len(watcher.reused) == reused
    assert [note for note in watcher.notes if note.startswith(f"not counted as done: {damaged}: ")]
