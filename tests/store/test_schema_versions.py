"""A report of every schema version is read for ever; a newer one is refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.analysis.summary import summarize
from harness.errors import InvalidInputError
from harness.model.metrics import METRICS, metrics_of
from harness.model.results import SCHEMA_VERSION
from harness.output.formats.known_formats import FORMATS
from harness.store.reading import load_report
from harness.store.writing import to_json
from tests.output.written import written

KEPT = sorted((Path(__file__).parent / "data").glob("report-*.json"))


def test_there_is_a_report_of_every_version() -> None:
    assert [path.name for path in KEPT] == [
        f"report-{version}.json" for version in range(1, SCHEMA_VERSION + 1)
    ]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_it_is_read_summarized_and_written_in_every_format(path: Path) -> None:
    report = load_report(path)
    (row,) = summarize(report)
    scored = [name for name in metrics_of("quality") if METRICS[name].of == "classification"]
    assert set(row.quality) == {name for name in scored if not METRICS[name].later}
    assert report.proofs[0].parity is not None
    for name in FORMATS:
        # Annotations are of what went wrong, and nothing did.
        assert bool(written(report, name)) == (name != "github")


def test_the_newest_is_written_as_it_was_read() -> None:
    report = load_report(KEPT[-1])
    assert to_json(report) == KEPT[-1].read_bytes()


def test_one_of_a_newer_version_is_refused_with_both_numbers(tmp_path: Path) -> None:
    newer = json.loads(KEPT[-1].read_text()) | {"schema_version": SCHEMA_VERSION + 2}
    path = tmp_path / "report.json"
    path.write_text(json.dumps(newer))
    with pytest.raises(InvalidInputError, match=rf"schema {SCHEMA_VERSION + 2}, this is {SCHEMA_VERSION}"):
        load_report(path)
