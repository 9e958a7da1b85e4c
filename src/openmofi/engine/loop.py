"""The loop that all engines share: it hands tasks to workers, tries failed tasks again, and reports progress."""

from __future__ import annotations

import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from openmofi.engine.protocol import Progress, Work
from openmofi.errors import OpenMofiError

RETRIES = 2
"""How often a task is tried again."""

Outcome = dict[str, Any] | Exception
"""How a try of a task ended: its counts, or the exception."""


class WorkerDied(Exception):
    """The worker of a task ended before the task did."""


_TRANSIENT = (OSError, MemoryError, WorkerDied)


class Workers(Protocol):
    """The workers of an engine; each does one task at a time."""

    def idle(self) -> bool:
        """Whether `submit` can take another task now."""

    def submit(self, number: int, task: Any) -> None:
        """Start a task; `number` identifies it in `wait`."""

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """Block until at least one task has ended; empty if none is running."""


def run_tasks(workers: Workers, tasks: Sequence[Any], progress: Progress) -> list[dict[str, Any]]:
    """Do every task; see `Engine.run`.

    When a task has failed too often, the tasks that are running may still finish: their output is kept. Any other
    exception is raised at once.
    """
    queue = deque(range(len(tasks)))
    tries = [0] * len(tasks)
    results: dict[int, dict[str, Any]] = {}
    while len(results) < len(tasks):
        while queue and workers.idle():
            number = queue.popleft()
            workers.submit(number, tasks[number])
        for number, outcome in workers.wait():
            if isinstance(outcome, dict):
                results[number] = outcome
                progress.advance(outcome)
                continue
            if not isinstance(outcome, _TRANSIENT):
                raise outcome
            reason = str(outcome) or type(outcome).__name__
            tries[number] += 1
            if tries[number] > RETRIES:
                _finish_running(workers, progress)
                raise OpenMofiError(f"{tasks[number]} failed {RETRIES + 1} times: {reason}.",
                                    "Finished tasks are kept; start the same command again to continue.") from outcome
            progress.say(f"{tasks[number]}: {reason}; trying again")
            queue.append(number)
    return [results[number] for number in range(len(tasks))]


def _finish_running(workers: Workers, progress: Progress) -> None:
    while ended := list(workers.wait()):
        for _, outcome in ended:
            if isinstance(outcome, dict):
                progress.advance(outcome)


class Worker:
    """The side of a worker: calls the factory with the first task, so that its errors are outcomes too."""

    def __init__(self, factory: Callable[[], Work]) -> None:
        self._factory = factory
        self._work: Work | None = None

    def do(self, task: Any) -> Outcome:
        """Do one task; exceptions are returned."""
        try:
            self._work = self._work or self._factory()
            return self._work(task)
        except Exception as error:
            return error


class RemoteWorker(Worker):
    """A worker in another process. Its factory arrives pickled, so that an error of unpickling is an outcome too."""

    def __init__(self, pickled_factory: bytes) -> None:
        super().__init__(lambda: pickle.loads(pickled_factory)())

    def do_pickled(self, task: Any) -> bytes:
        """Do one task; the outcome for `unpickle_outcome`."""
        outcome = self.do(task)
        trace = "".join(traceback.format_exception(outcome)) if isinstance(outcome, Exception) else ""
        try:
            pickled = pickle.dumps((outcome, trace))
            # Some exceptions can be pickled but not unpickled.
            pickle.loads(pickled)
            return pickled
        except Exception as error:
            kind = OSError if isinstance(outcome, _TRANSIENT) else RuntimeError
            return pickle.dumps((kind(str(outcome) if kind is OSError else repr(outcome)),
                                 trace or "".join(traceback.format_exception(error))))


def unpickle_outcome(pickled: bytes) -> Outcome:
    """The outcome of `RemoteWorker.do_pickled`; the cause of an unexpected exception holds the worker's traceback."""
    outcome: Outcome
    outcome, trace = pickle.loads(pickled)
    if isinstance(outcome, Exception) and not isinstance(outcome, OpenMofiError):
        outcome.__cause__ = RuntimeError(f"in a worker process:\n{trace}")
    return outcome
