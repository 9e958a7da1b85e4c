"""What an engine is: it takes a factory of work and tasks, and calls back with each result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from openmofi.errors import UsageError

RETRIES = 2
"""How often a task is tried again."""

Work = Callable[[Any], dict[str, Any]]
"""Does one task and returns its counts (small, picklable). Idempotent: it may be called twice for one task."""

WorkFactory = Callable[[], Work]
"""Picklable; called once in each worker, where it opens what is heavy (a knowledge base, an encoder)."""


class Progress(Protocol):
    """Told what happens; the command line draws it."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of `total` tasks starts."""

    def advance(self, counts: dict[str, Any]) -> None:
        """A task is done; `counts` is what it returned."""

    def say(self, message: str) -> None:
        """Something a person should know."""


class Quiet:
    """A progress that tells nobody."""

    def begin(self, stage: str, total: int) -> None:
        """Nothing."""

    def advance(self, counts: dict[str, Any]) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""


class Engine(Protocol):
    """Runs tasks; the order in which they finish is not defined."""

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress) -> list[dict[str, Any]]:
        """Do every task once, retrying those whose worker died or met an input/output error.

        Returns the results in the order of `tasks`.

        Raises:
            OpenMofiError: a task failed for good; what other tasks finished is kept on disk.
        """


def engine_named(spec: str) -> Engine:
    """`local` (this process), `processes:N`, `ray` or `ray:ADDRESS`.

    Raises:
        UsageError: there is no such engine.
    """
    from openmofi.engine.local import LocalEngine
    from openmofi.engine.processes import ProcessEngine

    name, _, option = spec.partition(":")
    if name == "local" and not option:
        return LocalEngine()
    if name == "processes" and (not option or option.isdigit()):
        return ProcessEngine(workers=int(option or 0))
    if name == "ray":
        from openmofi.engine.cluster import RayEngine

        return RayEngine(address=option or None)
    raise UsageError(f"There is no engine {spec!r}.", "Use local, processes:N or ray[:ADDRESS].")
