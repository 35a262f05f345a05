"""Run all that needs an NVIDIA GPU: `python -m tools.gpu`, or `make gpu`.

Checks first, at the same time: the tests that need CUDA, the proofs of every variant that only CUDA has.
Then the measurements, one after the other: a profile of the loop at two batch sizes, `suites/cuda.yaml`,
`suites/devices.yaml` and `suites/compile.yaml`, each with its report and its page. Weights are random and of
BERT-base's shape, with the vocabulary of the fetched `minilm`, so that nothing is downloaded. Each step has a
log in the output folder; a step that fails does not stop the others, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from harness.assets.places import cache_root
from harness.errors import HarnessError
from tools.gpu.checkpoint import write_checkpoint

# With padded rows; `jagged` is a variant of suites/cuda.yaml.
_ATTENTION: Final = (
    "[eager, sdpa, {sdpa: math}, {sdpa: efficient}, {sdpa: flash}, {sdpa: cudnn}, flex_attention, "
    "flash_attention_2]"
)
_COMPILE: Final = "[{mode: default, dynamic: false}, reduce-overhead, max-autotune-no-cudagraphs]"
_CHECKS_AT_ONCE: Final = 6


@dataclass(frozen=True, slots=True)
class Step:
    """A command with its limit; `alone` is a measurement, which no other step may disturb."""

    name: str
    command: tuple[str, ...]
    limit_s: float
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended: `status` is the exit code, None for one that exceeded its limit."""

    step: Step
    status: int | None
    seconds: float

    def __str__(self) -> str:
        """`ok     12.3 s  tests`."""
        word = "late" if self.status is None else "ok" if self.status == 0 else f"exit {self.status}"
        return f"{word:8}{self.seconds:8.1f} s  {self.step.name}"


def steps(task: Sequence[str], checkpoint: Path, output: Path, seeds: int) -> list[Step]:
    """Return the steps, in their order.

    Args:
        task: options of `harness run` that choose the data.
        checkpoint: the folder of the weights.
        output: the folder of reports and pages.
        seeds: of each variant of a measured suite.
    """
    python, common = sys.executable, (*task, "-s", f"matrix.checkpoint=[{checkpoint}]")
    harness = (python, "-m", "harness")

    def run(name: str, *options: str, limit_s: float = 1800) -> Step:
        given = (*common, "-s", f"matrix.seed={list(range(seeds))}", *options)
        files = ("--reports", str(output), "-o", str(output / f"{name}.html"))
        return Step(name, (*harness, "run", f"suites/{name}.yaml", *given, *files), limit_s, alone=True)

    def prove(name: str, *options: str) -> Step:
        given = (*common, "-s", "matrix.seed=[0]", *options, "-o", str(output / f"prove-{name}.md"))
        return Step(f"prove-{name}", (*harness, "prove", "suites/cuda.yaml", *given), 900)

    def profile(batch: int, graphs: str) -> Step:
        given = (
            *common,
            *("-s", "matrix.engine=[loop]", "-s", "matrix.precision=[bf16]", "-s", "matrix.seed=[0]"),
            *("-s", f"train={{max_steps: 30, per_device_train_batch_size: {batch}}}", "-s", "include=[]"),
            *("-s", f"matrix.cuda_graphs=[{graphs}]", "-s", "task.limit={train: 320, eval: 16}"),
        )
        command = (python, "-m", "tools.gpu.profile", "suites/cuda.yaml", *given)
        name = "graphs" if graphs == "true" else "launches"
        return Step(f"profile-{name}-batch-{batch}", command, 300, alone=True)

    loop = ("-s", "matrix.engine=[loop]", "-s", "include=[]")
    return [
        Step("doctor", (*harness, "doctor"), 120),
        Step("tests", (python, "-m", "pytest", "-m", "cuda", "-p", "no:cacheprovider"), 900),
        prove("cuda"),
        prove("attention", *loop, "-s", f"matrix.attention={_ATTENTION}", "-s", "matrix.precision=[bf16]"),
        prove("compile", *loop, "-s", f"matrix.compile={_COMPILE}", "-s", "matrix.precision=[bf16]"),
        prove("tf32", *loop, "-s", "matrix.precision=[tf32, fp16]"),
        *(profile(batch, graphs) for batch in (8, 32) for graphs in ("false", "true")),
        run("cuda"),
        run("devices", "-s", "matrix.device=[cuda]"),
        run("compile"),
    ]


def take(step: Step, output: Path) -> Outcome:
    """Run one step with its output in a log."""
    began = time.perf_counter()
    with (output / f"{step.name}.log").open("w", encoding="utf-8") as log:
        try:
            done = subprocess.run(  # noqa: S603 - our own commands
                step.command, stdout=log, stderr=subprocess.STDOUT, timeout=step.limit_s, check=False
            )
            status: int | None = done.returncode
        except subprocess.TimeoutExpired:
            status = None
    outcome = Outcome(step, status, time.perf_counter() - began)
    click.echo(outcome)
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen steps and print one line for each."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("reports/gpu"), help="logs, reports and pages")
    parser.add_argument("--data-dir", type=Path, help="a folder with MRPC, instead of the Hub")
    parser.add_argument("--tokenizer", type=Path, help="a folder with BERT's vocabulary; default: minilm's")
    parser.add_argument("--seeds", type=int, default=3, help="of each measured variant (default: 3)")
    parser.add_argument("--only", action="append", metavar="STEP", help="run this step; repeatable")
    parser.add_argument("--list", action="store_true", help="print the steps and their commands")
    given = parser.parse_args(arguments)
    task = [] if given.data_dir is None else ["-s", f"task={{data_dir: {given.data_dir}}}"]
    output = given.output.absolute()
    checkpoint = output / "bert-base-shape"
    planned = steps(task, checkpoint, output, given.seeds)
    if unknown := set(given.only or ()) - {step.name for step in planned}:
        parser.error(f"no step {sorted(unknown)}: there are {', '.join(step.name for step in planned)}")
    chosen = [step for step in planned if not given.only or step.name in given.only]
    if given.list:
        click.echo("\n".join(f"{step.name}: {' '.join(step.command)}" for step in chosen))
        return 0
    output.mkdir(parents=True, exist_ok=True)
    try:
        write_checkpoint(checkpoint, given.tokenizer or cache_root() / "checkpoints" / "minilm")
    except HarnessError as error:
        parser.exit(2, f"error: {error}\n{error.hint}\n")
    checks = [step for step in chosen if not step.alone]
    with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
        outcomes = list(pool.map(lambda step: take(step, output), checks))
    outcomes += [take(step, output) for step in chosen if step.alone]
    failed = [outcome.step.name for outcome in outcomes if outcome.status != 0]
    click.echo(f"logs, reports and pages: {output}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
