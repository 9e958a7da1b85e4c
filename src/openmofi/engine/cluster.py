"""The engine for many machines: plain Ray actors over idempotent tasks.

Ray Data is not used: tasks already resume by their outputs, so actors and a bounded queue are all it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from openmofi.engine.loop import Outcome, Patience, RemoteWorker, WorkerDied, run_tasks, unpickle_outcome
from openmofi.engine.protocol import Engine, Progress, SetAside, WorkFactory
from openmofi.errors import MissingExtraError, OpenMofiError


class RayEngine:
    """One actor a CPU (or `cpus_per_worker`); one running task an actor: never everything submitted at once.

    Args:
        address: Ray address (`auto`, `ray://head:10001`); `None` starts Ray on this machine.
        cpus_per_worker: CPUs that an actor reserves.
        patience: least seconds before an actor counts as hanging, and is replaced (`openmofi.engine.loop.Patience`).
    """

    few = 0

    def __init__(self, address: str | None = None, cpus_per_worker: int = 1, patience: float = Patience.least) -> None:
        self.address = address
        self.patience = patience
        self.cpus_per_worker = cpus_per_worker

    def session(self) -> AbstractContextManager[Engine]:
        """See `Engine.session`; actors live for one run, since others may wait for their CPUs."""
        return nullcontext(self)

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress,
            set_aside: SetAside | None = None) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        if not tasks:
            return []
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError.of("ray", "ray") from error
        ours = not ray.is_initialized()
        try:
            if ours:
                ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
            return self._with_actors(ray, factory, tasks, progress, set_aside)
        except ConnectionError as error:
            raise OpenMofiError(f"No Ray cluster at {self.address}: {error}.",
                                "Check the address, or leave it out to start Ray here.") from error
        finally:
            if ours:
                ray.shutdown()

    def _with_actors(self, ray: Any, factory: WorkFactory, tasks: Sequence[Any], progress: Progress,
                     set_aside: SetAside | None) -> list[dict[str, Any]]:
        total = int(ray.cluster_resources().get("CPU", 0)) // self.cpus_per_worker
        if total < 1:
            raise OpenMofiError(f"No node of the Ray cluster has {self.cpus_per_worker} CPUs.",
                                "Reserve fewer CPUs per worker.")
        pickled = ray.cloudpickle.dumps(factory)
        actor_class = ray.remote(num_cpus=self.cpus_per_worker)(RemoteWorker)
        actors = _Actors(ray, lambda: actor_class.remote(pickled), min(total, len(tasks)), Patience(self.patience))
        try:
            return run_tasks(actors, tasks, progress, set_aside)
        finally:
            for actor in actors.all:
                ray.kill(actor)


class _Actors:
    def __init__(self, ray: Any, start: Callable[[], Any], count: int, patience: Patience) -> None:
        self._ray, self._start, self._patience = ray, start, patience
        self.all: list[Any] = []
        self._awake: dict[Any, Any] = {}
        self._free = [self._started() for _ in range(count)]
        self._running: dict[Any, tuple[Any, int, float]] = {}

    def _started(self) -> Any:
        actor = self._start()
        self.all.append(actor)
        self._awake[actor] = actor.awake.remote()
        return actor

    def idle(self) -> bool:
        return bool(self._free)

    def submit(self, number: int, task: Any) -> None:
        actor = self._free.pop()
        self._running[actor.do_pickled.remote(task)] = (actor, number, time.monotonic())

    def wait(self) -> list[tuple[int, Outcome]]:
        if not self._running:
            return []
        oldest = next(iter(self._running))  # they are in the order of their start
        left = self._running[oldest][2] + self._patience.limit - time.monotonic()
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=max(left, 0.0))
        reference = done[0] if done else oldest
        actor, number, since = self._running.pop(reference)
        if not done and not self._ray.wait([self._awake[actor]], timeout=0)[0]:
            # It has waited for a free CPU until now.
            self._running[reference] = (actor, number, time.monotonic())
            return self.wait()
        outcome: Outcome
        try:
            if not done:
                self._ray.kill(actor)
                raise self._patience.died()
            outcome = unpickle_outcome(self._ray.get(reference))
            self._patience.longest = max(self._patience.longest, time.monotonic() - since)
        except (self._ray.exceptions.RayError, WorkerDied) as error:
            hung = isinstance(error, WorkerDied)
            outcome = error if hung else WorkerDied(f"its worker died ({type(error).__name__})")
            # Another actor instead of a restart: an actor that restarts refuses tasks for a while.
            self.all.remove(actor)
            del self._awake[actor]
            actor = self._started()
        self._free.append(actor)
        return [(number, outcome)]
