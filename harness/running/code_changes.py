"""The code of harness that a run uses: recorded in its directory, its changes noted in the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from harness.machine.redaction import redact
from harness.model.results import TrialResult
from harness.model.status import STATUSES
from harness.running.resume import Opened
from harness.running.workers.interpreter import Interpreter
from harness.words import count


class CodeInUse:
    """The code of the workers of a run, from its start on."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter
        self._sha256 = interpreter.code_sha256()
        self._since: datetime | None = None

    def record(self, opened: Opened, done: int) -> str:
        """Record it in the directory of the run, and remove what earlier code proved and timed.

        Args:
            opened: the run, locked.
            done: the number of finished trials that are kept.

        Returns:
            A note if this code replaces earlier code of the run; empty if not.
        """
        before, self._since = (opened.directory if opened.edited is None else opened.edited).code()
        changed = before not in ("", self._sha256)
        if changed:
            self._since = datetime.now(UTC)
        removed = opened.directory.use_code(self._sha256, self._since)
        if not removed and not (changed and done):
            return ""
        again = "proofs will be made again: " if removed else ""
        stay = f"; {count(done, 'finished trial')} of the earlier code stay: --fresh runs all again"
        return f"{again}the code of harness changed{stay if done else ''}"

    def notes(self, results: Sequence[TrialResult]) -> Iterator[str]:
        """Yield notes for the report of these results, if earlier or edited code ran trials of it."""
        since = self._since
        earlier = sum(STATUSES[each.status].ran and each.started < since for each in results) if since else 0
        if earlier:
            yield (
                f"{earlier} of {count(len(results), 'trial')} ran with earlier code of harness, which no "
                "proof of this run covers: `harness run SUITE --fresh` runs all again"
            )
        if self._is_edited():
            folder = redact(str(self._interpreter.package.parent))
            yield (
                f"the code of harness in {folder} was edited during this run: its trials may have run with "
                "either version, which no proof covers: `harness run SUITE --fresh` runs all again"
            )

    def _is_edited(self) -> bool:
        try:
            return self._interpreter.code_sha256() != self._sha256
        except OSError:
            # Files come and go while another commit is checked out.
            return True
