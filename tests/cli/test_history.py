"""`--history` of compare and check: evidence of variance in earlier runs, through the command line."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from harness.model.environment import Device
from harness.model.results import Report
from harness.store.writing import to_json
from tests.cli.conftest import Call
from tests.factories import (
    STARTED,
    make_checkpoint,
    make_environment,
    make_measurements,
    make_predictions,
    make_report,
    make_result,
    make_trial,
)

pytestmark = pytest.mark.usefixtures("alone")


SPEED = "train_real_tokens_per_second"
QUALITY = ("--metric", "eval_accuracy")
RATE = ("--metric", SPEED)


def run(
    name: str,
    seeds: Sequence[int] = (0,),
    *,
    accuracy: float = 0.9,
    speed: float = 25.0,
    after: timedelta = timedelta(0),
    **changes: Any,
) -> Report:
    """A report of one variant, a trial each seed; `after` is how long after the others it ran."""
    results = [
        make_result(
            make_trial(seed=seed),
            accuracy=accuracy,
            examples=400,
            samples_per_second=speed,
            started=STARTED + after + timedelta(seconds=20 * place),
            **changes,
        )
        for place, seed in enumerate(seeds)
    ]
    return make_report(results, run=name, created=STARTED + after + timedelta(minutes=10))


def write(path: str, report: Report | bytes) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(report if isinstance(report, bytes) else to_json(report))
    return file


def sides(**changes: Any) -> tuple[Path, Path]:
    """A baseline, and a candidate a day later with these changes."""
    return write("a.json", run("a", after=timedelta(days=30))), write(
        "b.json", run("b", after=timedelta(days=31), **changes)
    )


def nightly(days: int, **changes: Any) -> list[Path]:
    """One run a day with the speeds of a machine that changes a little from day to day."""
    return [
        write(f"reports/night/n{day}/report.json", night)
        for day in range(days)
        for night in [run(f"n{day}", speed=25.0 + 0.3 * (day % 3), after=timedelta(days=day), **changes)]
    ]


def options(*paths: Path) -> list[str | Path]:
    return [each for path in paths for each in ("--history", path)]


def only(output: str) -> dict[str, str]:
    (row,) = csv.DictReader(io.StringIO(output))
    return row


def compared(call: Call, *arguments: str | Path) -> dict[str, str]:
    code, output, _ = call("compare", *arguments, "--format", "csv")
    assert code == 0
    return only(output)


def test_one_seed_a_side_is_unsure_until_earlier_seeds_of_the_recipe_give_their_variance(call: Call) -> None:
    pair = sides(accuracy=0.6)
    row = compared(call, *pair, *QUALITY)
    assert (row["verdict"], row["p"]) == ("unsure", "")
    assert "the effect of another seed is unknown" in row["notes"]
    assert "--history PATH" in row["next_step"]
    write("reports/old/x/report.json", run("x", range(1, 6)))
    for path in ("reports/old/x/report.json", "reports/old/x", "reports/old"):
        known = compared(call, *pair, *QUALITY, "--history", path)
        assert known["verdict"] == "worse"
        assert "seed variance from 5 seeds of run x" in known["notes"]
        assert "is unknown" not in known["notes"]
        assert known["test"] == "paired examples, variance over seeds of earlier runs"
        assert known["pair_p"] == row["pair_p"] != ""


def test_an_equal_recipe_is_not_told_apart_by_one_seed_however_much_is_known(call: Call) -> None:
    old = write("old.json", run("x", range(1, 11)))
    pair = write("a.json", run("a", [20])), write("b.json", run("b", [20], accuracy=0.9001))
    assert compared(call, *pair, *QUALITY, "--history", old)["verdict"] in ("same", "unsure")


def test_single_seeds_of_several_reports_count_together_and_a_repeated_seed_once(call: Call) -> None:
    pair = sides(accuracy=0.6)
    for seed in range(1, 6):
        write(f"h/{seed}/report.json", run(f"h{seed}", [seed]))
    row = compared(call, *pair, *QUALITY, "--history", "h")
    assert row["verdict"] == "worse"
    assert "seed variance from 5 seeds of runs h1, h2, h3, h4 and 1 more" in row["notes"]
    again = write("again.json", run("again", range(1, 6), after=timedelta(days=2)))
    assert compared(call, *pair, *QUALITY, "--history", "h", "--history", again) == row
    nights = [
        write(f"n/{day}/report.json", run(f"n{day}", [1], after=timedelta(days=day))) for day in range(4)
    ]
    row = compared(call, *pair, *QUALITY, *options(*nights))
    assert row["verdict"] == "unsure"
    assert "the history has 1 other seed of this recipe" in row["notes"]


def test_copies_and_the_compared_reports_themselves_are_no_evidence(call: Call) -> None:
    pair = sides(accuracy=0.6)
    itself = compared(call, *pair, *QUALITY, "--history", pair[0], "--history", pair[1])
    assert itself["verdict"] == "unsure"
    assert "the history has no other seed of this recipe" in itself["notes"]
    _, shown, _ = call("compare", *pair, *QUALITY, "--history", pair[0])
    assert "history left out: run a: its trials are those that are compared" in " ".join(shown.split())
    old = write("old.json", run("x", range(1, 6)))
    row = compared(call, *pair, *QUALITY, "--history", old)
    copy = write("copy.json", run("x", range(1, 6)).model_copy(update={"run": "y"}))
    twice = ("--history", old, "--history", copy, "--history", old, "--history", pair[1])
    assert compared(call, *pair, *QUALITY, *twice) == row
    _, shown, _ = call("compare", *pair, *QUALITY, *twice)
    assert "its trials are in another report, too, and count once" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric_version": "glue/mrpc 9"}, "how metrics are computed: glue/mrpc 1 against glue/mrpc 9"),
        ({"checkpoint": make_checkpoint(weights_sha256="ef" * 32)}, "the checkpoint's weights"),
        ({"status": "oom"}, "seed 1 is oom"),
        ({"degenerate": True}, "seed 1 predicts a single class"),
        (
            {"measurements": make_measurements(make_predictions(9, 400, 0.5))},
            "stored values of seed 1 contradict each other",
        ),
    ],
)
def test_earlier_runs_that_do_not_match_are_named_with_the_reason(
    call: Call, changes: dict[str, Any], reason: str
) -> None:
    pair = sides(accuracy=0.6)
    old = write("old.json", run("x", range(1, 6), **changes))
    assert compared(call, *pair, *QUALITY, "--history", old)["verdict"] == "unsure"
    _, shown, _ = call("compare", *pair, *QUALITY, "--history", old)
    shown = " ".join(shown.split())
    assert "history left out: run x: " in shown
    assert reason in shown


def test_another_recipe_is_no_evidence_even_where_a_mismatch_is_allowed(call: Call) -> None:
    pair = sides(accuracy=0.6)
    results = [make_result(make_trial("static", seed), examples=400) for seed in range(1, 6)]
    old = write("old.json", make_report(results, run="x"))
    _, shown, _ = call("compare", *pair, *QUALITY, "--history", old)
    assert "history left out: run x: it has no trial of a compared variant" in " ".join(shown.split())
    other = write("other.json", run("y", range(1, 6), metric_version="glue/mrpc 9"))
    allowed = ("--history", other, "--allow-mismatch", "metric_version")
    assert compared(call, *pair, *QUALITY, *allowed)["verdict"] == "unsure"


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_the_speed_of_separate_runs_is_tested_by_the_variance_between_earlier_runs(
    call: Call, seeds: list[int]
) -> None:
    old = write("a.json", run("a", seeds, after=timedelta(days=30)))
    new = write("b.json", run("b", seeds, speed=12.0, after=timedelta(days=31)))
    row = compared(call, old, new, *RATE)
    assert row["verdict"] == "unsure"
    assert "--history PATH" in row["next_step"]
    assert ("matrix.seed=[0, 1, 2, 3, 4]" in row["next_step"]) == (seeds == [0])
    nightly(5)
    row = compared(call, old, new, *RATE, "--history", "reports/night")
    assert row["verdict"] == "worse"
    assert "variance between runs from 5 earlier runs: runs n0, n1, n2, n3 and 1 more" in row["notes"]
    assert row["test"].endswith("with the variance between runs")
    equal = write("c.json", run("c", seeds, speed=25.2, after=timedelta(days=31)))
    assert compared(call, old, equal, *RATE, "--history", "reports/night")["verdict"] == "unsure"


def test_runs_less_than_a_minute_apart_found_one_state_of_the_machine(call: Call) -> None:
    pair = sides(speed=12.0)
    for place in range(5):
        late = timedelta(seconds=60 * place)
        write(f"close/{place}/report.json", run(f"c{place}", speed=25.0 + 0.1 * place, after=late))
    row = compared(call, *pair, *RATE, "--history", "close")
    assert row["verdict"] == "unsure"
    assert "the history has 1 other run of this variant on this machine" in row["notes"]
    nights = nightly(4)
    row = compared(call, *pair, *RATE, "--history", "close", "--history", nights[1], "--history", nights[2])
    assert "variance between runs from 3 earlier runs" in row["notes"]
    assert "runs less than a minute apart count as one" in row["notes"]


def test_runs_of_another_machine_are_evidence_of_quality_alone(call: Call) -> None:
    pair = sides(speed=12.0, accuracy=0.6)
    gpu = make_environment(device=Device(kind="cuda", index=0, name="A100"), threads=2)
    old = [
        write(f"o/{day}/report.json", run(f"o{day}", [day], after=timedelta(days=day), environment=gpu))
        for day in range(1, 6)
    ]
    code, output, _ = call(
        "compare", *pair, *QUALITY, *RATE, "--history", old[0].parent.parent, "--format", "csv"
    )
    assert code == 0
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(output))}
    assert {metric: row["verdict"] for metric, row in rows.items()} == {
        "eval_accuracy": "worse",
        SPEED: "unsure",
    }
    _, shown, _ = call("compare", *pair, *QUALITY, *RATE, "--history", old[0])
    assert "history left out: run o1, for speed: processor, device and threads" in " ".join(shown.split())


def test_the_order_of_the_paths_does_not_matter(call: Call) -> None:
    pair = sides(speed=20.0, accuracy=0.8)
    other = write("z.json", run("z", range(6), metric_version="another", after=timedelta(days=9)))
    files = [*nightly(3), write("x.json", run("x", range(1, 4))), other]
    found = {
        call("compare", *pair, "--format", "json", *options(*order))
        for order in itertools.islice(itertools.permutations(files), 0, None, 17)
    }
    assert len(found) == 1


def test_check_decides_drops_by_the_history(call: Call) -> None:
    base, report = sides(speed=12.0, accuracy=0.6)
    gates = ("--no-suite-gates", "-g", "eval_accuracy drop<=0.02", "-g", f"{SPEED} drop<=10%")
    code, output, _ = call("check", report, "--baseline", base, *gates)
    assert code == 0
    assert "2 unsure" in output.splitlines()[-1]
    nightly(5)
    write("reports/baselines/main.json", run("x", range(1, 6), after=timedelta(days=12)))
    history = ("--history", "reports/night", "--history", "main")
    code, output, _ = call("check", report, "--baseline", base, *gates, *history, "--format", "json")
    assert code == 1
    assert output.count('"verdict": "failed"') == 2
    assert "seed variance from 6 seeds of runs n0 and x" in output
    assert "variance between runs from 6 earlier runs" in output
    unchanged = write("c.json", run("c", speed=25.3, accuracy=0.9001, after=timedelta(days=31)))
    assert call("check", unchanged, "--baseline", base, *gates, *history)[0] == 0


def test_check_names_what_does_not_match(call: Call) -> None:
    base, report = sides(accuracy=0.6)
    old = write("old.json", run("x", range(1, 6), metric_version="glue/mrpc 9"))
    gates = ("--no-suite-gates", "-g", "eval_accuracy drop<=0.02")
    code, output, _ = call("check", report, "--baseline", base, *gates, "--history", old)
    assert code == 0
    assert "history left out: run x: how metrics are computed" in " ".join(output.split())
    _, output, _ = call("check", report, *gates, "--history", old)
    assert "history not used: there is no baseline" in " ".join(output.split())


@pytest.mark.parametrize("command", ["compare", "check"])
def test_a_history_that_cannot_be_read_ends_with_2(call: Call, command: str) -> None:
    pair = sides()
    arguments = [*pair] if command == "compare" else [pair[1], "--baseline", pair[0]]
    write("bad.json", b"{")
    write("runs/x/report.json", run("x"))
    write("runs/y/report.json", b"[]")
    Path("empty/run").mkdir(parents=True)
    for path, told in (
        ("nowhere", "neither a path, nor the name of a baseline"),
        ("bad.json", "bad.json"),
        ("runs", "runs/y/report.json"),
        ("empty", "no folder in it has a report.json"),
    ):
        code, _, errors = call(command, *arguments, "--history", path)
        assert code == 2
        assert told in errors


def test_a_run_without_a_report_is_named(call: Call) -> None:
    pair = sides(accuracy=0.6)
    write("runs/x/report.json", run("x", range(1, 6)))
    write("runs/unfinished/plan.json", b"{}")
    code, output, errors = call("compare", *pair, *QUALITY, "--history", "runs", "--format", "csv")
    assert (code, only(output)["verdict"]) == (0, "worse")
    assert "runs: without a report.json, and left out: unfinished" in errors
