"""A report's file made one result at a time: the very bytes that the whole report would give."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StorageError
from harness.model.results import Report, TrialResult
from harness.store import report_file as module
from harness.store.report_file import report_file
from harness.store.writing import to_json
from tests.factories import make_report, make_result, make_trial
from tests.store.test_reading import reports


def laid_out(report: Report, folder: Path) -> bytes:
    bare = report.model_copy(update={"results": ()})
    with report_file(bare, iter(report.results), folder) as file:
        data = b"".join(file.chunks())
        assert hashlib.sha256(data).hexdigest() == file.sha256
        assert b"".join(file.chunks()) == data
        return data


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_file_is_the_whole_reports_byte_for_byte(tmp_path: Path, count: int) -> None:
    report = make_report([make_result(make_trial(seed=seed)) for seed in range(count)])
    assert laid_out(report, tmp_path) == to_json(report)


@given(report=reports())
def test_so_is_that_of_any_report(report: Report, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert laid_out(report, tmp_path_factory.getbasetemp()) == to_json(report)


@given(text=st.sampled_from(['"results": []', '"digest": null', '\n    "results": [],\n', "[\n 1"]))
def test_a_text_that_reads_like_layout_changes_nothing(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    report = make_report([make_result(notes=(text,), log_tail=text)], notes=(text,))
    assert laid_out(report, tmp_path_factory.getbasetemp()) == to_json(report)


def test_what_does_not_fit_into_memory_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MEMORY_BYTES", 1_000)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 500)
    report = make_report()
    assert laid_out(report, tmp_path) == to_json(report)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    def results() -> Iterator[TrialResult]:
        yield make_result()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (
        pytest.raises(StorageError, match=r"cannot write .*report\.json: No space left"),
        report_file(make_report([]), results(), tmp_path),
    ):
        pass
