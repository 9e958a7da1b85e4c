"""How actors follow the nodes of a cluster, by a Ray of the test's own."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from openmofi.engine.loop import WorkerDied
from openmofi.errors import OpenMofiError
from openmofi.plugins.ray.actors import Actors, Reserved


class Ray:
    """As much of Ray as `Actors` asks for: nodes that the test names, actors whose first answer the test gives."""

    def __init__(self, **cpus: float):
        self.cpus, self.started, self.answers, self.killed = cpus, [], {}, []
        self.cloudpickle = SimpleNamespace(dumps=lambda value: b"")
        self.exceptions = SimpleNamespace(RayError=RuntimeError)
        self.util = SimpleNamespace(
            scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
        )

    def nodes(self):
        return [
            {"NodeID": node, "Alive": cpus is not None, "Resources": {"CPU": cpus or 0.0}}
            for node, cpus in self.cpus.items()
        ]

    def put(self, value):
        return value

    def remote(self, concurrency_groups):
        return lambda _: self

    def options(self, num_cpus, num_gpus, scheduling_strategy):
        def start():
            hello = f"hello {len(self.started)} of {scheduling_strategy}"
            self.started.append(scheduling_strategy)
            used = SimpleNamespace(remote=lambda: "used")
            return SimpleNamespace(
                hello=SimpleNamespace(remote=lambda: hello),
                awake=SimpleNamespace(remote=lambda: "awake"),
                do=SimpleNamespace(remote=lambda *_: "outcome"),
                used=SimpleNamespace(options=lambda concurrency_group: used),
            )

        return SimpleNamespace(remote=start)

    def wait(self, references, timeout, num_returns=1):
        ready = [reference for reference in references if reference in self.answers]
        return ready[:num_returns], []

    def get(self, reference):
        if isinstance(answer := self.answers[reference], Exception):
            raise answer
        return answer

    def kill(self, handle):
        self.killed.append(handle)


@pytest.fixture
def said(monkeypatch) -> list[str]:
    monkeypatch.setattr("openmofi.plugins.ray.actors.__version__", "0.2.0")
    monkeypatch.setattr("openmofi.plugins.ray.actors._FOLLOW_SECONDS", 0.0)
    return []


def begun(ray: Ray, tasks: int, said: list[str]) -> Actors:
    actors = Actors(ray, Reserved(), 10.0)
    actors.begin(dict, tasks, said.append)
    return actors


def test_there_are_as_many_actors_as_tasks_spread_over_the_nodes(said):
    begun(ray := Ray(a=3, b=2, c=0), 4, said)
    assert sorted(ray.started) == ["a", "a", "b", "b"]
    begun(ray := Ray(a=3, b=2, c=0), 100, said)
    assert sorted(ray.started) == ["a", "a", "a", "b", "b"]


def test_an_actor_gets_no_task_before_it_has_answered(said):
    actors = begun(ray := Ray(a=1, b=1), 9, said)
    assert not actors.idle()
    ray.answers["hello 0 of a"] = "0.2.0", "host", 7
    assert actors.wait(None) == []
    assert actors.idle()


def test_nodes_that_come_get_actors_and_nodes_that_leave_take_theirs(said):
    actors = begun(ray := Ray(a=1), 9, said)
    ray.cpus["b"] = 2
    actors.wait(0)
    assert ray.started == ["a", "b", "b"]
    ray.cpus["b"] = None
    actors.wait(0)
    assert (ray.started, len(ray.killed)) == (["a", "b", "b"], 2)


def test_a_cluster_without_nodes_is_waited_for_and_that_is_said_once(said):
    actors = begun(ray := Ray(a=1), 9, said)
    ray.cpus["a"] = None
    actors.wait(0)
    actors.wait(0)
    assert said == ["The cluster has no node for this job now: it waits for one."]
    ray.cpus["b"] = 1
    actors.wait(0)
    assert ray.started == ["a", "b"]


def test_a_node_of_another_version_is_refused_by_name_and_gets_no_more_actors(said):
    actors = begun(ray := Ray(a=1, b=2), 9, said)
    ray.answers = dict.fromkeys(("hello 1 of b", "hello 2 of b"), ("0.1.0", "old", 7))
    actors.wait(0)
    actors.wait(0)
    assert said == ["node old b runs OpenMOFI 0.1.0, the driver runs 0.2.0: it gets no tasks"]
    assert (sorted(ray.started), len(ray.killed)) == (["a", "b", "b"], 2)
    ray.answers["hello 0 of a"] = "0.1.0", "old", 8
    actors.wait(0)
    with pytest.raises(OpenMofiError, match="No node of the Ray cluster can work"):
        actors.wait(0)


def test_a_node_whose_actors_do_not_start_is_refused_with_the_reason(said):
    actors = begun(ray := Ray(a=1, b=1), 9, said)
    for number in range(5):
        ray.answers[f"hello {number} of b"] = ModuleNotFoundError("No module named 'openmofi'")
        actors.wait(0)
    assert said == ["node b starts no actor (No module named 'openmofi'): it gets no tasks"]
    assert ray.started.count("b") == 3


def test_a_cluster_without_room_is_refused_at_once(said):
    with pytest.raises(OpenMofiError, match="has 1 CPUs for an actor") as caught:
        begun(Ray(a=0.5), 9, said)
    assert "Reserve less" in caught.value.hint


def test_an_actor_that_computes_may_take_its_time_and_one_that_does_nothing_is_replaced(said, monkeypatch):
    actors = begun(ray := Ray(a=1), 9, said)
    clock = iter(range(1000))
    monkeypatch.setattr("openmofi.plugins.ray.actors.time", SimpleNamespace(monotonic=lambda: next(clock), sleep=None))
    ray.answers |= {"hello 0 of a": ("0.2.0", "host", 7), "awake": None}
    actors.wait(0)
    actors.submit(1, "task")
    for second in range(20):
        ray.answers["used"] = 0.2 * second
        assert actors.wait(0) == []
    for _ in range(20):
        if ended := actors.wait(0):
            break
    ((attempt, outcome),) = ended
    assert (attempt, type(outcome), len(ray.killed)) == (1, WorkerDied, 1)
    assert str(outcome) == "its worker did nothing for 10 seconds and was ended"
