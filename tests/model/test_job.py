"""A job as other processes read it."""

from __future__ import annotations

from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.job import Job
from harness.model.suite import Measure
from tests.factories import make_trial


def test_a_plain_job_has_the_keys_that_every_version_reads() -> None:
    """`harness ab` gives jobs to workers of other versions, which reject unknown keys."""
    job = Job(
        trial=make_trial(),
        measure=Measure(),
        checkpoint=ResolvedCheckpoint(requested="none", name="none", source="local", path="/"),
        data=ResolvedData(requested="none", name="none", source="folder", layout="files", files={}),
        cache_dir="/",
    )
    assert list(job.model_dump(mode="json")) == [
        *("trial", "purpose", "measure", "checkpoint", "data", "cache_dir"),
        *("concurrent", "allow_weights", "failures"),
    ]
