"""Training runs of the studies: several at once, each on its share of the cores, or one as a stage among others.

The studies' models are small: on two cores, two runs with a thread each get through half as much again in the same
time as one after the other with two threads, which wait for each other in every layer.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from openmofi.engine import Progress
from openmofi.engine.engines import ProcessEngine
from openmofi.engine.protocol import Quiet, Work, cores
from openmofi.training.log import Unwatched, read_log
from openmofi.training.recipe.rules import Recipe
from openmofi.training.run import ENCODER, train

_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class TrainingRun:
    """A run to be trained.

    Attributes:
        recipe: its settings.
        out: its folder; a run that was stopped there goes on.
        is_exclusive: a second try of a run that takes long would wait for the first one's lock.
    """

    recipe: Recipe
    out: Path
    is_exclusive: ClassVar = True

    @property
    def encoder(self) -> str:
        """The spec of what it trains."""
        return f"run:{self.out / ENCODER}"

    def __str__(self) -> str:
        return str(self.out)


def train_side_by_side(runs: Sequence[TrainingRun], progress: Progress) -> None:
    """Train all runs, as many at a time as there are cores.

    Args:
        runs: in the order in which they begin.
        progress: receives the steps of all runs together.

    Raises:
        OpenMofiError: a run failed; what others trained is kept.
    """
    workers = min(cores(), len(runs))
    threads = max(1, cores() // workers)
    shared = [replace(run, recipe=replace(run.recipe, run=replace(run.recipe.run, threads=threads))) for run in runs]
    with _followed(shared, progress) as messages:
        ProcessEngine(workers).run(_trainer, shared, messages)


def _trainer() -> Work:
    return _train


def _train(run: TrainingRun) -> dict[str, Any]:
    try:
        train(run.recipe, run.out, resume=True, watcher=Unwatched(), progress=Quiet())
    except KeyboardInterrupt:
        # Ctrl-C reaches every process of the terminal; the parent reports it.
        raise SystemExit(130) from None
    return {}


@contextmanager
def _followed(runs: Sequence[TrainingRun], progress: Progress) -> Generator[Progress]:
    """Count the steps in the runs' logs while they train; what is yielded passes messages on."""
    before = _steps(runs)
    progress.begin("train", sum(run.recipe.run.length for run in runs) - before)
    ended = threading.Event()

    def follow() -> None:
        seen = before
        over = False
        while not over:
            over = ended.wait(_POLL_SECONDS)
            # A run that goes on from a checkpoint cuts its log there.
            now = max(seen, _steps(runs))
            for _ in range(now - seen):
                progress.advance({})
            seen = now

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield _Messages(progress)
    finally:
        ended.set()
        follower.join()


def _steps(runs: Sequence[TrainingRun]) -> int:
    return sum(lines[-1]["step"] for run in runs if (lines := read_log(run.out)))


class _Messages(Quiet):
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def say(self, message: str) -> None:
        """Pass it on."""
        self._progress.say(message)


class ProgressWatcher:
    """A `Watcher` (see `openmofi.training.log`) that counts a run's steps as a stage of a study."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress, self._label = progress, label
        self._done = 0

    def begin(self, total: int, done: int) -> None:
        """See `Watcher`."""
        self._progress.begin(self._label, total - done)
        self._done = done

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """See `Watcher`."""
        for _ in range(step - self._done):
            self._progress.advance({})
        self._done = step

    def say(self, message: str) -> None:
        """See `Watcher`."""
        self._progress.say(message)
