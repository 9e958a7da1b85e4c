"""The loop that all engines share: it hands tasks to workers, tries failed tasks again, and reports progress."""

from __future__ import annotations

import pickle
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from openmofi.engine.protocol import Progress, SetAside, Work
from openmofi.errors import OpenMofiError, UsageError

RETRIES = 2
"""How often a task is tried again."""
HOPELESS_AT_FIRST, HOPELESS = 3, 10
"""Where so many tasks have failed for good, before any succeeded and later one after another, no more are begun: a full
disk, or a knowledge base that cannot be opened, would fail them all."""

Outcome = dict[str, Any] | Exception
"""How a try of a task ended: its counts, or the exception."""


class WorkerDied(Exception):
    """The worker of a task ended before the task did, or was ended because it hung."""


@dataclass
class Patience:
    """How long a task may take before its worker counts as hanging.

    Attributes:
        least: seconds that every task has.
        longest: seconds of the longest task that has ended; a task has twenty times as long.
    """

    least: float = 600.0
    longest: float = 0.0

    @property
    def limit(self) -> float:
        """Seconds."""
        return max(self.least, 20 * self.longest)

    def died(self) -> WorkerDied:
        """What becomes of a task whose worker hung and was ended."""
        return WorkerDied(f"its worker did not answer for {self.limit:,.0f} seconds and was ended")


_TRANSIENT = (OSError, MemoryError, WorkerDied)


class Workers(Protocol):
    """The workers of an engine; each does one task at a time."""

    def idle(self) -> bool:
        """Whether `submit` can take another task now."""

    def submit(self, number: int, task: Any) -> None:
        """Start a task; `number` identifies it in `wait`."""

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        """Block until at least one task has ended; empty if none is running."""


def run_tasks(workers: Workers, tasks: Sequence[Any], progress: Progress,
              set_aside: SetAside | None = None) -> list[dict[str, Any]]:
    """Do every task; see `Engine.run`.

    A task that has failed too often, or by an exception that another try would repeat, is left out, and the others go
    on; but where the first three fail for good, or ten one after another, only those that run are finished. Wrong use
    (`UsageError`) is no fault of a task, and is raised at once.
    """
    queue = deque(range(len(tasks)))
    tries = [0] * len(tasks)
    results: dict[int, dict[str, Any]] = {}
    failed: dict[int, Exception] = {}
    in_a_row, hopeless = 0, False
    while len(results) + len(failed) < len(tasks):
        left = len(tasks) - len(results) - len(failed)
        hopeless |= in_a_row >= (HOPELESS if results else HOPELESS_AT_FIRST) and left > in_a_row
        if hopeless:
            queue.clear()
        while queue and workers.idle():
            number = queue.popleft()
            workers.submit(number, tasks[number])
        if not (ended := list(workers.wait())) and hopeless:
            raise failed[next(reversed(failed))]
        for number, outcome in ended:
            if isinstance(outcome, UsageError):
                raise outcome
            if isinstance(outcome, dict):
                results[number], in_a_row = outcome, 0
                progress.advance(outcome)
            elif isinstance(outcome, _TRANSIENT) and tries[number] < RETRIES:
                tries[number] += 1
                progress.say(f"{tasks[number]}: {reason_of(outcome)}; trying again")
                queue.append(number)
            else:
                failed[number], in_a_row = _for_good(tasks[number], outcome), in_a_row + 1
                if len(tasks) > 1:
                    progress.say(f"{tasks[number]} is set aside: {reason_of(failed[number])}")
    if failed and not set_aside:
        raise next(iter(failed.values()))
    for number, error in failed.items():
        assert set_aside is not None
        set_aside(tasks[number], error)
    return [results[number] for number in range(len(tasks)) if number in results]


def reason_of(error: Exception) -> str:
    """Why a task failed, in a line: the sentence of our errors, of others their type too where it says something."""
    if isinstance(error, OpenMofiError):
        return error.message
    named = str(error) if isinstance(error, _TRANSIENT) else f"{type(error).__name__}: {error}"
    return named or type(error).__name__


def _for_good(task: Any, error: Exception) -> Exception:
    if not isinstance(error, _TRANSIENT):
        return error
    failure = OpenMofiError(f"{task} failed {RETRIES + 1} times: {reason_of(error)}.",
                            "Finished tasks are kept; start the same command again to continue.")
    failure.__cause__ = error
    return failure


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

    def awake(self) -> None:
        """Answer, as soon as the process runs."""

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
