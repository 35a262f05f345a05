"""Where a training spends its time: `python -m tools.gpu.profile SUITE -s KEY=VALUE ...`.

Runs the first trial of the suite in this process under torch's profiler, and prints the operations by their
time on the device (on the host, for a CPU).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import click
import torch
from torch.profiler import ProfilerActivity, profile

from harness.api import expand
from harness.model.job import Progress
from harness.running.preflight import RealAssets, prepare, this_machine
from harness.suite.suite_file import load_suite
from harness.training.run_trial import run_trial

_ROWS = 25


def main() -> int:
    """Profile one trial."""
    options = argparse.ArgumentParser(prog="python -m tools.gpu.profile", description=__doc__)
    options.add_argument("suite", type=Path)
    options.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE")
    given = options.parse_args()
    suite = load_suite(given.suite, given.set)
    trial = expand(suite)[0]
    prepared = prepare([trial], suite.measure, RealAssets("auto"), this_machine(), click.echo)
    if not prepared.jobs:
        click.echo(f"unavailable: {prepared.unavailable}", err=True)
        return 1
    activities = [ProfilerActivity.CPU]
    if trial.device.startswith("cuda"):
        activities.append(ProfilerActivity.CUDA)
    began = time.perf_counter()
    with profile(activities=activities) as found:
        result = run_trial(prepared.jobs[trial.id], _quietly)
    click.echo(f"{trial.padding} {trial.engine} {trial.precision}: {result.status}")
    click.echo(f"{time.perf_counter() - began:.1f} s with loading, evaluation and the profiler")
    for name in ("train_seconds", "compile_seconds", "train_step_seconds"):
        if values := next((each.values for each in result.measurements if each.metric == name), ()):
            click.echo(f"{name}: median {median(values):.5f}")
    by = "self_device_time_total" if len(activities) > 1 else "self_cpu_time_total"
    click.echo(found.key_averages().table(sort_by=by, row_limit=_ROWS, max_name_column_width=60))
    click.echo(
        f"peak memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if len(activities) > 1 else ""
    )
    return 0


def _quietly(_progress: Progress) -> None:
    """Print no progress."""


if __name__ == "__main__":
    raise SystemExit(main())
