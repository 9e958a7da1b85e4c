"""The workers of the Ray engine: actors that come and go with the nodes of the cluster."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from openmofi.engine.loop import NotBegun, Outcome, Pulse, WorkerDied, hung, unpickle_outcome
from openmofi.engine.protocol import WorkFactory
from openmofi.errors import OpenMofiError
from openmofi.version import __version__

_FOLLOW_SECONDS = 1.0
_STARTS = 3
_PULSE = "pulse"
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Reserved:
    """What an actor reserves.

    Attributes:
        cpus: whole ones, or a part of one; `None` is one, and with GPUs the actor's share of its node's.
        gpus: likewise; 0 for none.
    """

    cpus: float | None = None
    gpus: float = 0

    def on(self, resources: Mapping[str, float]) -> tuple[int, float]:
        """Return how many actors a node with these resources has room for, and how many CPUs each gets."""
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        by_gpus = int(gpus / self.gpus + _ROUNDING) if self.gpus else None
        each = self.cpus or max(1.0, cpus // by_gpus if by_gpus else 1.0)
        by_cpus = int(cpus / each + _ROUNDING)
        return by_cpus if by_gpus is None else min(by_gpus, by_cpus), each

    def __str__(self) -> str:
        """For people."""
        gpus = f" and {self.gpus:g} GPUs" if self.gpus else ""
        return f"{self.cpus or 1:g} CPUs{gpus}"


@dataclass
class _Actor:
    """An actor.

    Attributes:
        handle: Ray's.
        node: Ray's identifier of its node.
        hello: Ray's reference to its first answer; it gets no task before.
        name: for people.
        attempt: what it does.
        factory: number of the run whose factory it has.
        begun, reply: references to an answer that it gives just before the task, and to the outcome.
        pulse, request: when it was last seen at work, and a reference to what it was asked since.
    """

    handle: Any
    node: str
    hello: Any
    pulse: Pulse
    name: str = ""
    attempt: int | None = None
    factory: int = -1
    begun: Any = None
    reply: Any = None
    request: Any = None


class Actors:
    """`openmofi.engine.loop.Workers` on a Ray cluster.

    Every second it is seen which nodes there are: each that has room gets its actors, bound to it, until there are as
    many as tasks. An actor that has not answered yet, since others use its CPUs, gets no task.

    Args:
        ray: the module.
        reserved: what each actor reserves.
        patience: seconds in which an actor may use no CPU time before it counts as hanging.
    """

    def __init__(self, ray: Any, reserved: Reserved, patience: float) -> None:
        self._ray, self._reserved, self._patience = ray, reserved, patience
        self._class = _actor_class()
        self._actors: list[_Actor] = []
        self._refused: set[str] = set()
        self._failures = Counter[str]()
        self._checked = -float("inf")
        self._wanted, self._waits = 0, False
        self._say: Callable[[str], None] = lambda _: None
        self._factory: tuple[int, Any] = (-1, None)
        self._numbers = count()

    def begin(self, factory: WorkFactory, tasks: int, say: Callable[[str], None]) -> None:
        """Prepare for a run of so many tasks: the factory lies in Ray's store once, and nodes fetch it from there.

        Raises:
            OpenMofiError: no node has room for an actor.
        """
        self._factory = next(self._numbers), self._ray.put(self._ray.cloudpickle.dumps(factory))
        self._wanted, self._say = tasks, say
        if not any(self._reserved.on(node["Resources"])[0] for node in self._nodes().values()):
            raise OpenMofiError(
                f"No node of the Ray cluster has {self._reserved} for an actor.",
                "Reserve less, as in --engine 'ray?gpus=0.5&cpus=1', or add nodes.",
            )
        self._checked = -float("inf")
        self._follow()

    def idle(self) -> bool:
        """See `Workers.idle`."""
        return any(actor.name and actor.attempt is None for actor in self._actors)

    def submit(self, attempt: int, task: Any) -> str:
        """See `Workers.submit`."""
        actor = next(actor for actor in self._actors if actor.name and actor.attempt is None)
        key, factory = self._factory
        actor.begun = actor.handle.awake.remote()
        # An argument that lies in Ray's store takes a millisecond each time.
        actor.reply = actor.handle.do.remote(key, None if actor.factory == key else factory, task)
        actor.factory, actor.attempt, actor.pulse.heard = key, attempt, time.monotonic()
        return actor.name

    def wait(self, seconds: float | None) -> list[tuple[int, Outcome]]:
        """See `Workers.wait`; it returns every second, for nodes that have come."""
        ended = self._follow()
        references = {
            actor.hello if actor.attempt is None else actor.reply: actor
            for actor in self._actors
            if actor.attempt is not None or not actor.name
        }
        now = time.monotonic()
        limits = [actor.pulse.heard + self._patience - now for actor in self._actors if actor.attempt is not None]
        timeout = max(min([_FOLLOW_SECONDS, *limits, *([] if seconds is None else [seconds])]), 0.0)
        if ended:
            return ended
        if not references:
            time.sleep(timeout)
            return []
        if self._ray.wait(list(references), num_returns=1, timeout=timeout)[0]:
            for reference in self._ray.wait(list(references), num_returns=len(references), timeout=0)[0]:
                actor = references[reference]
                if actor.attempt is None:
                    self._greet(actor)
                else:
                    ended.append(self._outcome(actor))
        for actor in [actor for actor in self._actors if actor.attempt is not None and self._hangs(actor)]:
            ended.append(self._lost(actor, hung(self._patience)))
        return ended

    def _hangs(self, actor: _Actor) -> bool:
        """Whether an actor has done nothing for too long; it is asked a few times before."""
        now = time.monotonic()
        if actor.request is not None and self._ray.wait([actor.request], timeout=0)[0]:
            with suppress(self._ray.exceptions.RayError):  # its death is the task's outcome
                actor.pulse.hear(self._ray.get(actor.request), now)
            actor.request = None
        if actor.request is None and now - actor.pulse.heard >= self._patience / 4:
            actor.request = actor.handle.used.options(concurrency_group=_PULSE).remote()
        return now - actor.pulse.heard >= self._patience

    def abandon(self) -> None:
        """See `Workers.abandon`."""
        for actor in [actor for actor in self._actors if actor.attempt is not None]:
            self._drop(actor)

    def stop(self) -> None:
        """End all actors."""
        while self._actors:
            self._drop(self._actors[0])

    def _nodes(self) -> dict[str, Any]:
        return {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}

    def _follow(self) -> list[tuple[int, Outcome]]:
        """Drop the actors of nodes that have left, and start those that nodes have room for."""
        if time.monotonic() - self._checked < _FOLLOW_SECONDS:
            return []
        self._checked = time.monotonic()
        nodes = self._nodes()
        ended = []
        for actor in [actor for actor in self._actors if actor.node not in nodes]:
            if actor.attempt is None:
                self._drop(actor)
            elif not self._ray.wait([actor.reply], timeout=0)[0]:  # it may have ended in time
                ended.append(self._lost(actor, WorkerDied("its node left the cluster")))
        room = {name: self._reserved.on(node["Resources"]) for name, node in nodes.items() if name not in self._refused}
        taken = Counter(actor.node for actor in self._actors)
        # Evenly over the nodes: the first actor of each before the second of any.
        vacancies = sorted((number, name) for name, (most, _) in room.items() for number in range(taken[name], most))
        for _, name in vacancies[: max(self._wanted - len(self._actors), 0)]:
            self._start(name, room[name][1])
        self._require_room(bool(self._actors) or any(most for most, _ in room.values()))
        return ended

    def _require_room(self, room: bool) -> None:
        """Refuse a cluster whose nodes were all refused; say where the job waits for nodes to come back."""
        if not room and self._refused:
            raise OpenMofiError(
                "No node of the Ray cluster can work for this job.",
                "Install the driver's version of OpenMOFI on its nodes.",
            )
        if not room and not self._waits:
            self._say("The cluster has no node for this job now: it waits for one.")
        self._waits = not room

    def _start(self, node: str, cpus: float) -> None:
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        handle = (
            self._ray.remote(concurrency_groups={_PULSE: 1})(self._class)
            .options(num_cpus=cpus, num_gpus=self._reserved.gpus, scheduling_strategy=strategy)
            .remote()
        )
        self._actors.append(_Actor(handle, node, handle.hello.remote(), Pulse(time.monotonic())))

    def _greet(self, actor: _Actor) -> None:
        """Take an actor's first answer: from now on it gets tasks, unless it is of another version."""
        try:
            version, host, process = self._ray.get(actor.hello)
        except Exception as error:  # Ray's own, and what the import of a damaged installation raises
            self._drop(actor)
            self._failures[actor.node] += 1
            if self._failures[actor.node] == _STARTS and actor.node in self._nodes():
                reason = str(getattr(error, "cause", None) or error).strip().splitlines()
                self._refuse(actor.node, f"starts no actor ({reason[-1] if reason else type(error).__name__})")
            return
        if version != __version__:
            self._drop(actor)
            self._refuse(actor.node, f"runs OpenMOFI {version}, the driver runs {__version__}", host)
        else:
            actor.name = f"{host} {actor.node[:6]} process {process}"

    def _refuse(self, node: str, why: str, host: str = "") -> None:
        if node not in self._refused:
            self._refused.add(node)
            self._say(f"node {f'{host} ' if host else ''}{node[:6]} {why}: it gets no tasks")

    def _outcome(self, actor: _Actor) -> tuple[int, Outcome]:
        try:
            outcome = unpickle_outcome(self._ray.get(actor.reply))
        except self._ray.exceptions.RayError as error:
            return self._lost(actor, WorkerDied(f"its worker died ({type(error).__name__})"))
        assert actor.attempt is not None
        attempt, actor.attempt = actor.attempt, None
        return attempt, outcome

    def _lost(self, actor: _Actor, death: WorkerDied) -> tuple[int, Outcome]:
        assert actor.attempt is not None
        begun = bool(self._ray.wait([actor.begun], timeout=0)[0])
        try:
            if begun:
                self._ray.get(actor.begun)
        except self._ray.exceptions.RayError:
            begun = False
        self._drop(actor)
        # Another actor instead of a restart, and now: an actor that restarts refuses tasks for a while.
        self._checked = -float("inf")
        return actor.attempt, death if begun else NotBegun(str(death))

    def _drop(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        self._ray.kill(actor.handle)


def _actor_class() -> type:
    """Make the actors' class: made here, it travels by value, also to a node with another version of OpenMOFI."""

    class OpenMofiActor:
        def __init__(self) -> None:
            self._key = -1
            self._worker: Any = None
            self._seconds: Any = None

        def hello(self) -> tuple[str, str, int]:
            import os
            import socket

            from openmofi.version import __version__ as version

            return version, socket.gethostname(), os.getpid()

        def awake(self) -> None:
            """Answer."""

        def do(self, key: int, pickled_factory: Any, task: Any) -> bytes:
            from openmofi.engine.loop import RemoteWorker, thread_seconds

            self._seconds = thread_seconds()
            # What both runs use, such as an encoder, stays open as long as the former factory lives.
            former = self._worker
            if key != self._key:
                self._key, self._worker = key, RemoteWorker(pickled_factory)
            outcome: bytes = self._worker.do_pickled(task)
            del former
            return outcome

        def used(self) -> float:
            """CPU seconds of the thread that does the tasks; answered beside them."""
            return self._seconds() if self._seconds else 0.0

    return OpenMofiActor
