"""The executors by name: what each puts in place of this machine for a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.errors import InvalidInputError
from harness.running.options import RunOptions
from harness.running.seams import Seams


@contextmanager
def seams_of(options: RunOptions, given: Seams | None, note: Callable[[str], None]) -> Iterator[Seams]:
    """The machine that the options name, for as long as a run needs it; `given` takes its place.

    `note` is told which cluster that is.

    Raises:
        InvalidInputError: the address of the cluster is none that can be used from here, or not asked for.
        UnavailableError: there is no such cluster, it refuses the token, or `ray` is not installed.
    """
    if options.executor != "ray" and options.ray_address is not None:
        raise InvalidInputError(
            "an address of a Ray cluster, and no trial that would run there",
            hint="Add --executor ray, or leave out --ray-address.",
        )
    if given is not None or options.executor == "local":
        yield given or Seams()
        return
    # Most runs need none of this.
    from harness.machine.requirements import require_extra  # noqa: PLC0415
    from harness.running.ray.cluster import ray_cluster  # noqa: PLC0415

    require_extra("ray")
    with ray_cluster(options.ray_address) as cluster:
        note(cluster.describe())
        yield Seams(machine=cluster.machine, executor=cluster.executor, count=cluster.count)
