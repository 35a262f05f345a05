"""Look for false alarms: prove the shipped suites on the code as it is, over many seeds.

`python -m tools.defects.clean --seeds 20` proves every distinct way of training of the shipped suites on the
CPU with that many seeds, and every distinct function once, on the embedded assets. It writes what failed, and
how much of its limit each check used at most, to `reports/proofs/clean.json`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from transformers.utils import logging

from harness.analysis.parity import limit_of, verdict_of
from harness.analysis.training_verdicts import failed_checks, training_verdict
from harness.model.job import Job, TrialStoppedError
from harness.model.results import TrialResult
from harness.model.suite import Measure
from harness.model.trial import Trial
from harness.running.preflight import RealAssets, prepare, this_machine
from harness.running.proving import proof_jobs, training_jobs
from harness.suite.matrix import expand
from harness.suite.suite_file import load_suite
from harness.training.run_trial import run_trial
from harness.training.variants import compiling
from tools.defects.run import ROOT

REPORT: Final = ROOT / "reports" / "proofs" / "clean.json"


def shipped_jobs() -> tuple[list[Job], list[Job]]:
    """The proofs of function and of training of all shipped suites, each distinct one once."""
    trials: dict[str, Trial] = {}
    for path in sorted((ROOT / "suites").glob("*.yaml")):
        suite = load_suite(path)
        trials |= {trial.id: trial for trial in expand(suite, ("cpu",)) if trial.device == "cpu"}
    # Compiled trials run what torch traced: Inductor would take minutes a proof.
    compiling.BACKEND = "eager"
    measure = Measure(threads=1, roofline=False)
    prepared = prepare(list(trials.values()), measure, RealAssets("embedded"), this_machine(), lambda _: None)
    jobs = [job for job in prepared.jobs.values() if job.trial.tokenization is None]
    return list(proof_jobs(jobs).values()), list(training_jobs(jobs).values())


@dataclass(slots=True)
class Sweep:
    """What failed, what cannot run here, and the largest share of its limit that each check used."""

    proofs: int = 0
    unavailable: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)
    shares: dict[str, float] = field(default_factory=dict)

    def add(self, job: Job) -> None:
        """Make one proof."""
        try:
            result = run_trial(job, lambda _progress: None)
        except TrialStoppedError as error:
            if error.status != "unavailable":
                raise
            # A kernel of attention that this machine has not: nothing trains by it.
            self.unavailable += 1
            return
        self.proofs += 1
        good = (
            training_verdict(result) == "same"
            if result.training
            else verdict_of(result) in ("exact", "within")
        )
        for name, share in _shares(result):
            self.shares[name] = max(self.shares.get(name, 0.0), share)
        if not good:
            found = {check.name: check.found for check in failed_checks(result)}
            self.failed.append({"trial": result.trial.model_dump(mode="json"), "found": found})


def _shares(result: TrialResult) -> Iterator[tuple[str, float]]:
    if result.training is not None:
        for check in result.training.checks:
            if check.measured is not None and check.limit:
                yield check.name.partition(",")[0], check.measured / check.limit
    if result.parity is not None:
        limit, parity, name = (
            limit_of(result.parity, result.trial.precision),
            result.parity,
            result.trial.precision,
        )
        yield f"function {name}: logits", parity.largest_logit_difference / limit.logit
        yield f"function {name}: gradient", parity.relative_gradient_error / limit.gradient
        yield f"function {name}: tensor", (parity.tensor_gradient_error or 0.0) / limit.tensor


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove all, and write the report; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args(arguments)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call] # transformers leaves it so
    logging.set_verbosity_error()  # type: ignore[no-untyped-call] # as above
    functions, trainings = shipped_jobs()
    sweep, began = Sweep(), time.perf_counter()
    for job in functions:
        sweep.add(job)
    for seed in range(options.seeds):
        for job in trainings:
            sweep.add(job.model_copy(update={"trial": job.trial.model_copy(update={"seed": seed})}))
        _write(options.report, sweep, len(functions), len(trainings), seed + 1)
        passed = f"{sweep.proofs} proofs, {len(sweep.failed)} failed, {time.perf_counter() - began:.0f} s"
        print(f"seed {seed}: {passed}", flush=True)  # noqa: T201 - a tool's output
    return 1 if sweep.failed else 0


def _write(path: Path, sweep: Sweep, functions: int, trainings: int, seeds: int) -> None:
    summary = {
        "functions": functions,
        "trainings": trainings,
        "seeds": seeds,
        "proofs": sweep.proofs,
        "unavailable": sweep.unavailable,
        "false_alarms": len(sweep.failed),
        "failed": sweep.failed,
        "largest_share_of_limit": {name: round(share, 5) for name, share in sorted(sweep.shares.items())},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
