"""Show a run while it goes on: a live view on a terminal, plain lines everywhere else.

Both write to the stream they are given, standard error in practice, and a stream that can no longer be
written to never stops a run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.model.job import Observer, Progress
from harness.model.results import TrialResult
from harness.model.trial import Trial
from harness.output.numbers import duration
from harness.output.progress import RunState, describe_progress, describe_result
from harness.output.safe_text import safe_text
from harness.words import count

Clock = Callable[[], float]

_SHOWN_AT_ONCE: Final = 8
_LONGEST_RESULT: Final = 300


class View(Observer):
    """An observer that is entered before a run and left after it; this one shows nothing."""

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing and leave the terminal as it was."""


def view(stream: TextIO, interactive: bool, clock: Clock = time.monotonic, *, every_s: float = 10.0) -> View:
    """Return the live view for a terminal that can redraw, else one that prints plain lines.

    `every_s` is the time between two lines of a running trial.
    """
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    if interactive and not console.is_dumb_terminal:
        return LiveView(console, clock)
    return PlainView(stream, clock, every_s)


class PlainView(View):
    """A line when a trial starts, one every `every_s` seconds while it runs, and one when it is finished."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic, every_s: float = 10.0) -> None:
        self._stream = stream
        self._clock = clock
        self._every_s = every_s
        self._state = RunState(clock)
        self._shown_at: dict[str, float] = {}

    def planned(self, trials: Sequence[Trial], reused: Sequence[TrialResult]) -> None:
        """Print the number of trials."""
        self._state.planned(trials, reused)
        self._write(plan_line(self._state))

    def note(self, text: str) -> None:
        """Print the note."""
        self._write(f"note: {safe_text(text)}")

    def started(self, trial: Trial) -> None:
        """Print the trial that starts."""
        running = self._state.started(trial)
        self._shown_at[trial.id] = self._clock()
        self._write(f"{self._position()} {running.name}: started")

    def progressed(self, trial: Trial, progress: Progress) -> None:
        """Print the progress of the trial, at most once in `every_s` seconds."""
        running = self._state.progressed(trial, progress)
        now = self._clock()
        if now - self._shown_at.setdefault(trial.id, running.since) < self._every_s:
            return
        self._shown_at[trial.id] = now
        left = time_left(self._state)
        self._write(f"{self._position()} {running.name}: {describe_progress(progress)}{left and f', {left}'}")

    def finished(self, result: TrialResult) -> None:
        """Print the end of the trial."""
        name = self._state.name(result.trial)
        self._state.finished(result)
        self._write(f"{self._position()} {name}: {safe_text(describe_result(result), _LONGEST_RESULT)}")

    def _position(self) -> str:
        """The number of finished trials."""
        return f"[{self._state.done}/{self._state.total}]"

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(line + "\n")
            self._stream.flush()


class LiveView(View):
    """A bar of trials done and to come, the running trials below it, finished ones listed above."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._state = RunState(clock)
        self._console = console
        self._live = Live(
            console=self._console,
            get_renderable=self._draw,
            transient=True,
            # Standard output carries only the result, so redirect nothing.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wipe the view and show the cursor again; the finished rows stay."""
        with contextlib.suppress(OSError):
            self._live.stop()

    def planned(self, trials: Sequence[Trial], reused: Sequence[TrialResult]) -> None:
        """Print the number of trials."""
        self._state.planned(trials, reused)
        self._print(Text(plan_line(self._state)))

    def note(self, text: str) -> None:
        """Print it above the view."""
        self._print(Text(f"note: {safe_text(text)}", style="dim"))

    def proving(self, running: Sequence[str], done: int, total: int) -> None:
        """Show the proofs that run."""
        self._state.proving(running, done, total)

    def started(self, trial: Trial) -> None:
        """Show the trial among the running ones."""
        self._state.started(trial)

    def progressed(self, trial: Trial, progress: Progress) -> None:
        """Record the progress of the trial; the next refresh shows it."""
        self._state.progressed(trial, progress)

    def finished(self, result: TrialResult) -> None:
        """Print the trial's row above the view."""
        name = self._state.name(result.trial)
        self._state.finished(result)
        mark = "done" if result.status == "completed" else "not completed"
        row = Text(
            f"{mark} {self._state.done}/{self._state.total} ", style="green" if result.sound else "red"
        )
        self._print(
            row.append(f"{name}: {safe_text(describe_result(result), _LONGEST_RESULT)}", style="default")
        )

    def _print(self, row: Text) -> None:
        with contextlib.suppress(OSError):
            self._console.print(row)

    def _draw(self) -> RenderableType:
        return draw(self._state)


def draw(state: RunState) -> RenderableType:
    """Return the current lower part of the live view."""
    # The refreshing thread reads while the run's thread writes: take one copy.
    proofs, running = list(state.proofs.values()), list(state.running.values())
    overall = Table.grid(padding=(0, 1))
    if proofs:
        overall.add_row(*_counted(state.proofs_done, state.proofs_total, "proof"), Text())
    overall.add_row(*_counted(state.done, state.total, "trial"), Text(time_left(state)))
    rows = Table.grid(padding=(0, 2))
    shown = [(one, "prove") for one in proofs] + [(one, describe_progress(one.progress)) for one in running]
    for one, doing in shown[:_SHOWN_AT_ONCE]:
        rows.add_row(
            Text(one.name, overflow="ellipsis", no_wrap=True),
            Text(doing),
            Text(duration(state.elapsed(one))),
        )
    more = len(shown) - _SHOWN_AT_ONCE
    return Group(overall, rows, *([Text(f"and {more} more running")] if more > 0 else []))


def _counted(done: int, total: int, noun: str) -> tuple[Text, ProgressBar]:
    return Text(f"{done}/{count(total, noun)}"), ProgressBar(total=max(total, 1), completed=done, width=30)


def plan_line(state: RunState) -> str:
    """`12 trials, 5 of them taken over from before`."""
    taken_over = f", {state.reused} of them taken over from before" if state.reused else ""
    return count(state.total, "trial") + taken_over


def time_left(state: RunState) -> str:
    """`about 3 min 05 s left`, or nothing before it can be estimated."""
    seconds = state.seconds_left()
    return "" if seconds is None else f"about {duration(seconds)} left"
