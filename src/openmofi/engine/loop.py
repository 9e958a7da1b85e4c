"""The loop that all engines share: it hands tasks to workers, tries failed tasks again, runs late ones twice.

`LocalEngine` is the engine that needs no other process.
"""

import pickle
import statistics
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, Protocol

from openmofi.engine.protocol import Engine, Job, Progress, SetAside, TaskProgress, Work, WorkFactory
from openmofi.errors import OpenMofiError, UsageError

RETRIES = 2
"""How often a task is tried again."""
HOPELESS_AT_FIRST, HOPELESS = 3, 10
"""Where so many tasks have failed for good, before any succeeded and later one after another, no more are begun: a full
disk, or a knowledge base that cannot be opened, would fail them all."""
PATIENCE = 600.0
"""Seconds in which a worker may use no CPU time before it counts as hanging and is replaced."""
LATE_SECONDS, LATE_TIMES = 10.0, 2.0
"""A task is late when it has taken so many seconds, and so many times the median of those that are done."""

Outcome = dict[str, Any] | Exception
"""How a try of a task ended: its counts, or the exception."""


class WorkerDied(Exception):
    """The worker of a task ended before the task did, or was ended because it hung."""


class NotBegun(Exception):
    """The worker of a task was lost before it began the task, which is sent to another: that is no try."""


ALIVE_SECONDS = 0.1
"""So much CPU time since it was last heard of says that a worker is at work: a thread that waits wakes for less."""


@dataclass
class Pulse:
    """The last sign of a worker's activity: when the thread of its task was seen to have used CPU time.

    A task may take as long as it computes; a worker that waits for what never comes uses none.

    Attributes:
        heard: time of the clock at which it had used more than before, or got its task.
        used: CPU seconds that it had used by then.
    """

    heard: float
    used: float = 0.0

    def hear(self, used: float, now: float) -> None:
        """Take the CPU time that its thread has used by now."""
        if abs(used - self.used) >= ALIVE_SECONDS:  # less where another process took its place
            self.heard, self.used = now, used


def thread_seconds() -> Callable[[], float]:
    """Return a reader of the calling thread's CPU seconds, for any thread; of the process on macOS and Windows."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)


def hung(patience: float) -> WorkerDied:
    """Return the outcome of a task whose worker was ended after `patience` seconds without CPU time."""
    return WorkerDied(f"its worker did nothing for {patience:,.0f} seconds and was ended")


_TRANSIENT = (OSError, MemoryError, WorkerDied)
_attempts = count()
_NAMED = 5


class Workers(Protocol):
    """The workers of an engine; each does one task at a time."""

    def idle(self) -> bool:
        """Whether `submit` can take another task now."""

    def submit(self, attempt: int, task: Any) -> str:
        """Start a task; `attempt` identifies this try of it in `wait`, in all runs. Returns who does it, for people."""

    def wait(self, seconds: float | None) -> Iterable[tuple[int, Outcome]]:
        """Return the tries that have ended; block until there is one, a worker is idle, or the seconds are over."""

    def abandon(self) -> None:
        """End the tasks that still run: nobody takes their outcomes."""


class StandingWorkers(Workers, Protocol):
    """Workers that live on from run to run."""

    def begin(self, factory: WorkFactory, tasks: int, say: Callable[[str], None]) -> None:
        """Prepare for a run of so many tasks.

        Raises:
            OpenMofiError: the factory cannot be sent to the workers, or there is no room for them.
        """

    def stop(self) -> None:
        """End all."""


@dataclass(frozen=True)
class _Attempt:
    """One try of a task at a worker, and when it began."""

    number: int
    worker: str
    since: float


class _Run:
    """The state of `run_tasks`."""

    def __init__(self, workers: Workers, tasks: Sequence[Any], progress: Progress, clock: Callable[[], float]) -> None:
        self._workers, self._tasks, self._progress, self._clock = workers, tasks, progress, clock
        self._watched = progress if isinstance(progress, TaskProgress) else None
        self._queue = deque(range(len(tasks)))
        self._tries = [0] * len(tasks)
        self._running: dict[int, _Attempt] = {}
        self._seconds: list[float] = []
        self._in_a_row, self._hopeless = 0, False
        self.results: dict[int, dict[str, Any]] = {}
        self.failed: dict[int, Exception] = {}

    def finish(self) -> None:
        """Do every task, or as many as there is hope for."""
        while left := len(self._tasks) - len(self.results) - len(self.failed):
            most = HOPELESS if self.results else HOPELESS_AT_FIRST
            self._hopeless |= left > self._in_a_row >= most
            if self._hopeless:
                self._queue.clear()
                if not self._running:
                    raise self.failed[next(reversed(self.failed))]
            while self._queue and self._workers.idle():
                self._start(self._queue.popleft())
            while (due := self._next_late()) and due[0] <= 0 and self._workers.idle():
                self._start(due[1])
                self._progress.say(f"{self._tasks[due[1]]} takes long: an idle worker does it too")
            # A task that is not late yet wakes us only where somebody could take it.
            for attempt, outcome in self._workers.wait(due[0] if due and self._workers.idle() else None):
                self._take(attempt, outcome)

    def _start(self, number: int) -> None:
        attempt, since = next(_attempts), self._clock()
        self._running[attempt] = this = _Attempt(number, self._workers.submit(attempt, self._tasks[number]), since)
        if self._watched:
            self._watched.starts(this.worker, self._tasks[number])

    def _next_late(self) -> tuple[float, int] | None:
        """Return in how many seconds a task will be late, and its number; `None` where none can be.

        The rule: no task waits, half of them are done, and the task runs once, for longer than ten seconds and twice
        the median of those that are done. A task whose `is_exclusive` is true writes under a lock, where a second try
        would only wait.
        """
        if self._queue or self._hopeless or 2 * len(self._seconds) < len(self._tasks):
            return None
        limit = max(LATE_SECONDS, LATE_TIMES * statistics.median(self._seconds))
        now = self._clock()
        return min(
            (
                (this.since + limit - now, this.number)
                for this in self._running.values()
                if not self._settled(this.number)
                and self._copies(this.number) == 1
                and not getattr(self._tasks[this.number], "is_exclusive", False)
            ),
            default=None,
        )

    def _settled(self, number: int) -> bool:
        return number in self.results or number in self.failed

    def _copies(self, number: int) -> int:
        return sum(this.number == number for this in self._running.values())

    def _take(self, attempt: int, outcome: Outcome) -> None:
        this = self._running.pop(attempt, None)
        if this is None:
            return
        if self._watched:
            self._watched.ends(this.worker)
        number, again = this.number, self._copies(this.number)
        if self._settled(number):
            return
        if isinstance(outcome, UsageError):
            raise outcome
        if isinstance(outcome, dict):
            self.results[number], self._in_a_row = outcome, 0
            self._seconds.append(self._clock() - this.since)
            self._progress.advance(outcome)
        elif isinstance(outcome, NotBegun):
            self._queue.extendleft([] if again else [number])
        elif isinstance(outcome, _TRANSIENT) and (again or self._tries[number] < RETRIES):
            self._tries[number] += 1
            self._progress.say(
                f"{self._tasks[number]}: {reason_of(outcome)}; {'another worker does it' if again else 'trying again'}"
            )
            self._queue.extend([] if again else [number])
        else:
            self._fail(number, outcome)

    def _fail(self, number: int, outcome: Exception) -> None:
        task, error = self._tasks[number], _for_good(self._tasks[number], outcome)
        self.failed[number], self._in_a_row = error, self._in_a_row + 1
        if self._watched:
            self._watched.fails(task, reason_of(error))
        if len(self._tasks) > 1:
            self._progress.say(f"{task} is set aside: {reason_of(error)}")


def run_tasks(
    workers: Workers,
    tasks: Sequence[Any],
    progress: Progress,
    set_aside: SetAside | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[dict[str, Any]]:
    """Do every task; see `Engine.run`.

    A task that has failed too often, or by an exception that another try would repeat, is left out, and the others go
    on; but where the first three fail for good, or ten one after another, only those that run are finished. Wrong use
    (`UsageError`) is no fault of a task, and is raised at once.

    Near the end a late task (`LATE_SECONDS`) is given to an idle worker too. The first of the two that succeeds, or
    fails for good, counts; the other is ended with the run.
    """
    run = _Run(workers, tasks, progress, clock)
    try:
        run.finish()
    finally:
        workers.abandon()
    if run.failed and not set_aside:
        raise next(iter(run.failed.values()))
    for number, error in run.failed.items():
        assert set_aside is not None
        set_aside(tasks[number], error)
    return [run.results[number] for number in sorted(run.results)]


def reason_of(error: Exception) -> str:
    """Return in one line why a task failed: the sentence of our errors, for others also a telling type."""
    if isinstance(error, OpenMofiError):
        return error.message
    named = str(error) if isinstance(error, _TRANSIENT) else f"{type(error).__name__}: {error}"
    return named or type(error).__name__


def incomplete(failed: Mapping[str, str], tasks: int, out: object, done: str) -> OpenMofiError:
    """Return the error with which a job ends that did all but a few shards.

    Args:
        failed: name of a shard → why, see `reason_of`.
        tasks: how many there were.
        out: where the others are.
        done: what has been done to them, such as `"labelled"`.
    """
    named = "; ".join(f"{name}: {reason}" for name, reason in islice(failed.items(), _NAMED))
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return OpenMofiError(
        f"{len(failed)} of {tasks:,} shards could not be {done} ({named}{more}). The others are in {out}.",
        f"Start the same command again: it tries these alone. A shard whose content changes is {done} by itself.",
    )


def _for_good(task: Any, error: Exception) -> Exception:
    if not isinstance(error, _TRANSIENT):
        return error
    failure = OpenMofiError(
        f"{task} failed {RETRIES + 1} times: {reason_of(error)}.",
        "Finished tasks are kept; start the same command again to continue.",
    )
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
            return pickle.dumps(
                (
                    kind(str(outcome) if kind is OSError else repr(outcome)),
                    trace or "".join(traceback.format_exception(error)),
                )
            )


def unpickle_outcome(pickled: bytes) -> Outcome:
    """Read the outcome of `RemoteWorker.do_pickled`; an unexpected exception's cause holds the worker's traceback."""
    outcome: Outcome
    outcome, trace = pickle.loads(pickled)
    if isinstance(outcome, dict):  # its names are those of all others, which are many
        return {sys.intern(name): value for name, value in outcome.items()}
    if isinstance(outcome, Exception) and not isinstance(outcome, OpenMofiError):
        outcome.__cause__ = RuntimeError(f"in a worker process:\n{trace}")
    return outcome


class LocalEngine:
    """Does the tasks one after another in this process: right for work that uses every core by itself."""

    def suited(self, job: Job, progress: Progress) -> Engine:
        """Return itself, for every job."""
        return self

    def session(self) -> AbstractContextManager[Engine]:
        """See `Engine.session`."""
        return nullcontext(self)

    def run(
        self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress, set_aside: SetAside | None = None
    ) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        return run_tasks(_ThisProcess(factory), tasks, progress, set_aside)


class Session(LocalEngine):
    """An engine whose workers are started when there is work for them, and live until `stop`."""

    def __init__(self, workers: StandingWorkers) -> None:
        self._workers = workers

    def run(
        self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress, set_aside: SetAside | None = None
    ) -> list[dict[str, Any]]:
        """Do every task, see `Engine.run`."""
        if not tasks:
            return []
        self._workers.begin(factory, len(tasks), progress.say)
        return run_tasks(self._workers, tasks, progress, set_aside)


class _ThisProcess:
    def __init__(self, factory: WorkFactory) -> None:
        self._worker = Worker(factory)
        self._submitted: list[tuple[int, Any]] = []

    def idle(self) -> bool:
        return not self._submitted

    def submit(self, attempt: int, task: Any) -> str:
        self._submitted.append((attempt, task))
        return "this process"

    def wait(self, seconds: float | None) -> Iterable[tuple[int, Outcome]]:
        submitted, self._submitted = self._submitted, []
        return [(attempt, self._worker.do(task)) for attempt, task in submitted]

    def abandon(self) -> None:
        self._submitted = []
