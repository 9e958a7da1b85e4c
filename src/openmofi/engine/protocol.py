"""The protocols of the engine: work, progress, engines; and how many cores a process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


def cores() -> int:
    """Return the cores for this process, at least 1: its share by OMP_NUM_THREADS, else those it may run on, or as many
    as a container's quota allows, if these are fewer.

    The engines give every worker its share by that variable (`processes:N` sets it, Ray does too), and schedulers of
    clusters set it for their jobs.
    """
    share = os.environ.get("OMP_NUM_THREADS", "")
    if share.isdecimal() and int(share):
        return int(share)
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(there, quota())))


def quota(proc: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """Return the cores' worth of time that Linux' control groups allow this process, rounded up; else infinity.

    Args:
        proc: names the process' groups.
        root: where they are mounted: version 2's, or version 1's below `cpu`.
    """
    least = math.inf
    with suppress(OSError, ValueError):
        for line in proc.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            mount = root / "cpu" if controllers else root
            group = mount / path.lstrip("/")
            # A container sees its own group as the root, and may be told the host's path.
            for folder in (mount, *(each for each in (group, *group.parents) if mount in each.parents)):
                least = min(least, _allowed(folder))
    return least


def _allowed(folder: Path) -> float:
    """Return the cores that a control group allows."""
    with suppress(OSError, ValueError):
        if (folder / "cpu.max").exists():
            time, period = (folder / "cpu.max").read_text().split()
        else:
            time, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if float(time) > 0:  # "max" is no number, and version 1 has −1 for none
            return math.ceil(float(time) / float(period))
    return math.inf


Work = Callable[[Any], dict[str, Any]]
"""Does one task and returns its counts (small, picklable). Idempotent: a task may be tried more than once."""

WorkFactory = Callable[[], Work]
"""Picklable; called once in each worker, where what is heavy (a knowledge base, an encoder) is opened."""


SetAside = Callable[[Any, Exception], None]
"""Takes a task that failed for good, and why."""


class Progress(Protocol):
    """Receives what happens; the command line draws it."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of `total` tasks starts."""

    def advance(self, counts: dict[str, Any]) -> None:
        """A task is done; `counts` is what it returned."""

    def say(self, message: str) -> None:
        """A message for the user."""


@runtime_checkable
class TaskProgress(Progress, Protocol):
    """A `Progress` that is also told which worker does what."""

    def starts(self, worker: str, task: Any) -> None:
        """A worker starts a task; a late task may be at two."""

    def ends(self, worker: str) -> None:
        """The worker's task has ended, well or not, or it was lost with it."""

    def fails(self, task: Any, reason: str) -> None:
        """A task has failed for good."""


class Quiet:
    """A `Progress` that ignores everything."""

    def begin(self, stage: str, total: int) -> None:
        """Do nothing."""

    def advance(self, counts: dict[str, Any]) -> None:
        """Do nothing."""

    def say(self, message: str) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Job:
    """The properties of a job by which an engine is chosen (`Engine.suited`).

    Attributes:
        device: torch's name of the device that the job computes on, such as `cpu` or `cuda:1`.
        pairs: counts the job's pairs up to a limit, which it is given.
        carried: what is sent to workers, such as an encoder.
        light: how many of its pairs take as long as one that an encoder sees.
    """

    device: str
    pairs: Callable[[int], int]
    carried: Any = None
    light: int = 1

    @property
    def on_gpu(self) -> bool:
        """Whether it computes on a GPU."""
        return self.device != "cpu"


class Engine(Protocol):
    """Runs tasks; the order in which they finish is not defined."""

    def suited(self, job: Job, progress: Progress) -> Engine:
        """Return the engine for a job: itself, or another that does it better, which `progress` is told.

        The whole job counts, and not what is left of it: a job that goes on is done as it was begun.
        """

    def session(self) -> AbstractContextManager[Engine]:
        """Return the same engine with workers that live on from run to run until the end of the block."""

    def run(
        self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress, set_aside: SetAside | None = None
    ) -> list[dict[str, Any]]:
        """Do every task once. A task is tried again if its worker dies or hangs, or on an input/output or memory error.

        One that fails for good stops no other, unless at first nothing but failures comes: see
        `openmofi.engine.loop.run_tasks`.

        Args:
            factory, tasks, progress: what is done.
            set_aside: takes the tasks that failed for good and why; then they are no error.

        Returns:
            The results in the order of `tasks`, without those that were set aside.

        Raises:
            OpenMofiError: a task failed for good, at the end; what other tasks finished is kept on disk. An exception
                that is not ours is raised as it is.
        """


@dataclass(frozen=True)
class EngineKind:
    """An engine that a package adds as an entry point of `openmofi.engines`.

    Attributes:
        form: its spec for people, such as `ray[:ADDRESS]`.
        open: opens it, given its spec; raises a `UsageError` where the spec cannot be read.
    """

    form: str
    open: Callable[[str], Engine]
