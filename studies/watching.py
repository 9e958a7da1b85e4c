"""A training run told to the demo's progress, as a stage among its stages."""

from __future__ import annotations

from collections.abc import Mapping

from openmofi.engine import Progress


class ProgressWatcher:
    """A `Watcher` that counts steps; see `openmofi.training.log`."""

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
