"""The actors of a run, on a cluster that is simulated: which are started, used again, and ended."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.results import TrialResult
from harness.running.remote.protocol import Heard
from tests.factories import make_result, make_trial

if importlib.util.find_spec("ray") is None:
    pytest.skip("ray is not installed (extra `ray`)", allow_module_level=True)

from ray.exceptions import ActorDiedError, RayError

from harness.running.ray import slots
from harness.running.ray.slots import Slots

RESULT: TrialResult = make_result(make_trial())


class Kind(NamedTuple):
    """The resources of a trial."""

    cpus: int
    gpus: int = 0
    ranks: int = 1


PLAIN = Kind(2)


@dataclass(eq=False)
class Answer:
    """A reference to the answer of an actor."""

    actor: Actor


@dataclass(eq=False)
class Actor:
    """An actor: started where its resources are free, and dead once killed or its node is lost."""

    cluster: FakeRay
    kind: Kind
    started: bool = False
    alive: bool = True
    runs: int = 0
    closed: bool = False
    problem: str | None = None
    dies_in_trial: bool = False

    def __getattr__(self, name: str) -> Method:
        return Method(self, name)

    def stream(self, number: int) -> Iterator[str]:
        self.runs += 1
        if self.dies_in_trial:
            self.alive = False
        self.check()
        yield Heard(number=number, result=RESULT).model_dump_json()

    def check(self) -> None:
        if not self.alive:
            raise ActorDiedError


@dataclass(eq=False)
class Method:
    """A method of an actor."""

    actor: Actor
    name: str

    def options(self, **options: Any) -> Method:
        return self

    def remote(self, *arguments: Any) -> object:
        if self.name == "run":
            return self.actor.stream(int(arguments[0]))
        if self.name == "close":
            self.actor.closed = True
        return Answer(self.actor)


@dataclass
class FakeRay:
    """A cluster of one node with so many CPUs and GPUs."""

    cpus: int = 2
    gpus: int = 0
    actors: list[Actor] = field(default_factory=list)
    coming: dict[str, Any] = field(default_factory=dict)
    groups: list[list[dict[str, int]]] = field(default_factory=list)
    removed: list[object] = field(default_factory=list)

    def remote(self, _class: type) -> FakeRay:
        return self

    def options(self, *, num_cpus: int, num_gpus: int, **others: Any) -> Any:
        cluster = self

        class Class:
            def remote(self) -> Actor:
                actor = Actor(cluster, Kind(num_cpus, num_gpus), **cluster.coming)
                cluster.actors.append(actor)
                return actor

        return Class()

    def placement_group(self, bundles: list[dict[str, int]], strategy: str) -> object:
        assert strategy == "STRICT_PACK"
        self.groups.append(bundles)
        return bundles

    def wait(
        self, awaited: Sequence[object], num_returns: int = 1, timeout: float = 0
    ) -> tuple[list[object], None]:
        self.start()
        found = [one for one in awaited if not isinstance(one, Answer) or one.actor.started]
        return found[:num_returns], None

    def get(self, what: object) -> object:
        if isinstance(what, Answer):
            what.actor.check()
            return what.actor.problem
        return what

    def kill(self, actor: Actor) -> None:
        actor.alive = False

    def start(self) -> None:
        for actor in self.actors:
            if actor.alive and not actor.started:
                running = [one.kind for one in self.actors if one.alive and one.started]
                cpus = sum(kind.cpus for kind in running) + actor.kind.cpus
                gpus = sum(kind.gpus for kind in running) + actor.kind.gpus
                actor.started = cpus <= self.cpus and gpus <= self.gpus


class Run:
    """A run on such a cluster."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **cluster: Any) -> None:
        self.cluster = FakeRay(**cluster)
        monkeypatch.setattr(slots, "ray", self.cluster)
        monkeypatch.setattr(slots, "placement_group", self.cluster.placement_group)
        monkeypatch.setattr(slots, "remove_placement_group", self.cluster.removed.append)
        self.heard: list[Heard] = []
        self.slots = Slots(lambda line: self.heard.append(Heard.model_validate_json(line)))
        self.submitted = 0

    def submit(self, kind: Kind = PLAIN) -> None:
        self.submitted += 1
        self.slots.submit(
            {"submit": self.submitted, "name": "x", "request": str(self.submitted), **kind._asdict()}
        )

    def finish(self) -> list[Heard]:
        """Listen until nothing runs, and return what was heard meanwhile."""
        before = len(self.heard)
        for _ in range(100 * (self.submitted + 1)):
            if not self.slots.busy:
                return self.heard[before:]
            self.slots.listen(0.0)
        raise AssertionError("a trial is never run")

    def do(self, kind: Kind = PLAIN) -> Heard:
        self.submit(kind)
        (heard,) = self.finish()
        return heard


def test_one_actor_runs_the_trials_that_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    assert [run.do().result for _ in range(3)] == [RESULT] * 3
    (actor,) = run.cluster.actors
    assert actor.runs == 3
    run.slots.close()
    assert actor.closed
    assert not actor.alive


def test_a_trial_that_comes_with_the_end_of_another_takes_its_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, cpus=4)
    run.submit()
    while not run.heard:
        run.slots.listen(0.0)
    run.do()
    assert [actor.runs for actor in run.cluster.actors] == [2]


KINDS = st.builds(Kind, st.integers(1, 3), st.integers(0, 2))


@given(st.lists(st.lists(KINDS, min_size=1, max_size=4), max_size=6))
def test_every_trial_ends_whatever_actors_keep_the_resources(rounds: list[list[Kind]]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        run = Run(monkeypatch, cpus=3, gpus=2)
        for kinds in rounds:
            for kind in kinds:
                run.submit(kind)
                run.slots.listen(0.0)
            run.finish()
        assert sorted(heard.number for heard in run.heard) == list(range(1, run.submitted + 1))
        assert all(heard.result == RESULT for heard in run.heard)


def test_two_that_wait_share_the_only_place_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    for _ in range(3):
        run.submit()
    assert len(run.finish()) == 3
    assert [actor.runs for actor in run.cluster.actors if actor.started] == [3]


def test_a_node_that_is_lost_between_two_trials_costs_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.do()
    run.cluster.actors[0].alive = False
    assert run.do().result == RESULT
    assert [actor.runs for actor in run.cluster.actors] == [1, 1]


def test_a_node_that_is_lost_in_a_trial_loses_it_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.do()
    run.cluster.actors[0].dies_in_trial = True
    assert (run.do().lost or "").startswith("ActorDiedError: The actor died unexpectedly")
    assert run.do().result == RESULT


def test_an_actor_that_cannot_start_fails_one_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.cluster.coming = {"problem": "the node old: it has harness 9"}
    assert run.do().refused == "the node old: it has harness 9"
    assert not run.cluster.actors[0].alive
    run.cluster.coming = {"alive": False, "started": True}
    assert (run.do().lost or "").startswith("ActorDiedError")


def test_a_trial_that_waits_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, cpus=0)
    run.submit()
    run.slots.listen(0.0)
    run.slots.cancel(1)
    assert [heard.lost for heard in run.heard] == ["it was cancelled before it began"]


def test_a_trial_of_several_ranks_has_a_placement_group_of_one_bundle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(monkeypatch, cpus=2, gpus=4)
    run.do(Kind(2, 4, ranks=4))
    run.do(Kind(2, 4, ranks=4))
    assert run.cluster.groups == [[{"CPU": 2, "GPU": 4}]]
    run.do(Kind(2))
    assert run.cluster.removed == run.cluster.groups
    assert len(run.cluster.groups) == 1


def test_an_error_is_reported_without_the_ids_of_the_actor() -> None:
    error = RayError("The actor died.\n\tactor_id: 12\nIts node has died.")
    assert slots.end_by(3, error).lost == "RayError: The actor died. Its node has died."
