"""The protocols of the engine: work, progress, engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

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


class Quiet:
    """A `Progress` that ignores everything."""

    def begin(self, stage: str, total: int) -> None:
        """Nothing."""

    def advance(self, counts: dict[str, Any]) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""


class Engine(Protocol):
    """Runs tasks; the order in which they finish is not defined.

    Attributes:
        few: below so many pairs the start of its workers costs more than they save; 0 where it starts none here.
    """

    few: int

    def session(self) -> AbstractContextManager[Engine]:
        """The same, whose workers live on from one run to the next until the end of the block."""

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress,
            set_aside: SetAside | None = None) -> list[dict[str, Any]]:
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
