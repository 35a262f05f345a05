from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.training.measuring.peaks import FRESH, VALID, kept_peak

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WORK = "products bf16 hidden 384"


class Bench:
    """Counts how often it was asked, and gives another rate each time."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> float:
        self.runs += 1
        return 100.0 * self.runs


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_a_peak_is_measured_once_and_then_read(tmp_path: Path) -> None:
    bench = Bench()
    found = [kept_peak(tmp_path / "a" / "b", "f" * 12, WORK, bench, now=lambda: THEN) for _ in range(3)]
    assert (found, bench.runs) == ([100.0] * 3, 1)
    document = json.loads(only_file(tmp_path / "a" / "b").read_text())
    assert [*document] == ["digest", "peak"]
    assert document["peak"] == {
        "format": 1,
        "fingerprint": "f" * 12,
        "work": WORK,
        "per_second": 100.0,
        "seen": "2026-01-02T03:04:05Z",
        "measured": "2026-01-02T03:04:05Z",
    }


def test_another_machine_or_other_work_has_a_peak_of_its_own(tmp_path: Path) -> None:
    bench = Bench()
    keys = [("a" * 12, WORK), ("b" * 12, WORK), ("a" * 12, "copy")]
    found = [kept_peak(tmp_path, *key, bench, now=lambda: THEN) for key in keys * 2]
    assert found == [100.0, 200.0, 300.0] * 2


@pytest.mark.parametrize(
    ("later", "runs"),
    [(timedelta(0), 1), (FRESH - timedelta(seconds=1), 1), (FRESH, 2), (timedelta(seconds=-1), 2)],
    ids=["at once", "just in time", "too old", "the clock was set back"],
)
def test_a_peak_is_looked_for_again_after_some_minutes(later: timedelta, runs: int, tmp_path: Path) -> None:
    bench = Bench()
    kept_peak(tmp_path, "f" * 12, WORK, bench, now=lambda: THEN)
    assert kept_peak(tmp_path, "f" * 12, WORK, bench, now=lambda: THEN + later) == 100.0 * runs
    assert bench.runs == runs


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "0" * 12},
        {"work": "copy"},
        {"format": 2},
        {"per_second": 99.0},
        {"seen": "2026-01-02T03:04:06Z"},
        {"per_second": 0.0},
        {"per_second": -1.0},
        {"per_second": "fast"},
        {"measured": "2026-01-02T03:04:05"},
        {"seen": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_file_that_is_not_its_own_is_measured_anew_and_overwritten(
    change: dict[str, object], tmp_path: Path
) -> None:
    bench = Bench()
    kept_peak(tmp_path, "f" * 12, WORK, bench, now=lambda: THEN)
    file = only_file(tmp_path)
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"peak": document["peak"] | change}))
    found = [kept_peak(tmp_path, "f" * 12, WORK, bench, now=lambda: THEN) for _ in range(2)]
    assert (found, bench.runs) == ([200.0] * 2, 2)


@given(content=st.one_of(st.binary(max_size=200), st.integers(0, 100)))
def test_no_content_of_the_file_is_believed_or_ends_a_trial(
    content: bytes | int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, bench = tmp_path_factory.mktemp("peaks"), Bench()
    kept_peak(folder, "f" * 12, WORK, bench, now=lambda: THEN)
    file = only_file(folder)
    whole = file.read_bytes()
    file.write_bytes(whole[:content] if isinstance(content, int) else content)
    assert kept_peak(folder, "f" * 12, WORK, bench, now=lambda: THEN) == 200.0
    assert whole != file.read_bytes()
    assert json.loads(file.read_text())["peak"] == json.loads(whole)["peak"] | {"per_second": 200.0}


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    bench, folder, elsewhere = Bench(), tmp_path / "peaks", tmp_path / "elsewhere"
    kept_peak(folder, "f" * 12, WORK, bench, now=lambda: THEN)
    file = only_file(folder)
    elsewhere.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(elsewhere)
    assert kept_peak(folder, "f" * 12, WORK, bench, now=lambda: THEN) == 200.0
    assert not file.is_symlink()
    assert b"100.0" in elsewhere.read_bytes()


@pytest.mark.parametrize("folder", ["file", "file/peaks"])
def test_a_peak_without_a_place_in_the_cache_is_measured_each_time_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str
) -> None:
    (tmp_path / "file").touch()
    bench = Bench()
    found = [kept_peak(tmp_path / folder, "f" * 12, WORK, bench, now=lambda: THEN) for _ in range(2)]
    assert found == [100.0, 200.0]
    assert capsys.readouterr().err.count("not kept for the trials that follow: ") == 2


def test_the_faster_of_two_counts_for_a_day_after_it_was_seen(tmp_path: Path) -> None:
    rates = iter([500.0, 80.0, 90.0, 70.0, 600.0])

    def peak_at(moment: datetime) -> float:
        return kept_peak(tmp_path, "f" * 12, WORK, lambda: next(rates), now=lambda: moment)

    quiet, busy = THEN, THEN + FRESH
    assert [peak_at(quiet), peak_at(busy), peak_at(busy + FRESH / 2)] == [500.0, 500.0, 500.0]
    next_day = THEN + VALID
    # What was seen yesterday no longer counts, and of two of today the faster does.
    assert [peak_at(next_day), peak_at(next_day + FRESH), peak_at(next_day + 2 * FRESH)] == [
        90.0,
        90.0,
        600.0,
    ]
    assert next(rates, None) is None
