"""The protocols of the engine: work, progress, engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Work = Callable[[Any], dict[str, Any]]
"""Does one task and returns its counts (small, picklable). Idempotent: a task may be tried more than once."""

WorkFactory = Callable[[], Work]
"""Picklable; called once in each worker, where what is heavy (a knowledge base, an encoder) is opened."""


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

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress) -> list[dict[str, Any]]:
        """Do every task once. A task is tried again if its worker dies, or on an input/output or memory error.

        Returns the results in the order of `tasks`.

        Raises:
            OpenMofiError: a task failed for good; what other tasks finished is kept on disk.
        """
