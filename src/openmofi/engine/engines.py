"""The engine that needs no other process, and engines by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from openmofi.engine.cluster import RayEngine
from openmofi.engine.loop import Outcome, Worker, run_tasks
from openmofi.engine.processes import ProcessEngine
from openmofi.engine.protocol import Engine, Progress, SetAside, WorkFactory
from openmofi.errors import UsageError


class LocalEngine:
    """Does the tasks one after another in this process: right for work that uses every core by itself."""

    few = 0

    def session(self) -> AbstractContextManager[Engine]:
        """See `Engine.session`."""
        return nullcontext(self)

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress,
            set_aside: SetAside | None = None) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        return run_tasks(_ThisProcess(factory), tasks, progress, set_aside)


class _ThisProcess:
    def __init__(self, factory: WorkFactory) -> None:
        self._worker = Worker(factory)
        self._submitted: list[tuple[int, Any]] = []

    def idle(self) -> bool:
        return not self._submitted

    def submit(self, number: int, task: Any) -> None:
        self._submitted.append((number, task))

    def wait(self) -> Iterable[tuple[int, Outcome]]:
        submitted, self._submitted = self._submitted, []
        return [(number, self._worker.do(task)) for number, task in submitted]


def engine_named(spec: str) -> Engine:
    """`local` (this process), `processes`, `processes:N`, `ray` or `ray:ADDRESS`.

    Raises:
        UsageError: `spec` is none of these.
    """
    name, _, option = spec.partition(":")
    if name == "local" and not option:
        return LocalEngine()
    if name == "processes" and (not option or option.isdigit()):
        return ProcessEngine(workers=int(option or 0))
    if name == "ray":
        return RayEngine(address=option or None)
    raise UsageError(f"Unknown engine {spec!r}.", "Use local, processes:N or ray[:ADDRESS].")
