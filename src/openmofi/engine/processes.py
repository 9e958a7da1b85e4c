"""The engine of one machine: spawned worker processes, one task at a time each.

`concurrent.futures` is not used: when one of its workers dies it fails every waiting task, does not say which task
killed the worker, and loses an error that opening the work raised.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from openmofi.engine.loop import (
    PATIENCE,
    LocalEngine,
    NotBegun,
    Outcome,
    Pulse,
    RemoteWorker,
    Session,
    WorkerDied,
    hung,
    thread_seconds,
    unpickle_outcome,
)
from openmofi.engine.protocol import Engine, Job, Progress, SetAside, WorkFactory, cores
from openmofi.errors import OpenMofiError

_JOIN_SECONDS = 5.0
_TIDY_SECONDS = 2.0
_PULSE_SECONDS = 1.0


class ProcessEngine:
    """Does the tasks in `workers` spawned processes (0: one a core).

    A worker that dies (out of memory, a crash in a library) costs its task one try, and another takes its place. One
    that hangs is ended (`openmofi.engine.loop.Pulse`).

    Args:
        workers: how many.
        patience: seconds in which a worker may use no CPU time before it counts as hanging.
    """

    # A worker starts in some five seconds, most of them imports of PyTorch and what stands on it. An earlier version
    # gained 30 % by two workers on two cores once they ran; see `AutoEngine` for what is measured now.
    few = 5000
    """Below so many pairs the start of workers costs more than they save."""

    def __init__(self, workers: int = 0, patience: float = PATIENCE) -> None:
        self.workers = workers or cores()
        self.patience = patience

    def suited(self, job: Job, progress: Progress) -> Engine:
        """Return itself, or this process where the pairs are too few."""
        if self.few and (pairs := job.pairs(self.few)) < self.few:
            progress.say(f"{pairs:,} pairs are done in this process: other processes pay from {self.few:,} on.")
            return LocalEngine()
        return self

    @contextmanager
    def session(self) -> Generator[Engine]:
        """See `Engine.session`."""
        workers = _Processes(self.workers, self.patience)
        try:
            yield Session(workers)
        finally:
            workers.stop()

    def run(
        self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress, set_aside: SetAside | None = None
    ) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        with self.session() as session:
            return session.run(factory, tasks, progress, set_aside)


def _serve(connection: Connection, threads: int, used: Any) -> None:
    """The life of a worker: answer each task until the other side closes the connection.

    With the first task of a run comes its factory. Every second `used` gets the CPU seconds of this thread.
    """
    threading.Thread(target=_end_with_parent, args=(used, thread_seconds()), daemon=True).start()
    # Workers share the cores; without this each would start a thread a core, and they would wait for each other.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    # Ctrl-C reaches every process of the terminal; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # So that what is half written is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    worker = RemoteWorker(b"")
    while True:
        try:
            pickled_factory, task = connection.recv()
            # What both runs use, such as an encoder, stays open as long as the former factory lives.
            former, worker = worker, RemoteWorker(pickled_factory) if pickled_factory else worker
            outcome = worker.do_pickled(task)
            del former
            connection.send_bytes(outcome)
        except (EOFError, BrokenPipeError):
            return


def _end_with_parent(used: Any, seconds: Callable[[], float]) -> None:
    """End this worker when its parent dies, amid a task too: with the parent dies its claim on what is written.

    Until then, say every second what CPU time the worker has used.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    while parent.is_alive():
        used.value = seconds()
        parent.join(_PULSE_SECONDS)
    os._exit(1)


@contextmanager
def _sigint_held() -> Generator[None]:
    """Hold Ctrl-C back, here and in what is started: a worker that is still importing would answer with a traceback.

    Here it arrives at the end; a worker lets it through once it ignores it.
    """
    # Its start ends with SIGINT let through, so it comes first.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class _Process:
    process: SpawnProcess
    connection: Connection
    used: Any
    pulse: Pulse
    attempt: int | None = None
    begun: bool = False
    factory: bytes = b""

    @classmethod
    def start(cls, threads: int) -> _Process:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        used = context.RawValue("d", 0.0)
        process = context.Process(target=_serve, args=(theirs, threads, used))
        with _sigint_held():
            process.start()
        # Only the worker may hold its end, or its death would not be noticed.
        theirs.close()
        return cls(process, ours, used, Pulse(time.monotonic()))

    def ready(self, handles: set[Any]) -> bool:
        return self.connection in handles or self.process.sentinel in handles

    def outcome(self) -> Outcome:
        try:
            if not self.connection.poll():
                raise EOFError
            return unpickle_outcome(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.connection.close()
            self.process.join()
            cause = _cause_of_death(self.process.exitcode)
            return WorkerDied(cause) if self.begun else NotBegun(cause)

    def send(self, factory: bytes, task: Any) -> None:
        """Give it a task; its factory only where it has another."""
        self.connection.send((b"" if factory is self.factory else factory, task))
        self.factory = factory

    def abandon(self) -> None:
        """End it amid its task, so that it removes what it has half written."""
        self.process.terminate()
        self.process.join(_TIDY_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it amid its task."""
        self.connection.close()
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        self.connection.close()
        self.process.join(_JOIN_SECONDS if self.attempt is None else 0)
        if self.process.is_alive():
            self.kill()


class _Processes:
    def __init__(self, limit: int, patience: float) -> None:
        self.started: list[_Process] = []
        self._patience = patience
        self.factory = b""
        self._limit = limit
        self._threads = max(1, cores() // limit)

    def begin(self, factory: WorkFactory, tasks: int, say: Callable[[str], None]) -> None:
        try:
            self.factory = pickle.dumps(factory)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise OpenMofiError(
                f"The job cannot be sent to other processes: {error}.",
                "Define your own encoder in a module, outside of functions, or use the engine local.",
            ) from error

    def stop(self) -> None:
        while self.started:
            self.started.pop().stop()

    def idle(self) -> bool:
        return len(self.started) < self._limit or any(process.attempt is None for process in self.started)

    def submit(self, attempt: int, task: Any) -> str:
        process = next((process for process in self.started if process.attempt is None), None)
        if process is None:
            process = _Process.start(self._threads)
            self.started.append(process)
        # One that dies before its first task may do so each time, and counts.
        process.begun = not process.factory
        # One that has died idle is noticed by `wait`.
        with suppress(BrokenPipeError, ConnectionResetError):
            process.send(self.factory, task)
            process.begun = True
        process.attempt, process.pulse.heard = attempt, time.monotonic()
        return f"process {process.process.pid}"

    def wait(self, seconds: float | None) -> list[tuple[int, Outcome]]:
        busy = [process for process in self.started if process.attempt is not None]
        last_heard = min(process.pulse.heard for process in busy)
        # Listened to a few times before the worker would be given up.
        left = min(max(last_heard + self._patience - time.monotonic(), 0.0), self._patience / 4)
        # The process as well as its pipe: a grandchild may hold the pipe open beyond its death.
        handles = set(
            wait(
                [handle for process in busy for handle in (process.connection, process.process.sentinel)],
                left if seconds is None else min(left, max(seconds, 0.0)),
            )
        )
        now, ended = time.monotonic(), []
        for process in busy:
            assert process.attempt is not None
            process.pulse.hear(process.used.value, now)
            if process.ready(handles):
                outcome = process.outcome()
            elif now - process.pulse.heard >= self._patience:
                process.kill()
                outcome = hung(self._patience)
            else:
                continue
            ended.append((process.attempt, outcome))
            process.attempt = None
            if isinstance(outcome, WorkerDied | NotBegun):
                self.started.remove(process)
        return ended

    def abandon(self) -> None:
        for process in [process for process in self.started if process.attempt is not None]:
            self.started.remove(process)
            process.abandon()


def _cause_of_death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
        return f"its worker process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"its worker process ended with code {code}"
