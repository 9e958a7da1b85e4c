"""The engine of one machine: spawned worker processes, one task at a time each.

`concurrent.futures` is not used: when one of its workers dies it fails every task that is waiting, does not
say which task was the deadly one, and loses an error that opening the work raised.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from openmofi.engine.protocol import RETRIES, Progress, Work, WorkFactory
from openmofi.errors import OpenMofiError

_GOODBYE_SECONDS = 5.0


def _serve(factory: bytes, connection: Connection, threads: int) -> None:
    """A worker's life: open the work, then answer each task until the other side hangs up.

    The factory comes packed: what it holds may be heavy to open, and what fails is then an answer.
    """
    # Workers share the cores; without this each would start a thread a core, and they would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # Ctrl-C reaches every process of the terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    work: Work | None = None
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            work = work or pickle.loads(factory)()
            answer: tuple[str, Any, str] = ("done", work(task), "")
        except (OSError, MemoryError) as error:
            answer = ("again", str(error) or type(error).__name__, "")
        except Exception as error:
            answer = ("stop", error, traceback.format_exc())
        try:
            connection.send_bytes(_packed(answer))
        except BrokenPipeError:
            return


def _packed(answer: tuple[str, Any, str]) -> bytes:
    try:
        packed = pickle.dumps(answer)
        # Some exceptions can be packed but not unpacked; that must not come out on the other side.
        pickle.loads(packed)
        return packed
    except Exception:
        return pickle.dumps(("stop", RuntimeError(repr(answer[1])), answer[2] or traceback.format_exc()))


@contextmanager
def _sigint_held() -> Generator[None]:
    """Hold Ctrl-C back, here and in what is started: a worker that is still importing would answer with a traceback.

    Here it arrives at the end; a worker lets it through when it has said that it ignores it.
    """
    # Its start ends with SIGINT let through, so it comes first.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    task: int | None = None

    @classmethod
    def start(cls, factory: WorkFactory, threads: int) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(pickle.dumps(factory), theirs, threads))
        with _sigint_held():
            process.start()
        # Only the worker may hold its end, or its death would not be noticed.
        theirs.close()
        return cls(process, ours)

    def stop(self) -> None:
        self.connection.close()
        self.process.join(_GOODBYE_SECONDS if self.task is None else 0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@dataclass(frozen=True)
class _Failure:
    number: int
    why: str


class ProcessEngine:
    """Does the tasks in `workers` spawned processes (0: one a core).

    A worker that dies (out of memory, a crash in a library) costs its task one try, and another takes its
    place.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or os.cpu_count() or 1

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        results: dict[int, dict[str, Any]] = {}
        queue = deque(range(len(tasks)))
        tries = [0] * len(tasks)
        workers: list[_Worker] = []
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        try:
            while len(results) < len(tasks):
                free = [worker for worker in workers if worker.task is None]
                while queue and (free or len(workers) < self.workers):
                    worker = free.pop() if free else _hire(workers, factory, threads)
                    worker.task = queue.popleft()
                    _give(worker, tasks[worker.task])
                for worker in _heard(workers):
                    outcome = _listen(worker, workers)
                    if isinstance(outcome, _Failure):
                        try:
                            _count_try(outcome, tries, tasks, progress)
                        except OpenMofiError:
                            _let_finish(workers, progress)
                            raise
                        queue.append(outcome.number)
                    else:
                        number, results[number] = outcome
                        progress.advance(results[number])
        finally:
            for worker in workers:
                worker.stop()
        return [results[number] for number in range(len(tasks))]


def _hire(workers: list[_Worker], factory: WorkFactory, threads: int) -> _Worker:
    workers.append(_Worker.start(factory, threads))
    return workers[-1]


def _give(worker: _Worker, task: Any) -> None:
    try:
        worker.connection.send(task)
    except (BrokenPipeError, ConnectionResetError):
        # It died; the wait that follows finds out.
        return
    except (pickle.PicklingError, AttributeError, TypeError):
        worker.task = None
        raise


def _heard(workers: list[_Worker]) -> list[_Worker]:
    busy = [worker for worker in workers if worker.task is not None]
    # The process as well as its pipe: a grandchild may hold the pipe open beyond its death.
    ready = set(wait([waited for worker in busy for waited in (worker.connection, worker.process.sentinel)]))
    return [worker for worker in busy if worker.connection in ready or worker.process.sentinel in ready]


def _listen(worker: _Worker, workers: list[_Worker]) -> _Failure | tuple[int, dict[str, Any]]:
    number = worker.task
    assert number is not None
    try:
        if not worker.connection.poll():
            raise EOFError
        kind, content, trace = worker.connection.recv()
    except (EOFError, OSError):
        workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        return _Failure(number, _death(worker.process.exitcode))
    worker.task = None
    if kind == "done":
        return number, content
    if kind == "again":
        return _Failure(number, content)
    if isinstance(content, OpenMofiError):
        raise content
    raise content from RuntimeError(f"in a worker process:\n{trace}")


def _let_finish(workers: list[_Worker], progress: Progress) -> None:
    """Wait for the tasks that are at work; what they make is kept, so that the next start need not make it again."""
    while any(worker.task is not None for worker in workers):
        for worker in _heard(workers):
            # The failure that is being reported came first.
            with suppress(Exception):
                outcome = _listen(worker, workers)
                if not isinstance(outcome, _Failure):
                    progress.advance(outcome[1])


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
        return f"its worker process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"its worker process ended with code {code}"


def _count_try(failure: _Failure, tries: list[int], tasks: Sequence[Any], progress: Progress) -> None:
    tries[failure.number] += 1
    task = tasks[failure.number]
    if tries[failure.number] > RETRIES:
        raise OpenMofiError(f"{task} failed {RETRIES + 1} times: {failure.why}.",
                            "What is finished is kept; start the same command again to go on.")
    progress.say(f"{task}: {failure.why}; trying again")
