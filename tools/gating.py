"""Count how often the gate of `examples/gate.yaml` is red with a regression, and green without one.

`python -m tools.gating` trains the suite's variant `dynamic` on three sides: the package as it is, the
baseline; the same with the kernels of an older processor, as a hosted runner may have; and a copy of the
package with a regression that no proof sees. Each draw has five seeds of its own, the same on all sides, so
that draws are independent. `reports/proofs/gate.json` gets how the check of each draw ends, by all gates of
the suite and by its drop gates alone, and which kinds of cases failed. It takes about 15 minutes on two idle
cores; seeds that are trained are used again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.analysis.gates.applying import check
from harness.analysis.gates.cases import GateReport
from harness.model.results import Report
from harness.store.reading import load_report
from tools.defects.catalogue import Defect
from tools.defects.run import ROOT, plant

SUITE: Final = ROOT / "examples" / "gate.yaml"
KEPT: Final = ROOT / "reports" / "proofs" / "gate.json"
SEEDS: Final = 5
MORE: Final = 1
# Proofs of training evaluate 19 rows: an error that begins with a later row is beyond them.
REGRESSION: Final = Defect(
    name="from the 49th row on, an evaluation keeps the logits of the row before",
    kind="evaluation",
    path="fitting.py",
    before="self.logits = predict(self._model, self.evaluation, batch_size, self._trial.precision)",
    after=(
        "found = predict(self._model, self.evaluation, batch_size, self._trial.precision)\n"
        "            self.logits = found[[row - (row >= 48) for row in range(len(found))]]"
    ),
    on=(),
)
OLDER_PROCESSOR: Final = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}
SIDES: Final = ("baseline", "unchanged", "regression")


def train(side: str, folder: Path, seeds: int, jobs: int) -> Report:
    """Train the seeds of a side that no earlier run has trained, and return a report of all.

    Raises:
        RuntimeError: a trial did not complete.
    """
    reports = folder / side
    reports.mkdir(exist_ok=True)
    found = _completed(reports)
    if missing := [seed for seed in range(seeds) if seed not in found]:
        _run(side, folder, missing, jobs)
        found = _completed(reports)
    if lost := [seed for seed in range(seeds) if seed not in found]:
        raise RuntimeError(f"{side}: seeds {lost} did not complete, see {reports}")
    results = tuple(
        result for seed in range(seeds) for result in found[seed].results if result.trial.seed == seed
    )
    return found[seeds - 1].model_copy(update={"results": results})


def _run(side: str, folder: Path, seeds: Sequence[int], jobs: int) -> None:
    code = ROOT
    if side == "regression":
        code = folder / "regressed"
        if not code.exists():
            plant(REGRESSION, code)
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ |= {"PYTHONPATH": str(code)} | (OLDER_PROCESSOR if side == "unchanged" else {})
    command = [sys.executable, "-m", "harness", "run", str(SUITE), "--assets", "embedded", "--no-suite-gates"]
    # `unpadded` computes the same function.
    for setting in (f"matrix.seed={list(seeds)}", "matrix.padding=[dynamic]"):
        command += ["-s", setting]
    command += ["--jobs", str(jobs), "--reports", str(folder / side)]
    # Not in the checkout, from whose current directory Python would import.
    subprocess.run(command, cwd=folder, env=environ, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program


def _completed(reports: Path) -> dict[Any, Report]:
    """Return the report that has a completed trial of a seed, by seed."""
    loaded = [load_report(path) for path in sorted(reports.glob("gate/*/report.json"))]
    return {
        result.trial.seed: report
        for report in loaded
        for result in report.results
        if result.status == "completed"
    }


def of_draw(report: Report, draw: int) -> Report:
    """Return the report with the seeds of one draw."""
    results = tuple(result for result in report.results if result.trial.seed in _seeds_of(draw))
    return report.model_copy(update={"results": results})


def _seeds_of(draw: int) -> range:
    return range(SEEDS * draw, SEEDS * (draw + 1))


def usable_draws(baseline: Report) -> list[int]:
    """Return the draws whose baseline passes the gates that need none: no other would be kept."""
    floors = [gate.model_copy(update={"max_drop": None}) for gate in baseline.suite.gates if gate.min]
    draws = range(len({result.trial.seed for result in baseline.results}) // SEEDS)
    return [draw for draw in draws if check(of_draw(baseline, draw), gates=floors).outcome == "pass"]


def judged(baseline: Report, candidate: Report, draws: Iterable[int]) -> list[dict[str, Any]]:
    """Return a row for each draw: the outcomes by all gates and by drop gates alone, and what failed."""
    drops = [gate for gate in candidate.suite.gates if gate.max_drop is not None]
    drops = [gate.model_copy(update={"min": None, "max": None}) for gate in drops]
    rows = []
    for draw in draws:
        before, after = of_draw(baseline, draw), of_draw(candidate, draw)
        whole, alone = check(after, baseline=before), check(after, baseline=before, gates=drops)
        rows.append(
            {
                "seeds": list(_seeds_of(draw)),
                "outcome": whole.outcome,
                "failed": _failed(whole),
                "by_drops_alone": alone.outcome,
                "failed_of_drops": _failed(alone),
                "drops": {case.metric: _rounded(case.drop) for case in alone.cases if case.kind == "drop"},
            }
        )
    return rows


def _failed(found: GateReport) -> list[str]:
    return sorted({case.kind for case in found.cases if case.verdict == "failed"})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def counted(sides: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, dict[str, str]]:
    """Return how many draws of each side are red, by all gates and by drop gates alone."""
    return {
        side: {
            "red": f"{sum(row['outcome'] not in ('pass', 'unsure') for row in rows)} of {len(rows)}",
            "red_by_drops_alone": (
                f"{sum(row['by_drops_alone'] not in ('pass', 'unsure') for row in rows)} of {len(rows)}"
            ),
        }
        for side, rows in sides.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, judge and write the counts; 1 if a draw with the regression is green, or one without is red."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at once")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "gating", help="of the runs")
    parser.add_argument("--output", type=Path, default=KEPT)
    options = parser.parse_args(arguments)
    folder = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    # A few more draws, for those without a usable baseline.
    seeds = SEEDS * (options.draws + MORE)
    reports = {side: train(side, folder, seeds, options.jobs) for side in SIDES}
    usable = usable_draws(reports["baseline"])
    chosen = usable[: options.draws]
    rows = {side: judged(reports["baseline"], reports[side], chosen) for side in SIDES[1:]}
    counts = counted(rows)
    unusable = [draw for draw in range(options.draws + MORE) if draw not in usable]
    kept = {
        "regression": REGRESSION.name,
        "counts": counts,
        "without_a_usable_baseline": [list(_seeds_of(draw)) for draw in unusable],
        "draws": rows,
    }
    options.output.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(counts, indent=1))  # noqa: T201 - a tool's output
    every, none = f"{options.draws} of {options.draws}", f"0 of {options.draws}"
    wanted = {"unchanged": none, "regression": every}
    return int(any(count != wanted[side] for side, of in counts.items() for count in of.values()))


if __name__ == "__main__":
    raise SystemExit(main())
