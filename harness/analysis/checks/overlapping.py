"""Find trials that are stored as alone on their device although others ran there at the same time.

Machines of a cluster can be of one kind, so that trials on two of them overlap. But a training that runs
alone probes its machine, which one beside others does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from harness.analysis.checks.contradiction import Contradiction
from harness.model.metrics import is_metric, metric_named
from harness.model.results import TrialResult

# A worker ends shortly after its result.
_OVERLAP_S: Final = 1.0


def beside_others(results: Sequence[TrialResult]) -> dict[str, Contradiction]:
    """Return a contradiction for each training that overlaps another, as alone and without a probe, by id."""
    suspects = {result.trial.id for result in results if _lacks_probe(result)}
    if not suspects:
        return {}
    of_device: dict[tuple[str, str], list[TrialResult]] = {}
    for result in results:
        if result.status == "completed" and result.environment is not None:
            key = (result.trial.device, result.environment.fingerprint)
            of_device.setdefault(key, []).append(result)
    return {
        result.trial.id: Contradiction(
            tuple(
                name for name in result.metrics if is_metric(name) and metric_named(name).depends_on_machine
            ),
            "its times are stored as those of a trial alone on its device",
            "another trial ran there at the same time, and no probe of the machine is stored",
        )
        for group in of_device.values()
        for result in _overlapping(group)
        if result.trial.id in suspects
    }


def _lacks_probe(result: TrialResult) -> bool:
    """Return whether a training with a speed and a record of what it observed has no probe."""
    if result.status != "completed" or result.concurrent > 1 or result.apart is not None:
        return False
    return result.probe is None and result.observed is not None and bool(result.values("train_step_seconds"))


def _overlapping(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the results whose trials overlap another one by more than the end of a worker."""
    ordered = sorted(results, key=lambda result: result.started)
    begins = [result.started.timestamp() for result in ordered]
    ends = [begin + result.duration_s for begin, result in zip(begins, ordered, strict=True)]
    latest = [0.0, *accumulate(ends, max)]
    following = [*begins[1:], float("inf")]
    return [
        result
        for result, begin, end, before, after in zip(
            ordered, begins, ends, latest[:-1], following, strict=True
        )
        if begin < before - _OVERLAP_S or after < end - _OVERLAP_S
    ]
