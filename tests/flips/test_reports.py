"""Damage to a stored report, baseline or calibration: the same output, or a refusal that names the file."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pytest

from harness.analysis.over_time.noise import band
from harness.assets.places import wanted_cache_root
from harness.model.calibration import Noise
from harness.model.suite import Gate
from harness.store.noise_file import write_noise
from harness.store.writing import to_json
from tests.factories import STARTED, make_report, make_suite, make_trial
from tests.flips.command_line import Said, harness
from tests.flips.damage import Outcome, damage_each
from tests.running.fakes import REPOSITORY

Flips = Callable[[float], range]
Count = Callable[[str, Outcome], None]

REPORT: Final = make_report(
    suite=make_suite(gates=(Gate(metric="train_samples_per_second", max_drop="10%"),))
)
ENVIRONMENT: Final = REPORT.results[0].environment


def calibration() -> Noise:
    assert ENVIRONMENT is not None
    values = (25.0, 25.5, 24.75, 25.25, 25.125)
    return Noise(
        fingerprint=ENVIRONMENT.fingerprint,
        suite="padding",
        created=STARTED,
        trial=make_trial(),
        repeats=len(values),
        values={"train_samples_per_second": values},
        bands={"train_samples_per_second": band(values)},
    )


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an intact report, a baseline and a calibration, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    Path("intact.json").write_bytes(to_json(REPORT))
    assert harness("baseline", "set", "intact.json", "main").code == 0
    write_noise(wanted_cache_root() / "noise", calibration())
    return tmp_path


def look(
    commands: Sequence[tuple[object, ...]],
    intact: dict[tuple[object, ...], Said],
    file: Path,
    draw: random.Random,
) -> Outcome:
    """Run one of the commands: the output of the intact file, or exit code 2 and its name."""
    line = draw.choice(commands)
    found = harness(*line)
    if found == intact[line]:
        return "no effect"
    words = " ".join((found.out + found.err).split())
    assert found.code == 2, f"{line} ended with {found.code}: {words}"
    assert file.name in words, f"{line}: {words}"
    return "refused"


READING: Final[tuple[tuple[object, ...], ...]] = (
    ("show", "report.json"),
    ("show", "report.json", "--format", "csv"),
    ("check", "report.json", "--baseline", "main"),
    ("check", "intact.json", "--baseline", "report.json"),
    ("compare", "report.json", "intact.json"),
    ("compare", "intact.json", "report.json"),
    ("rescore", "report.json", "--scorer", "tests.cli.scorer"),
    ("baseline", "set", "report.json", "other"),
)


def test_a_damaged_report_is_read_as_it_was_or_refused(kept: Path, flips: Flips, tally: Count) -> None:
    report = Path("report.json")

    def restore() -> list[Path]:
        shutil.copyfile("intact.json", report)
        Path("reports/baselines/other.json").unlink(missing_ok=True)
        return [report]

    restore()
    intact = {line: harness(*line) for line in READING if line[0] != "baseline"}
    restore()
    intact[READING[-1]] = harness(*READING[-1])
    assert {said.code for said in intact.values()} == {0}, intact
    damage_each(
        "finished run", flips(0.13), restore, lambda file, draw: look(READING, intact, file, draw), tally
    )


USING_BASELINE: Final[tuple[tuple[object, ...], ...]] = (
    ("check", "intact.json", "--baseline", "main"),
    ("compare", "intact.json", "--baseline", "main"),
    ("baseline", "list"),
    ("baseline", "show", "main"),
)


def test_a_damaged_baseline_is_refused_until_it_is_kept_again(kept: Path, flips: Flips, tally: Count) -> None:
    baseline = Path("reports/baselines/main.json")

    def restore() -> list[Path]:
        kept_again = harness("baseline", "set", "intact.json", "main")
        assert kept_again.code == 0, kept_again.err
        return [baseline]

    intact = {line: harness(*line) for line in USING_BASELINE}
    assert {said.code for said in intact.values()} == {0}, intact
    damage_each(
        "kept baseline",
        flips(0.06),
        restore,
        lambda file, draw: look(USING_BASELINE, intact, file, draw),
        tally,
    )


USING_NOISE: Final[tuple[tuple[object, ...], ...]] = (
    ("check", "intact.json", "--baseline", "main"),
    ("compare", "intact.json", "--baseline", "main"),
    ("calibrate", "--list"),
)


def test_a_damaged_calibration_is_refused_until_it_is_cleared_or_measured_again(
    kept: Path, flips: Flips, tally: Count
) -> None:
    folder = wanted_cache_root() / "noise"
    intact = {line: harness(*line) for line in USING_NOISE}
    assert {said.code for said in intact.values()} == {0}, intact
    harness("calibrate", "--clear")
    without = {line: harness(*line) for line in USING_NOISE[:2]}
    assert without[USING_NOISE[0]] != intact[USING_NOISE[0]]

    def look_at_noise(file: Path, draw: random.Random) -> Outcome:
        outcome = look(USING_NOISE, intact, file, draw)
        if outcome == "refused" and draw.random() < 0.5:
            assert harness("calibrate", "--clear").code == 0
            assert {line: harness(*line) for line in without} == without
        return outcome

    damage_each(
        "calibration", flips(0.07), lambda: [write_noise(folder, calibration())], look_at_noise, tally
    )
    write_noise(folder, calibration())
    assert {line: harness(*line) for line in USING_NOISE} == intact
