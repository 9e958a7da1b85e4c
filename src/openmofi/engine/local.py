"""The engine that needs no other process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from openmofi.engine.loop import Outcome, Worker, run_tasks
from openmofi.engine.protocol import Progress, WorkFactory


class LocalEngine:
    """Does the tasks one after another in this process: right for work that uses every core by itself."""

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        return run_tasks(_ThisProcess(factory), tasks, progress)


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
