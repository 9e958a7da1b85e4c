"""The engine for many machines: plain Ray actors over idempotent tasks.

Ray Data is not used: tasks already resume by their outputs, so actors and a bounded queue are all it takes.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Sequence
from typing import Any

from openmofi.engine.protocol import RETRIES, Progress, Work, WorkFactory
from openmofi.errors import MissingExtraError, OpenMofiError


class _Worker:
    """Opens the work with its first task: what an actor raises when it is made loses its type."""

    def __init__(self, factory: bytes) -> None:
        self.factory = factory
        self.work: Work | None = None

    def do(self, task: Any) -> dict[str, Any]:
        self.work = self.work or pickle.loads(self.factory)()
        return self.work(task)


class RayEngine:
    """One actor a CPU (or `cpus_per_worker`); one task in flight an actor: never everything submitted at
    once.

    Args:
        address: Ray address (`auto`, `ray://head:10001`); `None` starts Ray on this machine.
        cpus_per_worker: CPUs that an actor asks for.
    """

    def __init__(self, address: str | None = None, cpus_per_worker: int = 1) -> None:
        self.address = address
        self.cpus_per_worker = cpus_per_worker

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
            raise OpenMofiError(f"There is no Ray cluster at {self.address}: {error}.",
                                "Check the address, or leave it out to start Ray here.") from error
        finally:
            if ours:
                ray.shutdown()

    def _with_actors(self, ray: Any, factory: WorkFactory, tasks: Sequence[Any],
                     progress: Progress) -> list[dict[str, Any]]:
        total = int(ray.cluster_resources().get("CPU", 0)) // self.cpus_per_worker
        if total < 1:
            raise OpenMofiError(f"No node of the Ray cluster has {self.cpus_per_worker} CPUs.",
                                "Ask for fewer CPUs per worker.")
        # A dead actor comes back without limit; it is the tasks whose tries are counted.
        make = ray.remote(num_cpus=self.cpus_per_worker, max_restarts=-1)(_Worker).remote
        packed = ray.cloudpickle.dumps(factory)
        actors = [make(packed) for _ in range(min(total, len(tasks)))]
        try:
            return _drive(ray, actors, tasks, progress)
        finally:
            for actor in actors:
                ray.kill(actor)


def _drive(ray: Any, actors: Sequence[Any], tasks: Sequence[Any], progress: Progress) -> list[dict[str, Any]]:
    queue, free = deque(range(len(tasks))), list(actors)
    tries = [0] * len(tasks)
    results: dict[int, dict[str, Any]] = {}
    flying: dict[Any, tuple[Any, int]] = {}
    while queue or flying:
        while queue and free:
            number, actor = queue.popleft(), free.pop()
            flying[actor.do.remote(tasks[number])] = (actor, number)
        (done, *_), _ = ray.wait(list(flying), num_returns=1)
        actor, number = flying.pop(done)
        free.append(actor)
        try:
            results[number] = ray.get(done)
        except ray.exceptions.RayError as error:
            why = _worth_another_try(error)
            tries[number] += 1
            if tries[number] > RETRIES:
                raise OpenMofiError(f"{tasks[number]} failed {RETRIES + 1} times: {why}.",
                                    "What is finished is kept; start the same command again to go on.") from error
            progress.say(f"{tasks[number]}: {why}; trying again")
            queue.append(number)
        else:
            progress.advance(results[number])
    return [results[number] for number in range(len(tasks))]


def _worth_another_try(error: Exception) -> str:
    """Say why, or raise what the work itself raised for good."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, OSError | MemoryError):
        return str(cause) or type(cause).__name__
    if isinstance(cause, Exception):
        raise cause from error
    return f"its worker died ({type(error).__name__})"
