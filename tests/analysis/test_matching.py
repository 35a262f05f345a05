"""Which trials of two variants are compared, and that a difference in any one of them is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.analysis.comparison.comparing import compare
from harness.analysis.comparison.models import Comparison, ComparisonRow
from harness.analysis.training_verdicts import training_of
from harness.model.environment import Device
from harness.model.proof import TrainingCheck, TrainingProof
from harness.model.results import Report, TrialResult
from harness.model.tasks import Limit, Task
from tests.analysis.test_comparison import CALIBRATED, SPEED, report, result
from tests.factories import make_checkpoint, make_environment, make_measurements, make_trial

SCORE = "eval_accuracy"
OLDER = make_environment(packages={"harness": "0.1.0", "torch": "2.13.0", "transformers": "4.57.0"})


def run(
    name: str, seeds: Sequence[int], changes: dict[int, dict[str, Any]] | None = None, errors: int = 30
) -> Report:
    """A variant that is compared, with changes of the trials of some seeds, and another that always is."""
    trials = [
        result(make_trial(seed=seed), range(errors + seed % 3), speed=25.0 + 0.1 * seed).model_copy(
            update=(changes or {}).get(seed, {})
        )
        for seed in seeds
    ]
    other = [result(make_trial("static", seed), range(30), speed=20.0 + 0.1 * seed) for seed in range(3)]
    return report([*trials, *other], name)


def row(compared: Comparison, metric: str) -> ComparisonRow:
    return next(each for each in compared.rows if (each.variant, each.metric) == ("dynamic", metric))


def compared(one: Report, two: Report, **terms: Any) -> Comparison:
    return compare([one, two], metrics=[SCORE, SPEED], run_variance=CALIBRATED, **terms)


def test_seeds_are_in_order_whatever_the_order_of_the_plan() -> None:
    found = compared(run("a", [16, 8, 1, 24]), run("b", [8, 9, 24, 1]))
    for metric in (SCORE, SPEED):
        assert (row(found, metric).seeds, row(found, metric).dropped_seeds) == ((1, 8, 24), (9, 16))


def test_without_a_common_seed_scores_are_unpaired_and_times_are_not_compared() -> None:
    found = compared(run("a", [0, 1, 2]), run("b", [16, 8, 9]))
    score, speed = row(found, SCORE), row(found, SPEED)
    assert score.test == "unpaired seeds, paired examples"
    assert (score.seeds, score.dropped_seeds, score.candidate.trials) == ((), (), 3)
    note = "the variance over seeds is estimated from the baseline's 3 seeds and the candidate's 3 seeds"
    assert any(note in each for each in score.notes)
    assert (speed.verdict, speed.effect) == ("not comparable", None)
    assert "no seed is on both sides" in speed.notes
    assert speed.dropped_seeds == (0, 1, 2, 8, 9, 16)


def test_with_one_seed_on_each_side_only_the_side_with_several_is_told() -> None:
    for one, two, name in (([0, 1, 2], [7], "baseline"), ([7], [0, 1, 2], "candidate")):
        notes = row(compared(run("a", one), run("b", two)), SCORE).notes
        assert f"unpaired seeds: the variance over seeds is estimated from the {name}'s 3 seeds" in notes


def test_one_common_seed_of_several_is_unpaired_and_two_are_pairs() -> None:
    for seeds, test in (([2, 3, 4], "unpaired"), ([1, 2, 3], "paired"), ([2], "unpaired")):
        found = row(compared(run("a", [0, 1, 2]), run("b", seeds, errors=33)), SCORE)
        assert (found.test or "").startswith(test), seeds
        assert found.baseline.trials == (2 if test == "paired" else 3)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("others", [(0, 1, 2), (7, 8)])
def test_another_library_in_any_one_trial_of_either_side_is_a_mismatch(
    side: int, seed: int, others: Sequence[int]
) -> None:
    sides: list[Report] = [run("a", others), run("a", others)]
    sides[side] = run("b", [0, 1, 2], {seed: {"environment": OLDER}})
    found = compared(sides[0], sides[1])
    assert row(found, SCORE).verdict == "not comparable"
    assert "libraries" in row(found, SCORE).mismatches


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("seed", [0, 2])
def test_a_side_that_mixes_inputs_is_not_comparable_and_is_named(side: int, seed: int) -> None:
    mixed = run("b", [0, 1, 2], {seed: {"checkpoint": make_checkpoint(weights_sha256="00" * 32)}})
    whole = run("a", [0, 1, 2])
    sides = (mixed, whole) if side == 0 else (whole, mixed)
    for metric in (SCORE, SPEED):
        found = row(compared(*sides, allow_mismatch=["weights"]), metric)
        assert (found.verdict, found.effect) == ("not comparable", None)
        name = "the baseline" if side == 0 else "b"
        assert found.notes[0].startswith(f"{name} mixes inputs: the checkpoint's weights")


@pytest.mark.parametrize("side", [0, 1])
def test_a_trial_that_ran_with_others_bars_the_times_of_its_pair_alone(side: int) -> None:
    sides = [run("a", range(3)), run("a", range(3))]
    sides[side] = run("b", range(3), {2: {"concurrent": 2}})
    found = compared(*sides)
    assert row(found, SPEED).verdict == "not comparable"
    assert row(found, SCORE).verdict == "same"


def test_a_metric_that_was_not_measured_on_another_device_is_missing() -> None:
    gpu = make_environment(device=Device(kind="cuda", index=0, name="A100"), threads=2)
    without = [
        one
        for one in make_measurements(result(make_trial()).predictions)  # type: ignore[arg-type]
        if one.metric != SPEED
    ]
    found = compared(
        run("a", range(3)),
        run("b", range(3), {seed: {"environment": gpu, "measurements": tuple(without)} for seed in range(3)}),
    )
    assert row(found, SPEED).verdict == "missing"
    assert row(found, SPEED).notes == (f"{SPEED} was not measured in b: the report lacks it",)
    assert row(found, SPEED).across_devices


def _on(device: str, name: str, seed: int = 0) -> TrialResult:
    gpu = make_environment(device=Device(kind="cuda", index=0, name=name), threads=2)
    return result(make_trial(device=device, seed=seed), range(30), environment=gpu)


def test_the_one_device_that_is_left_on_each_side_is_the_counterpart() -> None:
    one = report([_on("cuda:0", "A100"), _on("cuda:1", "T4")], "a")
    for left, pairs in (
        ([_on("cuda:2", "H100")], [("cuda:0", "cuda:0"), ("cuda:1", "cuda:2")]),
        (
            [_on("cuda:2", "H100"), _on("cuda:3", "H100")],
            [("cuda:0", "cuda:0"), ("cuda:1", None), (None, "cuda:2"), (None, "cuda:3")],
        ),
    ):
        two = report([_on("cuda:0", "A100"), *left], "b")
        rows = compare([one, two], metrics=[SCORE]).rows
        verdicts = [each.verdict for each in rows]
        assert verdicts == ["missing" if None in pair else "same" for pair in pairs]
        assert [each.candidate.device for each in rows if each.verdict == "same"] == [
            {"cuda:0": "A100", "cuda:2": "H100"}[after] for before, after in pairs if before and after
        ]


def test_a_side_that_is_the_same_but_lost_a_seed_is_unsure() -> None:
    one, lost = run("a", range(3)), {2: {"status": "oom", "reason": "out of memory", "phase": "train"}}
    for changes, verdict in (({}, "same"), (lost, "unsure")):
        found = row(compared(one, run("b", range(3), changes)), SCORE)
        assert found.verdict == verdict
        assert ("same on the remaining trials only: some were lost" in found.notes) == bool(changes)
    assert row(compared(run("b", range(3), lost), one), SCORE).verdict == "same"


@pytest.mark.parametrize("failing", ["static", "dynamic"])
def test_a_variant_that_trains_otherwise_on_either_side_is_not_comparable(failing: str) -> None:
    whole = run("a", range(3))
    proofs = tuple(
        result(
            training_of(each.trial, "bert"),
            training=TrainingProof(
                checks=(TrainingCheck(name="losses", passed=str(each.trial.padding) != failing, found="1"),)
            ),
        )
        for each in (whole.results[0], whole.results[-1])
    )
    proved = whole.model_copy(update={"training_proofs": proofs})
    for metric in (SCORE, SPEED):
        for made, verdict in ((whole, None), (proved, "not comparable")):
            (found,) = (
                each
                for each in compare([made], by="padding", metrics=[SCORE, SPEED]).rows
                if each.metric == metric
            )
            told = "proof of training failed: one side trains differently from the reference" in found.notes
            assert (found.verdict == "not comparable", told) == (verdict is not None, verdict is not None)


def _limited(name: str, *limits: int) -> Report:
    tasks = [Task(limit=Limit(train=limit)) for limit in limits]
    return report([result(make_trial(task=task), range(30)) for task in tasks], name)


@pytest.mark.parametrize(("one", "two"), [((64,), (64, 32)), ((64, 32), (64,)), ((32, 64), (64, 32))])
def test_limits_that_are_an_axis_on_either_side_are_matched(
    one: tuple[int, ...], two: tuple[int, ...]
) -> None:
    rows = compare([_limited("a", *one), _limited("b", *two)], metrics=[SCORE]).rows
    verdicts = [each.verdict for each in rows]
    assert sorted(verdicts) == sorted(["same"] * len({*one} & {*two}) + ["missing"] * len({*one} ^ {*two}))
    assert not any(each.mismatches for each in rows)
