"""The engine that needs no other process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from openmofi.engine.loop import Outcome, Worker, run_tasks
from openmofi.engine.protocol import Engine, Job, Progress, SetAside, WorkFactory


class LocalEngine:
    """Does the tasks one after another in this process: right for work that uses every core by itself."""

    def suited(self, job: Job, progress: Progress) -> Engine:
        """Itself, for every job."""
        return self

    def session(self) -> AbstractContextManager[Engine]:
        """See `Engine.session`."""
        return nullcontext(self)

    def run(
        self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress, set_aside: SetAside | None = None
    ) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        return run_tasks(_ThisProcess(factory), tasks, progress, set_aside)


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
