"""How far equal runs lie apart, and when that is used."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import combinations, count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.over_time.noise import (
    accumulated,
    band,
    bands_of,
    calibrate,
    noise_of,
    run_variance_of,
    suite_of,
)
from harness.analysis.stats.machine_states import run_variance
from harness.analysis.stats.ratios import RunVariance
from harness.errors import InvalidInputError
from harness.model.arguments import Train
from harness.model.calibration import Noise
from harness.model.results import Report
from harness.model.suite import Suite
from harness.model.values import Padding, Tokenization
from harness.store.noise_file import (
    clear_noise,
    noise_file,
    noise_files,
    noise_for,
    read_noise,
    write_noise,
)
from harness.store.writing import to_json
from harness.suite.matrix import expand
from harness.suite.suite_file import load_suite
from tests.factories import make_environment, make_noise, make_report, make_result, make_suite, make_trial

SPEED = "train_samples_per_second"
SUITES = Path(__file__).parents[2] / "suites"


def bands_at(reports: list[Report], folder: Path) -> Mapping[str, float]:
    return bands_of(noise_for(reports, folder))


def run_variance_at(reports: list[Report], folder: Path) -> Mapping[str, RunVariance]:
    return run_variance_of(noise_for(reports, folder))


def run_at(*speeds: float) -> list[Report]:
    return [make_report([make_result(samples_per_second=speed)]) for speed in speeds]


@given(values=st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=8))
def test_the_band_covers_most_ratios_and_never_more_than_all(values: list[float]) -> None:
    ratios = [max(pair) / min(pair) - 1 for pair in combinations(values, 2)]
    assert 0 <= band(values) <= max(ratios)
    assert sum(ratio <= band(values) + 1e-9 for ratio in ratios) >= 0.9 * len(ratios) - 1


def test_the_band_of_two_runs_is_their_ratio() -> None:
    assert band([10.0, 11.0]) == pytest.approx(0.1)
    assert band([5.0, 5.0, 5.0]) == 0


def test_a_machine_is_calibrated_by_running_the_same_trial_again() -> None:
    speeds = iter((25.0, 27.5, 26.0))
    seen: list[Suite] = []

    def run(suite: Suite) -> Report:
        seen.append(suite)
        return run_at(next(speeds))[0]

    noise = calibrate(suite_of(make_trial(), make_suite()), 3, run)
    assert len(seen) == 3
    assert len(set(map(id, seen))) == 1
    assert 0.05 < noise.bands[SPEED] < 0.15
    assert "eval_accuracy" not in noise.bands
    assert "peak_memory_host_bytes" not in noise.bands
    assert Noise.model_validate_json(to_json(noise)) == noise


def test_the_suite_of_a_trial_gives_that_trial_back() -> None:
    suite = make_suite(name="x" * 64)
    numbers = count()
    for padding in (Padding(strategy="unpadded"), Padding(strategy="static", length=128)):
        trial = make_trial(
            padding,
            seed=next(numbers) + 5,
            revision="abc",
            precision="bf16",
            attention="eager",
            token_type_ids="drop",
            train=Train(learning_rate=3e-5),
        )
        assert expand(suite_of(trial, suite), ["cpu"]) == (trial,)


def test_the_calibration_suite_of_a_trial_that_tokenizes_tokenizes() -> None:
    trial = make_trial(
        tokenization=Tokenization(method="map_batched", num_proc=2, batch_size=100), tokenizer="slow"
    )
    assert expand(suite_of(trial, make_suite()), ["cuda:0", "cpu"]) == (trial,)


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_calibration_suite_of_every_shipped_trial_gives_that_trial(path: Path) -> None:
    suite = load_suite(path)
    for trial in expand(suite, ["cuda:0", "cpu"]):
        assert [each.id for each in expand(suite_of(trial, suite), ["cuda:0", "cpu"])] == [trial.id]


def test_a_band_may_be_wider_than_the_value_itself() -> None:
    noise = noise_of(run_at(10.0, 50.0))
    assert noise.bands[SPEED] > 3


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        ([make_report([make_result(status="oom")])], "ended oom in train"),
        ([make_report([])], "0 trials, not one"),
        ([make_report()], "6 trials, not one"),
        ([*run_at(1.0), make_report([make_result(make_trial(seed=1))])], "2 different trials"),
        (
            [*run_at(1.0), make_report([make_result(environment=make_environment(threads=9))])],
            "on 2 machines",
        ),
    ],
)
def test_what_is_no_noise_is_refused(reports: list[Report], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        noise_of(reports)


def test_one_run_cannot_differ() -> None:
    with pytest.raises(InvalidInputError, match="cannot differ"):
        calibrate(make_suite(), 1, lambda _: make_report())


def test_the_bands_are_used_where_all_trials_ran_on_that_machine(tmp_path: Path) -> None:
    noise = noise_of(run_at(25.0, 26.0))
    assert bands_at(run_at(25.0), tmp_path / "noise") == {}
    file = write_noise(tmp_path / "noise", noise)
    assert file == noise_file(tmp_path / "noise", noise.fingerprint)
    assert read_noise(file) == noise
    assert bands_at(run_at(25.0, 30.0), tmp_path / "noise") == noise.bands
    elsewhere = make_report([make_result(environment=make_environment(threads=9))])
    assert bands_at([*run_at(25.0), elsewhere], tmp_path / "noise") == {}
    assert bands_at([make_report([])], tmp_path / "noise") == {}


def test_from_two_states_on_the_variance_between_runs_is_known(tmp_path: Path) -> None:
    write_noise(tmp_path, make_noise([25.0, 26.0]))
    assert run_variance_at(run_at(25.0), tmp_path) == {}
    both = make_noise([25.0, 26.0], [30.0, 31.0])
    read = read_noise(write_noise(tmp_path, both))
    assert (read, read.repeats) == (both, 4)
    found = run_variance_at(run_at(25.0), tmp_path)
    assert found.keys() == both.bands.keys()
    assert found[SPEED] == run_variance([state.values[SPEED] for state in both.states])
    elsewhere = make_report([make_result(environment=make_environment(threads=9))])
    assert run_variance_at([elsewhere], tmp_path) == {}


def test_a_state_that_is_added_again_is_counted_once(tmp_path: Path) -> None:
    kept = make_noise([25.0, 26.0], [30.0, 31.0])
    again = accumulated(kept, make_noise([25.0, 26.0, 27.0]))
    assert (again.repeats, len(again.states)) == (5, 2)
    assert read_noise(write_noise(tmp_path, again)) == again


def edit_bands(document: dict[str, Any], band: float) -> None:
    document["noise"]["bands"][SPEED] = band


def edit_digest(document: dict[str, Any], _: float) -> None:
    document["digest"] = document["digest"][:-4] + "0000"


def unseal(document: dict[str, Any], _: float) -> None:
    noise = document.pop("noise")
    document.clear()
    document.update(noise)


@pytest.mark.parametrize("edit", [edit_bands, edit_digest, unseal])
def test_an_edited_calibration_is_refused_with_its_file_and_the_command(
    tmp_path: Path, edit: Callable[[dict[str, Any], float], None]
) -> None:
    file = write_noise(tmp_path, noise_of(run_at(25.0, 26.0)))
    document = json.loads(file.read_text())
    edit(document, 0.5)
    file.write_text(json.dumps(document))
    with pytest.raises(InvalidInputError) as caught:
        bands_at(run_at(25.0), tmp_path)
    assert caught.value.message.startswith(f"{file}: ")
    assert "harness calibrate SUITE" in str(caught.value.hint)


def test_a_torn_calibration_is_refused(tmp_path: Path) -> None:
    file = write_noise(tmp_path, noise_of(run_at(25.0, 26.0)))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(InvalidInputError, match="not valid JSON") as caught:
        bands_at(run_at(25.0), tmp_path)
    assert "harness calibrate --clear" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": {"train_seconds": 0.5}}, "does not follow from its values"),
        ({"bands": {"eval_beauty": 0.1}}, "there is no metric 'eval_beauty'"),
        ({"values": {}}, "does not follow from its values"),
        ({"states": make_noise([25.0, 27.0]).states}, "do not follow from its states"),
        ({"states": noise_of(run_at(25.0, 26.0)).states * 2}, "two states have the same id"),
        ({"fingerprint": "0" * 12}, "it is of machine 000000000000"),
    ],
)
def test_a_sealed_calibration_must_follow_from_its_values(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    noise = noise_of(run_at(25.0, 26.0))
    forged = write_noise(tmp_path, noise.model_copy(update=change))
    forged.replace(noise_file(tmp_path, noise.fingerprint))
    with pytest.raises(InvalidInputError, match=message):
        bands_at(run_at(25.0), tmp_path)


def test_calibrations_are_listed_and_removed_damaged_ones_too(tmp_path: Path) -> None:
    assert clear_noise(tmp_path / "nowhere") == []
    file = write_noise(tmp_path, noise_of(run_at(25.0, 26.0)))
    other = tmp_path / "0123456789ab.json"
    other.write_text("{")
    (tmp_path / "notes.txt").touch()
    assert noise_files(tmp_path) == sorted([file, other])
    assert clear_noise(tmp_path) == sorted([file, other])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
