"""The engine for many machines: plain Ray actors over idempotent tasks.

Ray Data is not used: tasks already resume by their outputs, so actors and a bounded queue are all it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from openmofi.engine.loop import Outcome, RemoteWorker, WorkerDied, run_tasks, unpickle_outcome
from openmofi.engine.protocol import Engine, Progress, WorkFactory
from openmofi.errors import MissingExtraError, OpenMofiError


class RayEngine:
    """One actor a CPU (or `cpus_per_worker`); one running task an actor: never everything submitted at once.

    Args:
        address: Ray address (`auto`, `ray://head:10001`); `None` starts Ray on this machine.
        cpus_per_worker: CPUs that an actor reserves.
    """

    few = 0

    def __init__(self, address: str | None = None, cpus_per_worker: int = 1) -> None:
        self.address = address
        self.cpus_per_worker = cpus_per_worker

    def session(self) -> AbstractContextManager[Engine]:
        """See `Engine.session`; actors live for one run, since others may wait for their CPUs."""
        return nullcontext(self)

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress) -> list[dict[str, Any]]:
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
            return self._with_actors(ray, factory, tasks, progress)
        except ConnectionError as error:
            raise OpenMofiError(f"No Ray cluster at {self.address}: {error}.",
                                "Check the address, or leave it out to start Ray here.") from error
        finally:
            if ours:
                ray.shutdown()

    def _with_actors(self, ray: Any, factory: WorkFactory, tasks: Sequence[Any],
                     progress: Progress) -> list[dict[str, Any]]:
        total = int(ray.cluster_resources().get("CPU", 0)) // self.cpus_per_worker
        if total < 1:
            raise OpenMofiError(f"No node of the Ray cluster has {self.cpus_per_worker} CPUs.",
                                "Reserve fewer CPUs per worker.")
        pickled = ray.cloudpickle.dumps(factory)
        actor_class = ray.remote(num_cpus=self.cpus_per_worker)(RemoteWorker)
        actors = _Actors(ray, lambda: actor_class.remote(pickled), min(total, len(tasks)))
        try:
            return run_tasks(actors, tasks, progress)
        finally:
            for actor in actors.all:
                ray.kill(actor)


class _Actors:
    def __init__(self, ray: Any, start: Callable[[], Any], count: int) -> None:
        self._ray, self._start = ray, start
        self.all = [start() for _ in range(count)]
        self._free = list(self.all)
        self._running: dict[Any, tuple[Any, int]] = {}

    def idle(self) -> bool:
        return bool(self._free)

    def submit(self, number: int, task: Any) -> None:
        actor = self._free.pop()
        self._running[actor.do_pickled.remote(task)] = (actor, number)

    def wait(self) -> list[tuple[int, Outcome]]:
        if not self._running:
            return []
        (reference, *_), _ = self._ray.wait(list(self._running), num_returns=1)
        actor, number = self._running.pop(reference)
        outcome: Outcome
        try:
            outcome = unpickle_outcome(self._ray.get(reference))
        except self._ray.exceptions.RayError as error:
            outcome = WorkerDied(f"its worker died ({type(error).__name__})")
            # Another actor instead of a restart: an actor that restarts refuses tasks for a while.
            self.all.remove(actor)
            actor = self._start()
            self.all.append(actor)
        self._free.append(actor)
        return [(number, outcome)]
