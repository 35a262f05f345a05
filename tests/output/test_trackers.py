"""Trials in experiment trackers: their numbers and steps, each once, in the real packages where installed."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from harness.cli import main
from harness.errors import StorageError, UnavailableError
from harness.output.trackers.known_trackers import TRACKERS, Place, TrackerName, export
from harness.output.trackers.runs import TrackedRun, tracked_runs
from harness.store.writing import to_json
from tests.factories import STARTED, make_measurements, make_predictions, make_report, make_result, make_trial

REPORT = make_report(
    [
        make_result(make_trial("dynamic", 0)),
        make_result(
            make_trial("dynamic", 1), measurements=make_measurements(make_predictions(1), steps=1_500, seed=1)
        ),
        make_result(make_trial("static", 2), status="oom"),
        make_result(make_trial("dynamic", 3), status="unavailable"),
    ]
)
SPEED = "train_real_tokens_per_second"
STEPS = "train_step_seconds"


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")


# Trackio reads its folder once in a process: its test starts its own.
EACH = [pytest.param(name, marks=needs(name)) for name in TRACKERS if name != "trackio"]


@pytest.fixture(autouse=True)
def _without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection but those of processes on this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.output.trackers.known_trackers.require_extra", lambda _name: None)
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            _refuse(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


def _refuse(address: object) -> NoReturn:
    raise AssertionError(f"a connection to {address}")


def test_a_trial_has_its_settings_numbers_and_steps() -> None:
    first, second, failed = tracked_runs(REPORT)
    assert first.key.startswith(f"{REPORT.results[0].trial.id}-")
    assert len({run.key for run in (first, second, failed)}) == 3
    assert first.settings["padding"] == "dynamic"
    assert first.settings["seed"] == "0"
    assert first.metrics[SPEED] == REPORT.results[0].value(SPEED)
    assert len(second.series[STEPS]) == 1_500
    assert first.series["epoch.eval_f1"] == tuple(
        epoch.scores["eval_f1"] for epoch in REPORT.results[0].epochs
    )
    assert (first.completed, failed.completed) == (True, False)
    assert failed.tags["harness.reason"] == "the trial was oom"
    assert [*tracked_runs(REPORT)] == [first, second, failed]


def test_the_same_trial_in_another_run_is_another_run_of_the_tracker() -> None:
    later = REPORT.model_copy(
        update={
            "results": tuple(
                each.model_copy(update={"started": STARTED + timedelta(days=1)}) for each in REPORT.results
            )
        }
    )
    assert {run.key for run in tracked_runs(later)}.isdisjoint(run.key for run in tracked_runs(REPORT))


@pytest.mark.parametrize("name", EACH)
def test_each_trial_is_exported_once(name: TrackerName, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    assert [each.added for each in export(REPORT, name, folder, "p")] == [True, True, True]
    assert [each.added for each in export(REPORT, name, folder, "p")] == [False, False, False]
    assert [each.added for each in export(REPORT, name, folder, "q")] == [True, True, True] or name == "wandb"


@needs("tensorboard")
def test_tensorboard_reads_the_numbers_and_every_step(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    list(export(REPORT, "tensorboard", tmp_path, "p"))
    _, second, _ = tracked_runs(REPORT)
    events = EventAccumulator(str(tmp_path / "p" / second.key), size_guidance={"scalars": 0})
    events.Reload()
    (speed,) = events.Scalars(SPEED)
    assert speed.value == pytest.approx(second.metrics[SPEED], rel=1e-6)
    steps = events.Scalars(f"steps/{STEPS}")
    assert [each.step for each in steps] == [*range(1, 1_501)]
    assert [each.value for each in steps] == pytest.approx(second.series[STEPS], rel=1e-6)


@needs("mlflow")
def test_mlflow_has_the_parameters_numbers_and_every_step(tmp_path: Path) -> None:
    from harness.output.trackers.mlflow_store import open_tracker  # noqa: PLC0415

    list(export(REPORT, "mlflow", tmp_path / "mlruns", "p"))
    runs = {run.key: run for run in tracked_runs(REPORT)}
    with open_tracker(tmp_path / "mlruns", "p") as store:
        stored = store.client.search_runs([store.experiment])
        assert {each.data.tags["harness.key"] for each in stored} == set(runs)
        for each in stored:
            run = runs[each.data.tags["harness.key"]]
            assert each.data.params == run.settings
            assert {name: each.data.metrics[name] for name in run.metrics} == pytest.approx(run.metrics)
            assert each.info.status == ("FINISHED" if run.completed else "FAILED")
            if STEPS in run.series:
                found = store.client.get_metric_history(each.info.run_id, f"steps.{STEPS}")
                assert tuple(one.value for one in sorted(found, key=lambda one: one.step)) == pytest.approx(
                    run.series[STEPS]
                )


@needs("wandb")
def test_an_offline_run_of_wandb_is_a_folder_that_can_be_synchronized(tmp_path: Path) -> None:
    list(export(REPORT, "wandb", tmp_path, "p"))
    for run in tracked_runs(REPORT):
        (folder,) = tmp_path.glob(f"wandb/offline-run-*-{run.key}")
        (file,) = folder.glob("*.wandb")
        assert file.stat().st_size > 0
        assert SPEED.encode() in file.read_bytes() or not run.completed


@needs("trackio")
def test_trackio_has_the_numbers_and_every_step_once(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_bytes(to_json(REPORT))
    script = (
        "import json; from pathlib import Path; from harness.store.reading import load_report;"
        "from harness.output.trackers import known_trackers as known;"
        "known.require_extra = lambda name: None;"
        "report = load_report(Path('report.json'));"
        "once = lambda: [one.added for one in known.export(report, 'trackio', Path('t'), 'p')];"
        "added = [once(), once()];"
        "from trackio.sqlite_storage import SQLiteStorage as s;"
        "logs = {r['id']: s.get_logs('p', r['name'], run_id=r['id']) for r in s.get_run_records('p')};"
        "print(json.dumps([added, logs]))"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        (sys.executable, "-c", script), capture_output=True, text=True, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    added, logs = json.loads(done.stdout.splitlines()[-1])
    assert added == [[True] * 3, [False] * 3]
    runs = {run.key: run for run in tracked_runs(REPORT)}
    assert set(logs) == {key for key, run in runs.items()}
    for key, rows in logs.items():
        found = [row[f"steps/{STEPS}"] for row in rows if f"steps/{STEPS}" in row]
        assert tuple(found) == pytest.approx(runs[key].series.get(STEPS, ()))


@pytest.mark.parametrize("name", EACH)
def test_an_export_that_was_cut_short_is_repeated(
    name: TrackerName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "mlflow":
        from mlflow.tracking import MlflowClient  # noqa: PLC0415

        with monkeypatch.context() as cut:
            cut.setattr(MlflowClient, "set_terminated", _cut)
            with pytest.raises(KeyboardInterrupt):
                list(export(REPORT, name, tmp_path, "p"))
    else:
        list(export(REPORT, name, tmp_path, "p"))
        for file in tmp_path.rglob("whole"):
            file.unlink()
    assert [each.added for each in export(REPORT, name, tmp_path, "p")] == [True, True, True]
    assert [each.added for each in export(REPORT, name, tmp_path, "p")] == [False, False, False]


@contextmanager
def _files_end_at(size: int) -> Iterator[None]:
    """Let the system refuse longer files to this process and to those that it starts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@needs("tensorboard")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_tensorboard_could_not_store_is_an_error_and_stored_by_the_next_export(tmp_path: Path) -> None:
    with _files_end_at(2**13), pytest.raises(StorageError, match="tensorboard could not store the trials"):
        list(export(REPORT, "tensorboard", tmp_path, "p"))
    assert [each.added for each in export(REPORT, "tensorboard", tmp_path, "p")] == [False, True, True]
    assert [each.added for each in export(REPORT, "tensorboard", tmp_path, "p")] == [False, False, False]


@needs("mlflow")
def test_a_database_that_mlflow_cannot_write_is_an_error(tmp_path: Path) -> None:
    with _files_end_at(2**13), pytest.raises(StorageError, match="mlflow could not store the trials"):
        list(export(REPORT, "mlflow", tmp_path, "p"))


@needs("wandb")
def test_every_torn_end_of_an_offline_run_is_seen(tmp_path: Path) -> None:
    from harness.output.trackers.wandb_offline import _kinds  # noqa: PLC0415

    list(export(REPORT, "wandb", tmp_path, "p"))
    key = next(run.key for run in tracked_runs(REPORT) if run.series and len(run.series[STEPS]) == 1_500)
    (file,) = tmp_path.glob(f"wandb/offline-run-*-{key}/*.wandb")
    data = file.read_bytes()
    assert len(data) > 2**16
    kinds = list(_kinds(data))
    assert kinds.count("history") == 1_500
    assert kinds[-1] == "exit"
    for size in (0, 5, 7, 13, 2**15 - 3, 2**15, 2**15 + 5, len(data) // 2, len(data) - 1):
        torn = list(_kinds(data[:size]))
        assert torn == kinds[: len(torn)]
        assert "exit" not in torn


def _cut(*_arguments: object, **_settings: object) -> NoReturn:
    raise KeyboardInterrupt


def test_a_tracker_that_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_module: str) -> NoReturn:
        raise ImportError("No module named 'wandb'")

    monkeypatch.setattr("harness.output.trackers.known_trackers.import_module", missing)
    with pytest.raises(UnavailableError, match="wandb cannot be imported") as caught:
        list(export(REPORT, "wandb", tmp_path, "p"))
    assert "pip install" in str(caught.value.hint)


class Files:
    """A tracker whose runs are empty files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, key: str) -> bool:
        return (self._folder / key).exists()

    def add(self, run: TrackedRun) -> None:
        (self._folder / run.key).touch()


@contextmanager
def open_tracker(folder: Path, project: str) -> Iterator[Files]:
    """Open such a store, as the module of a tracker does."""
    (folder / project).mkdir(parents=True, exist_ok=True)
    yield Files(folder / project)


def test_the_command_exports_a_report_and_tells_what_it_added(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKERS, "tensorboard", Place(__name__, Path("runs")))
    (tmp_path / "report.json").write_bytes(to_json(REPORT))
    found = []
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["export", "report.json", "--to", "tensorboard", "--json"])
        assert ended.value.code == 0
        output, errors = capfd.readouterr()
        assert "not exported: 1 trial without a start" in errors
        found.append([each["added"] for each in json.loads(output)["trials"]])
    assert found == [[True] * 3, [False] * 3]
    assert len(list(Path("runs/padding").iterdir())) == 3
    with pytest.raises(SystemExit):
        main(["export", "report.json", "--to", "tensorboard", "--json", "-k", "static", "--project", "some"])
    output, errors = capfd.readouterr()
    assert "-k 'static': 1 of 2 variants" in errors
    assert 0 < len(json.loads(output)["trials"]) < 3
    assert len(list(Path("runs/some").iterdir())) == len(json.loads(output)["trials"])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "some text"), "No space left on device"),
        (
            sqlite3.OperationalError("database or disk is full\nmore"),
            "OperationalError: database or disk is full",
        ),
        (RuntimeError(), "RuntimeError: no reason given"),
    ],
)
def test_an_error_of_a_tracker_is_told_without_a_traceback(
    error: Exception,
    expected: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_self: Files, _run: TrackedRun) -> NoReturn:
        raise error

    monkeypatch.setitem(TRACKERS, "mlflow", Place(__name__, Path("runs")))
    monkeypatch.setattr(Files, "add", fail)
    (tmp_path / "report.json").write_bytes(to_json(REPORT))
    with pytest.raises(SystemExit) as ended:
        main(["export", "report.json", "--to", "mlflow"])
    assert ended.value.code == 74
    output, errors = capfd.readouterr()
    assert output == ""
    assert f"error: runs: mlflow could not store the trials: {expected}\n" in errors
    assert "run the same command again" in errors
    assert "Traceback" not in errors
