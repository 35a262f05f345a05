from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

from harness.model.results import TrialResult
from harness.store.plan_file import make_plan
from harness.store.run_directory import RunDirectory
from harness.store.suite_runs import create_run, find_latest
from harness.store.trial_folder import SealedResult, read_result, write_result
from harness.store.writing import canonical_json, digest_of
from tests.factories import STARTED, make_result, make_suite, make_trial
from tests.store.processes import Child
from tests.store.storing import temporary_files

KILLS = 200
RESULTS = {
    result.trial.id: result
    for result in (make_result(make_trial(seed=seed), examples=200) for seed in range(40))
}
PLAN = make_plan(make_suite(), [result.trial for result in RESULTS.values()], "auto")

Write = Callable[[Path, TrialResult], None]


def write_without_rename(folder: Path, result: TrialResult) -> None:
    sealed = SealedResult(digest=digest_of(canonical_json(result)), result=result)
    with (folder / "result.json").open("w") as file:
        json.dump(json.loads(sealed.model_dump_json()), file)


def resume(run: RunDirectory, write: Write, tell: Callable[[str], None]) -> None:
    """What a small parent does: hold the run, sweep, write what is missing, and say so before and after."""
    with run.hold():
        run.sweep()
        done, _ = run.results()
        for name, result in RESULTS.items():
            if name not in done:
                tell(f"started {name}")
                write(run.trial_folder(name), result)
                tell(f"finished {name}")
        tell("ended")


def kill_often(reports: Path, write: Write, kills: int) -> list[str]:
    """Kill it at random moments, resuming until done and then anew; each broken promise as a sentence."""
    draw, broken, done, run = random.Random(0), list[str](), set[str](), None
    for number in range(kills):
        if run is None:
            run, done = create_run(reports, "padding", PLAN, b"", now=STARTED), set()
        held = run
        child = Child(lambda tell, held=held: resume(held, write, tell))  # type: ignore[misc]  # bound now
        time.sleep(draw.uniform(0.0, 0.06))
        child.kill()
        _, lines = child.wait()
        started = {line.split()[1] for line in lines if line.startswith("started")}
        broken += [f"kill {number}: {name} ran twice" for name in started & done]
        done |= {line.split()[1] for line in lines if line.startswith("finished")}
        results, problems = run.results()
        broken += [f"kill {number}: {problem}" for problem in problems]
        broken += [f"kill {number}: {name} was lost" for name in done - results.keys()]
        done |= results.keys()
        run = None if "ended" in lines else run
    return broken


def test_200_kills_at_random_moments_lose_and_tear_nothing(tmp_path: Path) -> None:
    assert kill_often(tmp_path, write_result, KILLS) == []
    run = find_latest(tmp_path, "padding")
    assert run is not None
    with run.hold():
        run.sweep()
    assert temporary_files(run.path) == []
    for name in run.results()[0]:
        assert read_result(run.path / "trials" / name) == RESULTS[name]


def test_the_same_kills_catch_a_writer_without_rename(tmp_path: Path) -> None:
    broken = kill_often(tmp_path, write_without_rename, KILLS // 4)
    assert any("not valid JSON" in sentence for sentence in broken)
