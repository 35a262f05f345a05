"""MLflow: a run for each trial in an SQLite store, which `mlflow ui` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from harness.output.trackers.runs import TrackedRun

# Limits of MLflow's `log_batch`.
_METRICS: Final = 1_000
_PARAMS: Final = 100
_LONGEST_PARAM: Final = 6_000
_KEY: Final = "harness.key"
_WHOLE: Final = "harness.whole"

Item = TypeVar("Item")


@contextmanager
def open_tracker(folder: Path, project: str) -> Iterator[Mlflow]:
    """Open the store in a folder, with the experiment of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{(folder / 'mlflow.db').absolute()}")
    found = client.get_experiment_by_name(project)
    if found is None:
        artifacts = (folder / "artifacts").absolute().as_uri()
        yield Mlflow(client, client.create_experiment(project, artifact_location=artifacts))
    else:
        yield Mlflow(client, found.experiment_id)


@dataclass(frozen=True, slots=True)
class Mlflow:
    """An experiment; a tag marks a run that was written to its end."""

    client: Any
    experiment: str

    def has(self, key: str) -> bool:
        """Return whether a whole run with that key is stored."""
        return any(_WHOLE in run.data.tags for run in self._runs(key))

    def add(self, run: TrackedRun) -> None:
        """Store a run, in place of one that was stored in part."""
        for partial in self._runs(run.key):
            self.client.delete_run(partial.info.run_id)
        begin = int(1_000 * run.started.timestamp())
        created = self.client.create_run(
            self.experiment, start_time=begin, run_name=run.name, tags={_KEY: run.key, **run.tags}
        )
        identity = created.info.run_id
        params = [Param(name, text[:_LONGEST_PARAM]) for name, text in run.settings.items()]
        metrics = [Metric(name, value, begin, 0) for name, value in run.metrics.items()]
        metrics += [
            Metric(f"steps.{name}", value, begin, step)
            for name, values in run.series.items()
            for step, value in enumerate(values, start=1)
        ]
        for some in _parts(params, _PARAMS):
            self.client.log_batch(identity, params=some)
        for some in _parts(metrics, _METRICS):
            self.client.log_batch(identity, metrics=some)
        end = begin + int(1_000 * run.seconds)
        self.client.set_terminated(identity, "FINISHED" if run.completed else "FAILED", end)
        self.client.log_batch(identity, tags=[RunTag(_WHOLE, "yes")])

    def _runs(self, key: str) -> Sequence[Any]:
        found: Sequence[Any] = self.client.search_runs([self.experiment], f"tags.`{_KEY}` = '{key}'")
        return found


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[at : at + size] for at in range(0, len(items), size))
