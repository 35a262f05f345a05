"""A second process that parses results of a large report, while this one reads on.

It runs `python -P -m harness.store.results_process`, takes batches of results on standard input, as
`large_report` cuts them, and answers each with the results. What is unpickled comes from this program alone.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from queue import Full, Queue
from threading import Thread
from typing import Self

from harness.model.results import TrialResult
from harness.programs import child_environment, kill_tree
from harness.store.large_results import ResultsReader

Batch = tuple[int, Sequence[bytes]]
"""The place of its first result in the report, and the members of each result."""


class HelperEndedError(Exception):
    """The process ended before it had parsed all that it was given."""


class ResultsProcess:
    """The process, which runs inside of the context; one batch can wait for it.

    Args:
        python: the interpreter it runs under.
    """

    def __init__(self, python: str = sys.executable) -> None:
        self._python = python
        self._waiting: Queue[Batch | None] = Queue(1)
        self._found: dict[int, tuple[TrialResult, ...]] = {}
        self._failed = self._closed = False

    def __enter__(self) -> Self:
        """Start the process, and the thread that talks to it.

        Raises:
            HelperEndedError: The system refused one of both.
        """
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, under our own interpreter
                # -P keeps the current directory out of the import path.
                [self._python, "-P", "-m", "harness.store.results_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # What it cannot parse is parsed again here.
                stderr=subprocess.DEVNULL,
                env=child_environment(os.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise HelperEndedError from error
        self._thread = Thread(target=self._talk, daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._end()
            raise HelperEndedError from error
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, whatever it is doing."""
        self._end()
        self._close()

    def _end(self) -> None:
        kill_tree(self._process.pid)
        # Bytes for a process that has ended may wait in the buffer.
        with suppress(BrokenPipeError), self._process:
            pass

    def takes(self, batch: Batch) -> bool:
        """Give it a batch, and return True; or return False, since another one waits.

        Raises:
            HelperEndedError: It has ended.
        """
        if self._failed:
            raise HelperEndedError
        try:
            self._waiting.put_nowait(batch)
        except Full:
            return False
        return True

    def results(self) -> Mapping[int, tuple[TrialResult, ...]]:
        """Wait for the results of all batches, by the place of the first result of each.

        Raises:
            HelperEndedError: It has ended before.
        """
        self._close()
        if self._failed:
            raise HelperEndedError
        return self._found

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _talk(self) -> None:
        """Give it one batch after another, and take the results; leave nothing in the queue."""
        while (batch := self._waiting.get()) is not None:
            if not self._failed:
                place, texts = batch
                try:
                    self._found[place] = self._parsed(texts)
                except Exception:  # of any kind: something else may print there, too
                    self._failed = True

    def _parsed(self, texts: Sequence[bytes]) -> tuple[TrialResult, ...]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(texts, self._process.stdin)
        self._process.stdin.flush()
        found = pickle.load(self._process.stdout)  # noqa: S301 - of our own process
        if not isinstance(found, tuple) or list(map(type, found)) != [TrialResult] * len(texts):
            raise ValueError("another answer than a result for each text")
        return found


def main() -> None:
    """Parse batches until there are no more."""
    gc.disable()
    read = ResultsReader().read
    with suppress(EOFError, BrokenPipeError):
        while True:
            texts: Sequence[bytes] = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the process that started it
            pickle.dump(tuple(map(read, texts)), sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
