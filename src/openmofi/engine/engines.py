"""Engines by name, the one that suits a job, and the one of several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
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
from pathlib import Path
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
from openmofi.errors import OpenMofiError, UsageError
from openmofi.extensions import extension, extension_names

_JOIN_SECONDS = 5.0
_TIDY_SECONDS = 2.0
_PULSE_SECONDS = 1.0


class ProcessEngine:
    """Does the tasks in `workers` spawned processes (0: one a core).

    A worker that dies (out of memory, a crash in a library) costs its task one try, and another takes its place. One
    that hangs is ended (`openmofi.engine.loop.Pulse`). `concurrent.futures` is not used: when one of its workers dies
    it fails every waiting task, does not say which task killed the worker, and loses an error that opening the work
    raised.

    Args:
        workers: how many.
        patience: seconds in which a worker may use no CPU time before it counts as hanging.
    """

    # A worker starts in some five seconds, most of them imports of PyTorch and what stands on it. An earlier version
    # gained 30 % by two workers on two cores once they ran; see `AutoEngine` for what is measured now.
    few = 5000
    """Below so many pairs, times `Job.light`, the start of workers costs more than they save."""

    def __init__(self, workers: int = 0, patience: float = PATIENCE) -> None:
        self.workers = workers or cores()
        self.patience = patience

    def suited(self, job: Job, progress: Progress) -> Engine:
        """Return itself, or this process where the pairs are too few."""
        if (few := self.few * job.light) and (pairs := job.pairs(few)) < few:
            progress.say(f"{pairs:,} pairs are done in this process: other processes pay from {few:,} on.")
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


_GROUP = "engines"


class AutoEngine(LocalEngine):
    """The engine that suits the job (`suited`); without a job it is this process.

    - Ray where RAY_ADDRESS names a cluster;
    - this process where the job computes on a GPU, which one process keeps busy; where there is one core; where the
      pairs are too few for the start of others (`ProcessEngine.few`); and where other processes cannot do it, since
      they would run the caller's script again, or cannot open its encoder;
    - else a process a core.
    """

    def suited(self, job: Job, progress: Progress) -> Engine:
        """See `Engine.suited`; what is chosen is said."""
        engine, why = self._chosen(job, progress)
        progress.say(f"engine {why}")
        return engine

    def _chosen(self, job: Job, progress: Progress) -> tuple[Engine, str]:
        if address := os.environ.get("RAY_ADDRESS"):
            ray = engine_named(address if address.startswith("ray://") else f"ray:{address}")
            return ray.suited(job, progress), f"ray: RAY_ADDRESS is {address}"
        if job.on_gpu:
            return LocalEngine(), f"local: the encoder is on {job.device}"
        if cores() < 2:
            return LocalEngine(), "local: there is one core"
        if (pairs := job.pairs(few := ProcessEngine.few * job.light)) < few:
            return LocalEngine(), f"local: {pairs:,} pairs; other processes pay from {few:,} on"
        if reason := _bound_here(job.carried):
            return LocalEngine(), f"local: {reason}"
        return ProcessEngine(), f"processes:{cores()}: a worker a core"


def _bound_here(carried: Any) -> str:
    """Return why other processes cannot do the job; empty where they can."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    try:
        pickled = pickle.dumps(carried)
    except Exception:  # whatever an encoder of the user's own raises
        return "the encoder cannot be sent to other processes"
    if script is None:  # a notebook or a prompt: others have its modules, but not what was defined in it
        return "the encoder is defined here, and not in a module" if b"__main__" in pickled else ""
    with suppress(OSError, ValueError):
        # Each worker imports the script, which would start the job again, unless it asks for its name.
        if "__name__" not in Path(script).read_text("utf-8"):
            return "workers would run this script again; put it under if __name__ == '__main__' for more"
    return ""


def engine_named(spec: str) -> Engine:
    """Return the engine that a spec names.

    Args:
        spec: `auto`, `local` (this process), `processes`, `processes:N`, or the name of one that a package adds, which
            may be followed by `:` or `?` and what that engine reads, as in `ray:HOST:PORT?gpus=0.5`.

    Raises:
        UsageError: `spec` is none of these.
    """
    name, _, option = spec.partition(":")
    if spec == "auto":
        return AutoEngine()
    if name == "local" and not option:
        return LocalEngine()
    if name == "processes" and (not option or option.isdigit()):
        return ProcessEngine(workers=int(option or 0))
    if (added := re.split("[:?]", spec, maxsplit=1)[0]) in extension_names(_GROUP):
        return extension(_GROUP, added).open(spec)
    *others, last = [
        "auto",
        "local",
        "processes:N",
        *(extension(_GROUP, each).form for each in extension_names(_GROUP)),
    ]
    raise UsageError(f"Unknown engine {spec!r}.", f"Use {', '.join(others)} or {last}.")
