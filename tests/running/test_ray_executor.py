"""What the executor for Ray makes of what it hears, without Ray: results, losses, second results."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness import __version__
from harness.errors import InvalidInputError, UnavailableError
from harness.machine.doctor_facts import Cluster
from harness.machine.requirements import require_extra
from harness.model.assets import ResolvedCheckpoint, ResolvedData
from harness.model.job import Job, Progress
from harness.model.results import TrialResult
from harness.model.suite import Measure
from harness.running.executor import Progressed, WorkerSetup
from harness.running.options import RunOptions
from harness.running.ray import ray_nodes
from harness.running.ray.ray_nodes import RayCluster, RayExecutor, checked_address, look_at_cluster
from harness.running.remote.protocol import Heard, Node, Request
from harness.running.remote.task import Slot, run_on_node
from harness.running.seams import seams_of
from harness.running.workers.judging import Ended
from harness.store.trial_folder import read_result, write_result
from tests.factories import make_result, make_trial

NODES = (
    Node(name="head", cpus=0, gpus=0),
    Node(name="one", cpus=4, gpus=0),
    Node(name="two", cpus=8, gpus=0),
)
GPU_NODES = (*NODES, Node(name="gpus", cpus=9, gpus=8))


class Said:
    """A connection over which is heard what the test says."""

    def __init__(self, nodes: Sequence[Node] = NODES) -> None:
        self.nodes = nodes
        self.orders: list[Mapping[str, Any]] = []
        self.says: list[Sequence[Heard] | None] = []
        self.closed = False

    def send(self, order: Mapping[str, Any]) -> None:
        self.orders.append(order)

    def heard(self, timeout_s: float) -> Sequence[Heard] | None:
        return self.says.pop(0) if self.says else ()

    def last_words(self) -> str:
        return "the head has gone, and s3cret-value with it"

    def close(self) -> None:
        self.closed = True


class Setting:
    """An executor over such a connection, and folders for trials."""

    def __init__(self, folder: Path, nodes: Sequence[Node] = NODES) -> None:
        self.folder = folder
        self.connection = Said(nodes)
        setup = WorkerSetup("some:runner", folder, {}, threads=2, secrets=("s3cret-value",))
        self.executor = RayExecutor(setup, self.connection, grace_s=1.0)

    def submit(self, seed: int = 0, device: str = "cpu", **changes: Any) -> Job:
        job = make_job(seed, device)
        job = job.model_copy(update={"trial": job.trial.model_copy(update=changes)})
        self.folder_of(job).mkdir(parents=True, exist_ok=True)
        self.executor.submit(job, self.folder_of(job))
        return job

    def folder_of(self, job: Job) -> Path:
        return self.folder / "trials" / job.trial.id

    def ended(self, *heard: Heard | None) -> list[Ended]:
        self.connection.says = [None if one is None else (one,) for one in heard]
        events = [event for _ in heard for event in self.executor.poll(0.0)]
        return [event for event in events if isinstance(event, Ended)]


def make_job(seed: int = 0, device: str = "cpu", folder: str = "/nowhere") -> Job:
    return Job(
        trial=make_trial(seed=seed, device=device),
        measure=Measure(),
        checkpoint=ResolvedCheckpoint(
            requested="tiny-uncased", name="tiny-uncased", source="local", path=f"{folder}/checkpoint"
        ),
        data=ResolvedData(
            requested="glue/mrpc",
            name="glue/mrpc",
            source="folder",
            layout="parquet",
            files={"train": (f"{folder}/train.parquet",)},
        ),
        cache_dir=f"{folder}/cache",
    )


def result_of(job: Job, accuracy: float = 0.85) -> TrialResult:
    return make_result(job.trial, accuracy=accuracy)


def test_a_result_from_a_node_is_written_here_with_its_log(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    job = setting.submit()
    log = "trained with s3cret-value\n"
    (ended,) = setting.ended(Heard(number=1, node="one", result=result_of(job), log=log))
    assert ended == Ended(result_of(job))
    assert read_result(setting.folder_of(job)) == result_of(job)
    assert (setting.folder_of(job) / "log").read_text() == "trained with [redacted]\n"


def test_a_trial_asks_for_a_cpu_a_thread_and_computes_with_so_many(tmp_path: Path) -> None:
    setting = Setting(tmp_path, GPU_NODES)
    setting.submit()
    setting.submit(device="cuda:0")
    assert [(order["cpus"], order["gpus"]) for order in setting.connection.orders] == [(2, 0), (2, 1)]
    request = Request.model_validate_json(setting.connection.orders[0]["request"])
    assert (request.threads, request.job.measure.threads) == (2, 2)


def test_the_first_valid_result_of_a_trial_wins_and_a_second_is_ignored(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    job = setting.submit()
    first, second = result_of(job, 0.9), result_of(job, 0.6)
    ended = setting.ended(Heard(number=1, result=first), Heard(number=1, result=second))
    assert [one.result for one in ended] == [first]
    assert read_result(setting.folder_of(job)) == first


def test_a_result_of_an_attempt_that_was_given_up_does_not_end_the_next(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    job = setting.submit()
    (killed,) = setting.ended(Heard(number=1, lost="NodeDiedError: the node died"))
    assert (killed.result.status, killed.may_retry) == ("killed", True)
    setting.submit()
    late, right = result_of(job, 0.6), result_of(job, 0.9)
    ended = setting.ended(Heard(number=1, result=late), Heard(number=2, result=right))
    assert [one.result for one in ended] == [right]
    assert read_result(setting.folder_of(job)) == right


def test_a_whole_result_that_lies_there_already_is_kept(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    job = setting.submit()
    write_result(setting.folder_of(job), result_of(job, 0.9))
    (ended,) = setting.ended(Heard(number=1, result=result_of(job, 0.6)))
    assert ended.result == read_result(setting.folder_of(job)) == result_of(job, 0.9)


def test_the_result_of_another_trial_is_not_taken(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    job = setting.submit()
    other = result_of(make_job(seed=1))
    (ended,) = setting.ended(Heard(number=1, node="one", result=other))
    assert ended.result.status == "killed"
    assert f"the result of another trial, {other.trial.id} on one" in (ended.result.reason or "")
    assert read_result(setting.folder_of(job)).trial == job.trial


def test_what_a_node_could_not_run_has_failed_and_may_be_retried(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    setting.submit()
    (ended,) = setting.ended(Heard(number=1, refused="the node has harness 9"))
    assert (ended.result.status, ended.may_retry) == ("failed", True)
    assert "the node has harness 9" in (ended.result.reason or "")


def test_what_ray_ended_for_want_of_memory_is_out_of_memory(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    setting.submit()
    (ended,) = setting.ended(Heard(number=1, memory_ran_out=True))
    assert (ended.result.status, ended.may_retry) == ("oom", True)


def test_progress_is_passed_on_and_its_phase_is_where_a_trial_is_lost(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    job = setting.submit()
    progress = Progress(phase="tokenize", step=0)
    setting.connection.says = [(Heard(number=1, progress=progress),)]
    assert setting.executor.poll(0.0) == [Progressed(job.trial, progress)]
    (ended,) = setting.ended(Heard(number=1, lost="gone"))
    assert ended.result.phase == "tokenize"


def test_when_the_cluster_is_lost_so_are_its_trials_and_all_that_come_after(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    first, second = setting.submit(0), setting.submit(1)
    lost = setting.ended(None)
    assert [(one.result.trial, one.result.status) for one in lost] == [
        (first.trial, "killed"),
        (second.trial, "killed"),
    ]
    assert "the head has gone, and [redacted] with it" in (lost[0].result.reason or "")
    setting.submit(2)
    assert [one.result.status for one in setting.ended(())] == ["killed"]  # type: ignore[arg-type] # no news
    assert setting.connection.closed


def test_stopping_cancels_what_runs_and_leaves_no_result(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    job = setting.submit()
    (result,) = setting.executor.stop(0.0)
    assert result.status == "interrupted"
    assert setting.connection.orders[-1] == {"cancel": 1}
    assert setting.connection.closed
    assert not (setting.folder_of(job) / "result.json").exists()


def test_threads_that_no_node_has_are_refused_before_any_trial(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"2 CPUs.*more than 1"):
        Setting(tmp_path, (Node(name="small", cpus=1, gpus=0),))


def test_a_trial_on_several_gpus_is_one_task_that_asks_for_all_of_them(tmp_path: Path) -> None:
    setting = Setting(tmp_path, GPU_NODES)
    setting.submit(device="cuda:0", engine="loop", world_size=4)
    assert [(order["cpus"], order["gpus"]) for order in setting.connection.orders] == [(2, 4)]
    setting.submit(device="cuda:0", engine="loop", world_size=16)
    (ended,) = setting.executor.poll(0.0)
    assert isinstance(ended, Ended)
    assert "no node of the cluster has 16 GPUs and 2 CPUs" in (ended.result.reason or "")


def test_a_gpu_that_no_node_has_beside_its_cpus_is_not_waited_for(tmp_path: Path) -> None:
    setting = Setting(tmp_path, (*NODES, Node(name="gpu", cpus=1, gpus=1)))
    setting.submit(device="cuda:0")
    (ended,) = setting.executor.poll(0.0)
    assert isinstance(ended, Ended)
    assert ended.result.status == "failed"
    assert "no node of the cluster has a GPU and 2 CPUs" in (ended.result.reason or "")
    assert setting.connection.orders == []


def test_a_cluster_counts_a_device_for_each_node_and_each_gpu_with_its_cpus() -> None:
    cluster = RayCluster(Said(GPU_NODES), "head:6379")
    assert cluster.count("cpu", 4) == 3
    assert cluster.count("cpu", 8) == 2
    assert cluster.count("cuda:0", 2) == 4
    assert cluster.machine().devices == ("cuda:0", "cpu")
    assert RayCluster(Said(), "head:6379").machine().devices == ("cpu",)


def test_a_node_that_cannot_run_trials_is_named_and_not_counted() -> None:
    broken = Node(name="old", cpus=8, gpus=0, processor="Xeon", problem="it has harness 9")
    cluster = RayCluster(Said((*NODES, broken)), "head:6379")
    offer, wrong = cluster.describe().split("; ")
    assert offer == "running on the Ray cluster head:6379: 4 nodes, 20 CPUs, 0 GPUs"
    assert wrong == "old can run no trial: it has harness 9"
    assert cluster.count("cpu", 8) == 1
    assert cluster.machine().processors == ("Xeon",)
    cluster.require_nodes()
    with pytest.raises(UnavailableError, match=r"head: it offers no CPU; old: it has harness 9"):
        RayCluster(Said((NODES[0], broken)), "head:6379").require_nodes()


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "head.cluster:6379", "[::1]:6379"])
def test_addresses_of_a_head_are_taken(address: str) -> None:
    assert checked_address(address) == address


@pytest.mark.parametrize(
    "address", ["ray://head:10001", "http://head:8265", "head", "local", "a b:1", "--x:1:2"]
)
def test_addresses_that_no_driver_can_use_are_refused(address: str) -> None:
    with pytest.raises(InvalidInputError, match="Ray address"):
        checked_address(address)


def test_an_address_without_the_executor_is_refused() -> None:
    options = RunOptions(ray_address="head:6379")
    with pytest.raises(InvalidInputError), seams_of(options, None, lambda _note: None):
        pass


@pytest.mark.parametrize(("found", "says"), [(None, "found none"), ("2.9.3", "found 2.9.3")])
def test_without_the_package_the_command_that_installs_it_is_shown(found: str | None, says: str) -> None:
    with pytest.raises(UnavailableError) as raised:
        require_extra("ray", ['ray>=2.60; extra == "ray"'], lambda _name: found)
    assert f"needs ray>=2.60, {says}" in raised.value.message
    assert "-m pip install " in (raised.value.hint or "")


def test_a_node_without_the_files_says_which_and_what_is_required() -> None:
    request = Request(number=7, job=make_job(), runner="some:runner", threads=1, grace_s=1.0)
    (said,) = run_on_node(__version__, 7, request.model_dump_json())
    heard = Heard.model_validate_json(said)
    assert heard.result is not None
    assert heard.result.status == "unavailable"
    assert "has no /nowhere/checkpoint and 1 more" in (heard.result.reason or "")
    assert "a file system that all share" in (heard.result.reason or "")


def test_a_node_with_another_harness_refuses() -> None:
    (said,) = run_on_node("0.0.1", 7, "of another version")
    assert f"has harness {__version__}, the run is by harness 0.0.1" in said


def request_of(folder: Path, seed: int, runner: str, number: int = 7, stall_s: float = 30.0) -> Request:
    """A trial whose files are in the folder."""
    (folder / "checkpoint").mkdir(exist_ok=True)
    (folder / "train.parquet").touch()
    job = make_job(seed, folder=str(folder))
    measure = job.measure.model_copy(update={"stall_timeout_seconds": stall_s})
    runner = runner if ":" in runner else f"tests.running.runners:{runner}"
    return Request(
        number=number,
        job=job.model_copy(update={"measure": measure}),
        runner=runner,
        threads=1,
        grace_s=1.0,
    )


def hear(folder: Path, seed: int, runner: str) -> tuple[Job, list[Heard]]:
    """What is heard of a trial that this machine runs as a node."""
    request = request_of(folder, seed, runner)
    said = run_on_node(__version__, 7, request.model_dump_json())
    return request.job, [Heard.model_validate_json(text) for text in said]


def test_a_node_whose_disk_is_full_loses_the_trial_which_is_not_its_fault(tmp_path: Path) -> None:
    _, said = hear(tmp_path, 1, "without_space")
    assert said[-1].result is None
    assert "no space left to write to" in (said[-1].lost or "")


def test_a_node_runs_a_trial_as_a_machine_alone_does(tmp_path: Path) -> None:
    job, said = hear(tmp_path, 0, "good")
    assert [one.progress.phase for one in said if one.progress is not None][-1] == "train"
    assert said[-1].result is not None
    assert (said[-1].result.trial, said[-1].result.status) == (job.trial, "completed")


def result_in(slot: Slot, request: Request) -> TrialResult:
    """The result of a trial in a slot."""
    *_, last = (Heard.model_validate_json(text) for text in slot.run(request.model_dump_json()))
    assert last.result is not None, last
    return last.result


def test_a_slot_forks_all_its_trials_from_one_server(tmp_path: Path) -> None:
    with closing(Slot()) as slot:
        notes = [
            result_in(slot, request_of(tmp_path, seed, "tests.running.warm_runner:run")).notes
            for seed in (2, 3, 4)
        ]
    assert notes == [("warmed for 2",), ("warmed for 2, 3",), ("warmed for 2, 3, 4",)]


def test_nothing_that_a_trial_does_reaches_the_next_of_its_slot(tmp_path: Path) -> None:
    crash, kill, hang, flood, memory = 100, 104, 106, 110, 122
    ends = {crash: "killed", kill: "killed", hang: "timeout", flood: "completed", memory: "oom"}
    with closing(Slot()) as slot:
        for seed, status in ends.items():
            request = request_of(tmp_path, seed, "hostile", stall_s=1.0 if seed == hang else 30.0)
            assert result_in(slot, request).status == status
            assert result_in(slot, request_of(tmp_path, 1, "hostile")).status == "completed"


def test_a_trial_that_kills_its_server_costs_the_next_of_its_slot_nothing(tmp_path: Path) -> None:
    with closing(Slot()) as slot:
        killed = result_in(slot, request_of(tmp_path, 5, "tests.running.warm_runner:run"))
        assert (killed.status, "its fork server ended" in (killed.reason or "")) == ("killed", True)
        after = result_in(slot, request_of(tmp_path, 2, "tests.running.warm_runner:run"))
    assert after.notes == ("warmed for 2",)


def test_a_trial_that_is_cancelled_has_no_result_and_the_next_runs(tmp_path: Path) -> None:
    with closing(Slot()) as slot:
        news = slot.run(request_of(tmp_path, 0, "talking", number=7).model_dump_json())
        next(news)
        slot.cancel(7)
        assert all(Heard.model_validate_json(text).result is None for text in news)
        assert result_in(slot, request_of(tmp_path, 0, "good", number=8)).status == "completed"


def test_a_slot_that_is_closed_ends_its_trial_and_removes_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    slot, heard = Slot(), queue.SimpleQueue[str]()
    request = request_of(tmp_path, 0, "talking").model_dump_json()

    def listen() -> None:
        for text in slot.run(request):
            heard.put(text)

    running = threading.Thread(target=listen)
    running.start()
    heard.get(timeout=30)
    assert list((tmp_path / "temporary").glob("harness-node-*"))
    slot.close()
    running.join(timeout=30)
    assert not running.is_alive()
    assert not list((tmp_path / "temporary").glob("harness-*"))


def test_a_slot_of_another_version_refuses() -> None:
    assert Slot().ready(__version__) is None
    assert f"has harness {__version__}, the run is by harness 0.0.1" in (Slot().ready("0.0.1") or "")


def test_a_node_is_described_by_what_it_offers() -> None:
    assert [str(node) for node in GPU_NODES] == [
        "head: 0 CPUs", "one: 4 CPUs", "two: 8 CPUs", "gpus: 9 CPUs, 8 GPUs",
    ]  # fmt: skip
    full = Node(name="a", cpus=2, gpus=1, processor="Xeon", accelerator="H100")
    assert str(full) == "a: 2 CPUs, 1 GPUs (H100), Xeon"
    assert RayCluster(Said(), "head:6379").machine().nodes == ("one: 4 CPUs", "two: 8 CPUs")


def test_a_cluster_is_looked_at_where_one_is_named_or_runs_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    asked: list[str] = []

    def connect(address: str) -> Said:
        asked.append(address)
        if address == "lost:1":
            raise UnavailableError("cannot use the Ray cluster at lost:1", hint="Start one.")
        return Said((*NODES, Node(name="old", cpus=8, gpus=0, problem="it has harness 9")))

    monkeypatch.setattr(ray_nodes, "RayConnection", connect)
    monkeypatch.setattr(ray_nodes, "require_extra", lambda _extra: None)
    assert look_at_cluster(None) is None
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.1:6379")
    nodes, problems = ("one: 4 CPUs", "two: 8 CPUs"), ("old can run no trial: it has harness 9",)
    assert look_at_cluster(None) == Cluster("auto", named=False, nodes=nodes, problems=problems)
    lost = look_at_cluster("lost:1")
    assert lost == Cluster(
        "lost:1", named=True, error="cannot use the Ray cluster at lost:1", advice="Start one."
    )
    assert asked == ["auto", "lost:1"]
    with pytest.raises(InvalidInputError):
        look_at_cluster("ray://head:10001")
