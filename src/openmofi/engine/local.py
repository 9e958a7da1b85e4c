"""The engine that needs no other process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openmofi.engine.protocol import RETRIES, Progress, Work, WorkFactory
from openmofi.errors import OpenMofiError


class LocalEngine:
    """Does the tasks one after another in this process: right for work that uses every core by itself."""

    def run(self, factory: WorkFactory, tasks: Sequence[Any], progress: Progress) -> list[dict[str, Any]]:
        """See `Engine.run`."""
        if not tasks:
            return []
        work = factory()
        results = []
        for task in tasks:
            results.append(_with_retries(work, task, progress))
            progress.advance(results[-1])
        return results


def _with_retries(work: Work, task: Any, progress: Progress) -> dict[str, Any]:
    for _ in range(RETRIES):
        try:
            return work(task)
        except OSError as error:
            progress.say(f"{task}: {error}; trying again")
    try:
        return work(task)
    except OSError as error:
        raise OpenMofiError(f"{task}: {error}.", "Start the same command again to go on.") from error
