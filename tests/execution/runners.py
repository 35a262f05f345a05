"""Stand-ins for what trains: quick, deterministic, and some of them hostile. No torch."""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime

from harness.environment import Device, describe_environment, physical_cores
from harness.job import Announce, Job, Progress
from harness.results.models import TrialResult
from tests.factories import make_checkpoint, make_data, make_result


def completed(job: Job) -> TrialResult:
    """What a good trial gives: the same for the same trial, outside of times."""
    draw = random.Random(job.trial.id)
    threads = job.measure.threads or physical_cores()
    return make_result(
        job.trial,
        accuracy=draw.uniform(0.6, 0.9),
        checkpoint=make_checkpoint(
            requested=job.checkpoint.requested,
            name=job.checkpoint.name,
            source=job.checkpoint.source,
            revision=job.checkpoint.revision,
            stand_in=job.checkpoint.stand_in,
        ),
        data=make_data(
            requested=job.data.requested,
            name=job.data.name,
            source=job.data.source,
            revision=job.data.revision,
            synthetic=job.data.synthetic,
        ),
        environment=describe_environment(Device(kind="cpu", name="fake"), threads),
        started=datetime.now(UTC),
        duration_s=0.01,
    )


def good(job: Job, announce: Announce) -> TrialResult:
    """Completes at once."""
    announce(Progress(phase="load_data"))
    for step in range(1, 4):
        announce(Progress(phase="train", step=step, steps=3, epoch=1, loss=0.7 / step))
    return completed(job)


def slow(job: Job, announce: Announce) -> TrialResult:
    """Completes after FAKE_SECONDS, 0.3 unless set."""
    announce(Progress(phase="train", step=1, steps=2))
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0.3")))
    return completed(job)
