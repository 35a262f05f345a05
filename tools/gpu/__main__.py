"""Run all that needs an NVIDIA GPU: `python -m tools.gpu`, or `make gpu`.

Checks first, at the same time: the tests that need CUDA, the proofs of every variant that only CUDA has.
Then, one after the other and what is known least first, `suites/devices.yaml`, `suites/compile.yaml` and
`suites/cuda.yaml`, a trial on two GPUs where there are as many, profiles of the loop at two batch sizes, and
the proof of the compilation that takes longest. Weights are random and of BERT-base's shape, with the
vocabulary of the fetched `minilm`, so that nothing is downloaded.

Each step has a log in the output folder, a suite also a report and a page. A step that fails, or is
interrupted at its limit, does not stop the others, keeps what it has finished, and makes the exit code 1; the
same command goes on with an unfinished suite. With `--minutes` no step takes more than half of the time that
is left, but for the last one.
"""

from __future__ import annotations

import argparse
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from harness.assets.places import cache_root
from harness.errors import HarnessError
from harness.machine.facts import describe_gpus
from harness.programs import end_program, kill_tree
from tools.gpu.checkpoint import write_checkpoint

# With padded rows; `jagged` is a variant of suites/cuda.yaml.
_ATTENTION: Final = (
    "[eager, sdpa, {sdpa: math}, {sdpa: efficient}, {sdpa: flash}, {sdpa: cudnn}, flex_attention, "
    "flash_attention_2]"
)
_COMPILE: Final = "[{mode: default, dynamic: false}, reduce-overhead]"
_TWO_RANKS: Final = "[{engine: loop, world_size: 2, train.per_device_train_batch_size: 4}]"
_CUDA_TESTS: Final = "tests/training"
_CHECKS_AT_ONCE: Final = 6
# An interrupted run stops its trial and writes its report.
_GRACE_S: Final = 30.0
# Less is not worth a start.
_LEAST_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command with its limit.

    `alone` is one that runs after the checks and by itself; `gpus` are as many as it needs.
    """

    name: str
    command: tuple[str, ...]
    limit_s: float
    alone: bool = False
    gpus: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended: `ok`, `exit N`, `late` for one that was interrupted at its limit, or `not run`."""

    step: Step
    ended: str
    seconds: float

    def __str__(self) -> str:
        """`ok     12.3 s  tests`."""
        return f"{self.ended:8}{self.seconds:8.1f} s  {self.step.name}"


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

    def run(suite: str, *options: str, name: str = "", gpus: int = 1) -> Step:
        name = name or suite
        given = (*common, "-s", f"matrix.seed={list(range(seeds))}", *options)
        files = ("--reports", str(output), "-o", str(output / f"{name}.html"))
        command = (*harness, "run", f"suites/{suite}.yaml", *given, *files)
        return Step(name, command, 1800, alone=True, gpus=gpus)

    def prove(name: str, *options: str, alone: bool = False) -> Step:
        given = (*common, "-s", "matrix.seed=[0]", *options, "-o", str(output / f"prove-{name}.md"))
        return Step(f"prove-{name}", (*harness, "prove", "suites/cuda.yaml", *given), 900, alone)

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
    autotune = (*loop, "-s", "matrix.compile=[max-autotune-no-cudagraphs]")
    on_cuda = ("-s", "matrix.device=[cuda]")
    one_way = ("-s", "matrix.engine=[loop]", "-s", "matrix.padding=[dynamic]")
    # pytest imports every file that it is given, for the few tests that need CUDA.
    tests = (python, "-m", "pytest", _CUDA_TESTS, "-m", "cuda", "-p", "no:cacheprovider")
    return [
        Step("doctor", (*harness, "doctor"), 120),
        Step("tests", tests, 900),
        prove("cuda"),
        prove("attention", *loop, "-s", f"matrix.attention={_ATTENTION}", "-s", "matrix.precision=[bf16]"),
        prove("compile", *loop, "-s", f"matrix.compile={_COMPILE}", "-s", "matrix.precision=[bf16]"),
        prove("tf32", *loop, "-s", "matrix.precision=[tf32, fp16]"),
        run("devices", *on_cuda),
        run("compile"),
        run("cuda"),
        run("devices", *on_cuda, *one_way, "-s", f"include={_TWO_RANKS}", name="two-gpus", gpus=2),
        *(profile(batch, graphs) for batch in (8, 32) for graphs in ("false", "true")),
        prove("autotune", *autotune, "-s", "matrix.precision=[bf16, tf32]", alone=True),
    ]


def take(step: Step, output: Path, limit_s: float | None = None, grace_s: float = _GRACE_S) -> Outcome:
    """Run one step with its output in a log; interrupt it at its limit, and kill what is left of it later.

    Args:
        step: what to run.
        output: the folder of logs.
        limit_s: in seconds; None takes the step's own.
        grace_s: how long an interrupted step may take to end in order.
    """
    began = time.perf_counter()
    with (output / f"{step.name}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(step.command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - our own
        try:
            status = process.wait(step.limit_s if limit_s is None else limit_s)
            ended = "ok" if status == 0 else f"exit {status}"
        except subprocess.TimeoutExpired:
            # Not SIGINT, which a command in the background of a shell ignores.
            process.send_signal(signal.SIGTERM)
            end_program(process, within_s=grace_s)
            ended = "late"
        except BaseException:
            kill_tree(process.pid)
            raise
    outcome = Outcome(step, ended, time.perf_counter() - began)
    click.echo(outcome)
    return outcome


def take_all(
    chosen: Sequence[Step],
    seconds: float | None,
    take: Callable[[Step, float], Outcome],
    now: Callable[[], float] = time.monotonic,
) -> list[Outcome]:
    """Run the checks at the same time, then each other step.

    Args:
        chosen: the steps, in their order.
        seconds: for all of them, or None.
        take: runs a step with a limit in seconds.
        now: a monotonic clock in seconds.
    """
    deadline = math.inf if seconds is None else now() + seconds

    def limited(step: Step, *, last: bool) -> Outcome:
        left = deadline - now() - (0.0 if seconds is None else _GRACE_S)
        if left < _LEAST_S:
            outcome = Outcome(step, "not run", 0.0)
            click.echo(outcome)
            return outcome
        return take(step, min(step.limit_s, left if last else left / 2))

    checks, measured = ([step for step in chosen if step.alone is alone] for alone in (False, True))
    with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
        outcomes = list(pool.map(lambda step: limited(step, last=not measured), checks))
    return outcomes + [limited(step, last=step is measured[-1]) for step in measured]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen steps and print one line for each."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("reports/gpu"), help="logs, reports and pages")
    parser.add_argument("--data-dir", type=Path, help="a folder with MRPC, instead of the Hub")
    parser.add_argument("--tokenizer", type=Path, help="a folder with BERT's vocabulary; default: minilm's")
    parser.add_argument("--seeds", type=int, default=3, help="of each measured variant (default: 3)")
    parser.add_argument("--minutes", type=float, help="for all steps together (default: no limit)")
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
    began = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    try:
        write_checkpoint(checkpoint, given.tokenizer or cache_root() / "checkpoints" / "minilm")
    except HarnessError as error:
        parser.exit(2, f"error: {error}\n{error.hint}\n")
    if missing := [step for step in chosen if step.gpus > max(1, len(describe_gpus()))]:
        chosen = [step for step in chosen if step not in missing]
        for step in missing:
            click.echo(f"{step.name} is left out: it needs {step.gpus} GPUs, {len(describe_gpus())} found")
    seconds = None if given.minutes is None else 60 * given.minutes - (time.monotonic() - began)
    outcomes = take_all(chosen, seconds, lambda step, limit_s: take(step, output, limit_s))
    failed = [outcome.step.name for outcome in outcomes if outcome.ended != "ok"]
    click.echo(f"logs, reports and pages: {output}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
