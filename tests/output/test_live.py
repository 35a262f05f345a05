from __future__ import annotations

import datetime
import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from rich.console import Console

from harness.model.job import Progress
from harness.model.measurements import measured
from harness.model.results import TrialResult
from harness.model.status import StatusName
from harness.model.trial import Trial
from harness.model.values import Padding, PaddingStrategy
from harness.output.live import LiveView, PlainView, View, draw, view
from harness.output.progress import RunState, describe_progress, seconds_left, trial_seconds
from tests.output.hostile import HOSTILE


def _trial(
    strategy: PaddingStrategy = "dynamic", seed: int = 0, checkpoint: str = "bert-base-uncased"
) -> Trial:
    return Trial(checkpoint=checkpoint, padding=Padding(strategy=strategy), device="cpu", seed=seed)


def _result(trial: Trial, status: StatusName = "completed", reason: str | None = None) -> TrialResult:
    numbers = (
        measured("eval_accuracy", 0.8578),
        measured("eval_f1", 0.8997),
        measured("train_real_tokens_per_second", 12_345.0),
    )
    return TrialResult(
        trial=trial,
        status=status,
        phase="write" if status == "completed" else "load_model",
        reason=reason,
        measurements=numbers if status == "completed" else (),
        started=datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC),
        duration_s=48.2,
    )


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _run(watching: View, clock: _Clock) -> None:
    """Two trials as a run would tell of them: one completes, one fails."""
    first, second = _trial("dynamic"), _trial("static")
    with watching:
        watching.planned([first, second], [])
        watching.note("bert-base-uncased is stood in for by an embedded checkpoint")
        watching.started(first)
        clock.now = 4.0
        watching.progressed(first, Progress(phase="load_model"))
        for seconds in (12.0, 14.0, 23.0):
            clock.now = seconds
            watching.progressed(
                first,
                Progress(
                    phase="train",
                    step=int(seconds) * 10,
                    steps=460,
                    epoch=1,
                    loss=0.51249,
                    real_tokens_per_second=12_345.0,
                ),
            )
        watching.finished(_result(first))
        watching.started(second)
        watching.finished(_result(second, "failed", "no safetensors\nin the folder"))


def test_plain_lines_tell_the_start_the_way_and_the_end_of_each_trial() -> None:
    stream, clock = io.StringIO(), _Clock()
    _run(PlainView(stream, clock), clock)
    assert stream.getvalue() == (
        "2 trials\n"
        "note: bert-base-uncased is stood in for by an embedded checkpoint\n"
        "[0/2] dynamic: started\n"
        "[0/2] dynamic: train, step 120/460, epoch 1, loss 0.512, 12.3k tokens/s, about 1 min 20 s left\n"
        "[0/2] dynamic: train, step 230/460, epoch 1, loss 0.512, 12.3k tokens/s, about 1 min 09 s left\n"
        "[1/2] dynamic: accuracy 85.8 %, F1 90.0 %, 12.3k tokens/s, 48 s\n"
        "[1/2] static: started\n"
        "[2/2] static: failed in load model: no safetensors; in the folder\n"
    )


def test_the_live_view_leaves_its_finished_rows_and_the_cursor() -> None:
    stream, clock = io.StringIO(), _Clock()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None, markup=False)
    _run(LiveView(console, clock), clock)
    shown = stream.getvalue()
    assert "done 1/2 dynamic: accuracy 85.8 %, F1 90.0 %, 12.3k tokens/s, 48 s" in shown
    assert "not completed 2/2 static: failed in load model: no safetensors; in the folder" in shown
    assert shown.rstrip().endswith("\x1b[?25h") or shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_the_live_view_draws_the_bar_and_what_runs() -> None:
    clock = _Clock()
    state = RunState(clock)
    state.planned([_trial(seed=0), _trial(seed=1), _trial(seed=2)], [_result(_trial(seed=3))])
    state.started(_trial(seed=0))
    state.progressed(_trial(seed=0), Progress(phase="train", step=5, steps=20, loss=0.7))
    clock.now = 10.0
    console = Console(file=io.StringIO(), width=100, color_system=None)
    with console.capture() as capture:
        console.print(draw(state))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert lines[0].startswith("1/4 trials ━")
    assert lines[0].endswith("about 1 min 50 s left")
    assert lines[1:] == ["bert-base-uncased dynamic seed 0  train, step 5/20, loss 0.700  10 s"]


def test_the_live_view_shows_the_proofs_that_run_and_how_long() -> None:
    clock = _Clock()
    state = RunState(clock)
    state.planned([_trial()], [])
    state.proving(["dynamic", "static\x1b[31m"], 3, 20)
    clock.now = 4.2
    console = Console(file=io.StringIO(), width=100, color_system=None)
    with console.capture() as capture:
        console.print(draw(state))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert [line.split(" ━")[0] for line in lines[:2]] == ["3/20 proofs", "0/1 trial"]
    assert [line.split() for line in lines[2:]] == [
        ["dynamic", "prove", "4.2", "s"],
        ["static\\x1b[31m", "prove", "4.2", "s"],
    ]
    state.proving([], 20, 20)
    with console.capture() as capture:
        console.print(draw(state))
    assert "prove" not in capture.get()


def test_many_running_trials_do_not_fill_the_screen() -> None:
    state = RunState(_Clock())
    trials = [_trial(seed=seed) for seed in range(12)]
    state.planned(trials, [])
    for trial in trials:
        state.started(trial)
    console = Console(file=io.StringIO(), width=100, color_system=None)
    with console.capture() as capture:
        console.print(draw(state))
    assert capture.get().splitlines()[-1].rstrip() == "and 4 more running"


def test_what_was_taken_over_counts_as_done() -> None:
    stream = io.StringIO()
    with view(stream, interactive=False) as watching:
        watching.planned([_trial(seed=1)], [_result(_trial(seed=0))])
        watching.started(_trial(seed=1))
    assert stream.getvalue() == (
        "2 trials, 1 of them taken over from before\n[1/2] bert-base-uncased dynamic seed 1: started\n"
    )


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "make",
    [PlainView, lambda stream: LiveView(Console(file=stream, width=80, force_terminal=True, markup=False))],
    ids=["plain", "live"],
)
def test_hostile_names_reach_no_stream_unescaped(make: Callable[[io.StringIO], View], text: str) -> None:
    stream = io.StringIO()
    trial = _trial().model_copy(update={"checkpoint": text})
    failed = _result(trial).model_copy(update={"status": "failed", "reason": text, "measurements": ()})
    with make(stream) as watching:
        watching.planned([trial], [])
        watching.note(text)
        watching.started(trial)
        watching.progressed(trial, Progress(phase="train"))
        watching.finished(failed)
    # What rich itself writes: styles, cursor movements, lines erased.
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "")
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "\x1b[31mred" not in stream.getvalue()
    assert not re.search(r"^\s*::\w", shown, re.MULTILINE)
    assert "##[" not in shown


_INTERRUPTED = """
import sys
from harness.model.job import Progress
from harness.output.live import LiveView, view
from tests.factories import make_trial
watching = view(sys.stderr, interactive=sys.stderr.isatty())
assert isinstance(watching, LiveView)
try:
    with watching:
        watching.planned([make_trial()], [])
        watching.started(make_trial())
        watching.progressed(make_trial(), Progress(phase="train", step=1, steps=2))
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print("the result")
"""


def test_an_interrupt_gives_the_terminal_back_and_leaves_standard_output_alone() -> None:
    outer, inner = pty.openpty()
    command = [sys.executable, "-c", _INTERRUPTED]
    variables = os.environ | {"TERM": "xterm"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=inner, env=variables, timeout=60, check=False
    )
    os.close(inner)
    with os.fdopen(outer, "rb", buffering=0) as terminal:
        shown = terminal.read(65_536).decode()
    assert (done.returncode, done.stdout) == (0, b"the result\n"), shown
    assert "train, step 1/2" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_a_stream_that_is_gone_does_not_stop_the_run() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        clock = _Clock()
        _run(PlainView(stream, clock), clock)
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def test_the_live_view_is_for_terminals_that_can_redraw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(view(io.StringIO(), interactive=True), LiveView)
    assert isinstance(view(io.StringIO(), interactive=False), PlainView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(view(io.StringIO(), interactive=True), PlainView)


@pytest.mark.parametrize(
    ("durations", "to_come", "running", "left"),
    [
        ([], 3, [], None),
        ([], 3, [(5.0, None)], None),
        ([10.0], 3, [], 30.0),
        ([10.0], 2, [(4.0, None)], 26.0),
        ([], 1, [(4.0, 16.0)], 28.0),
        ([10.0], 2, [(4.0, None), (4.0, None)], 16.0),
        ([10.0], 0, [(60.0, None)], 0.0),
    ],
)
def test_the_time_left_comes_from_finished_trials_and_from_steps(
    durations: list[float], to_come: int, running: list[tuple[float, float | None]], left: float | None
) -> None:
    assert seconds_left(durations, to_come, running) == left


def test_a_trial_without_steps_tells_nothing_of_its_length() -> None:
    assert trial_seconds(9.0, Progress(phase="tokenize")) is None
    assert trial_seconds(9.0, Progress(phase="train", step=3, steps=9)) == 27.0


def test_progress_is_one_phrase() -> None:
    assert describe_progress(Progress(phase="load_data")) == "load data"
