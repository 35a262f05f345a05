"""Reading a large report in parts gives the same report as reading it whole, or leaves it to the latter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.model.results import Report
from harness.store.large_report import read_large
from harness.store.reading import load_report
from harness.store.writing import to_json
from tests.factories import make_report, make_result, make_trial


@pytest.fixture
def report() -> Report:
    results = list(make_report().results)
    failed = make_result(make_trial("bucketed"), status="failed", reason='quotes " and\n    },\n    {')
    return make_report([*results, failed])


def write(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    return path


def test_it_is_the_same_report(tmp_path: Path, report: Report) -> None:
    path = write(tmp_path / "report.json", to_json(report))
    found = read_large(path, least=0)
    assert found == load_report(path) == report
    assert found is not None
    assert to_json(found) == path.read_bytes()


def test_equal_parts_are_held_once(tmp_path: Path, report: Report) -> None:
    found = read_large(write(tmp_path / "report.json", to_json(report)), least=0)
    assert found is not None
    one, two = found.results[:2]
    assert one.environment is two.environment
    assert one.checkpoint is two.checkpoint
    assert one.trial.train is two.trial.train
    assert one.predictions is not None
    assert two.predictions is not None
    assert one.predictions.labels is two.predictions.labels


def test_a_small_file_is_left_to_the_reader_of_whole_files(tmp_path: Path, report: Report) -> None:
    assert read_large(write(tmp_path / "report.json", to_json(report))) is None
    assert read_large(tmp_path / "nothing.json") is None
    assert read_large(tmp_path) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"duration_s": 12.5', b'"duration_s": 12.6'),
        (b'"duration_s": 12.5', b'"duration_s": NaN'),
        (b'"duration_s": 12.5', b'"duration_s": 1.5, "duration_s": 12.5'),
        (b'"status": "completed"', b'"status": "finished"'),
        (b'"digest": "sha256:', b'"digest": "sha256:0'),
        (b'"harness_version": "0.1.0"', b'"harness_version": "0.1.1"'),
    ],
)
def test_a_changed_file_is_left_to_the_reader_of_whole_files(
    tmp_path: Path, report: Report, before: bytes, after: bytes
) -> None:
    text = to_json(report)
    assert before in text
    assert read_large(write(tmp_path / "report.json", text.replace(before, after, 1)), least=0) is None


def test_a_cut_appended_or_reformatted_file_is_left_to_the_reader_of_whole_files(
    tmp_path: Path, report: Report
) -> None:
    text = to_json(report)
    for other in (
        text[: len(text) // 2],
        text[:-2],
        text + b"{}",
        json.dumps(json.loads(text)).encode(),
        b"[]",
    ):
        assert read_large(write(tmp_path / "report.json", other), least=0) is None
    assert read_large(write(tmp_path / "report.json", to_json(make_report([]))), least=0) is None
