"""How planning, running, resuming, reading and comparing grow with the number of trials.

Promised at 10,000 trials: a plan in under 3 s; scheduling, storing and reporting for under 15 ms a trial,
growing no worse than linearly; under 300 MB in the process that does it, and under 400 MB for a table, a page
and a check. Aimed at: 10 s for each of these and for a comparison of variants, 20 s for one of two reports.
Workers are fakes that take no time.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from harness.analysis.comparison.comparing import compare
from harness.model.arguments import Train
from harness.model.results import Report
from tests.benchmarks.large import EXAMPLES, SEEDS, write_large
from tests.benchmarks.measured import Done, harness
from tests.factories import make_report, make_result, make_trial

TRIALS = [10, 100, 1_000, 10_000]
# Large results take minutes to come by, and show memory, which does not vary.
LOADS = [*(("small", trials) for trials in TRIALS), ("full", 1_000)]
# Options of commands on reports of 10,000 trials, of which A and B stand for the paths.
COMMANDS = {
    "show": ["show", "A"],
    "page": ["show", "A", "--output", "page.html"],
    "check": ["check", "A", "--gate", "eval_f1>=0.5"],
    "compare variants": ["compare", "A", "--by", "train.learning_rate"],
    "check against": ["check", "A", "--gate", "eval_accuracy drop<=0.02", "--baseline", "B"],
    "compare two": ["compare", "A", "B"],
}
MOST_BYTES = {"show": 400e6, "page": 400e6, "check": 400e6}

# Ten thousand trials on a machine that others use, too.
pytestmark = pytest.mark.timeout(3_600)

loads = pytest.mark.parametrize(("content", "trials"), LOADS)


def write_suite(folder: Path, trials: int) -> Path:
    """A suite of so many trials: five seeds of each learning rate."""
    rates = "".join(f"\n    - {(at + 1) * 1e-6:.6f}" for at in range(trials // SEEDS))
    path = folder / "growth.yaml"
    path.write_text(
        f"name: growth\ntask: glue/mrpc\nmax_trials: {trials}\n"
        "matrix:\n  checkpoint: [bert-base-uncased]\n  padding: [dynamic]\n  device: [cpu]\n"
        f"  train.learning_rate:{rates}\n  seed: {list(range(SEEDS))}\n"
    )
    return path


def run(folder: Path, content: str) -> Done:
    """`harness run` of the suite in the folder, with a fake worker."""
    fixed = ["--assets", "embedded", "--no-parity", "--runner", f"tests.benchmarks.instant:{content}"]
    done = harness("run", "growth.yaml", *fixed, cwd=folder)
    assert done.code == 0, done.errors[-2_000:]
    return done


def only_report(folder: Path) -> Path:
    """The report of the one run in the folder."""
    (path,) = folder.glob("reports/growth/*/report.json")
    return path


def tell(benchmark: BenchmarkFixture, trials: int, done: Done | None = None) -> None:
    """Add what is promised to the figures, if they are taken at all."""
    if benchmark.stats is not None:
        benchmark.extra_info["milliseconds_a_trial"] = 1_000 * benchmark.stats.stats.median / trials
    if done is not None:
        benchmark.extra_info["peak_resident_mb"] = done.peak_resident_bytes / 1e6
        benchmark.extra_info["cpu_milliseconds_a_trial"] = 1_000 * done.cpu_seconds / trials


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[tuple[str, int], Path]]:
    """Folders of runs that have ended, by what their results hold and how many they are."""
    folders: dict[tuple[str, int], Path] = {}
    yield folders
    for folder in folders.values():
        shutil.rmtree(folder)


@pytest.fixture
def finished(
    content: str, trials: int, runs: dict[tuple[str, int], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run that has ended."""
    if (content, trials) not in runs:
        folder = tmp_path_factory.mktemp("growth")
        write_suite(folder, trials)
        run(folder, content)
        runs[content, trials] = folder
    return runs[content, trials]


@pytest.mark.parametrize("trials", TRIALS)
def test_planning(benchmark: BenchmarkFixture, trials: int, tmp_path: Path) -> None:
    write_suite(tmp_path, trials)
    done = benchmark.pedantic(lambda: harness("plan", "growth.yaml", cwd=tmp_path), rounds=3)  # type: ignore[no-untyped-call]  # the library's own
    assert done.code == 0, done.errors
    tell(benchmark, trials, done)


@loads
def test_running(
    benchmark: BenchmarkFixture,
    content: str,
    trials: int,
    runs: dict[tuple[str, int], Path],
    tmp_path: Path,
) -> None:
    write_suite(tmp_path, trials)
    done = benchmark.pedantic(lambda: run(tmp_path, content), rounds=1)  # type: ignore[no-untyped-call]  # the library's own
    tell(benchmark, trials, done)
    benchmark.extra_info["report_mb"] = only_report(tmp_path).stat().st_size / 1e6
    runs[content, trials] = tmp_path


@loads
def test_resuming_with_nothing_left_to_run(
    benchmark: BenchmarkFixture, content: str, trials: int, finished: Path
) -> None:
    done = benchmark.pedantic(  # type: ignore[no-untyped-call]  # the library's own
        lambda: run(finished, content), setup=lambda: only_report(finished).unlink(), rounds=1
    )
    assert f"{trials} of {trials} trials are done" in done.errors
    tell(benchmark, trials, done)


@loads
def test_reading_a_report_and_showing_its_table(
    benchmark: BenchmarkFixture, content: str, trials: int, finished: Path
) -> None:
    report = only_report(finished)
    done = benchmark.pedantic(lambda: harness("show", report, cwd=finished), rounds=1)  # type: ignore[no-untyped-call]  # the library's own
    assert done.code == 0, done.errors
    tell(benchmark, trials, done)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The paths of two reports of 10,000 trials."""
    folders = {name: tmp_path_factory.mktemp(name) for name in "AB"}
    accuracies = {"A": 0.85, "B": 0.86}
    yield {name: write_large(folder, TRIALS[-1], accuracies[name]) for name, folder in folders.items()}
    for folder in folders.values():
        shutil.rmtree(folder)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_on_reports_of_ten_thousand_trials(
    benchmark: BenchmarkFixture, command: str, large: dict[str, Path], tmp_path: Path
) -> None:
    arguments = [large.get(word, word) for word in COMMANDS[command]]
    done = benchmark.pedantic(lambda: harness(*arguments, cwd=tmp_path), rounds=1)  # type: ignore[no-untyped-call]  # the library's own
    assert done.code == 0, done.errors
    assert done.peak_resident_bytes < MOST_BYTES.get(command, math.inf)
    tell(benchmark, TRIALS[-1], done)


@lru_cache(maxsize=2)
def _report(trials: int, seeds: int, accuracy: float) -> Report:
    return make_report(
        [
            make_result(
                make_trial(seed=seed, train=Train(learning_rate=(variant + 1) * 1e-6)),
                accuracy=accuracy,
                examples=EXAMPLES,
            )
            for variant in range(trials // seeds)
            for seed in range(seeds)
        ],
        run=f"{accuracy}",
    )


@pytest.mark.parametrize("seeds", [1, SEEDS])
@pytest.mark.parametrize("trials", TRIALS)
def test_comparing_two_reports(benchmark: BenchmarkFixture, trials: int, seeds: int) -> None:
    reports = [_report(trials, seeds, accuracy) for accuracy in (0.85, 0.86)]
    rounds = 3 if trials < 1_000 else 1
    compared = benchmark.pedantic(lambda: compare(reports), rounds=rounds)  # type: ignore[no-untyped-call]  # the library's own
    assert len(compared.rows) == 3 * (trials // seeds)
    tell(benchmark, trials)


def test_comparing_a_thousand_trials_stays_under_a_gigabyte() -> None:
    """Memory only, so that a slow day fails nothing; in a process of its own, so that it alone counts."""
    code = (
        "from harness.analysis.comparison.comparing import compare\n"
        "from tests.benchmarks.measured import peak_resident_bytes\n"
        "from tests.benchmarks.test_growth import _report\n"
        "assert len(compare([_report(1000, 1, 0.85), _report(1000, 1, 0.86)]).rows) == 3000\n"
        "print(peak_resident_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1e9
