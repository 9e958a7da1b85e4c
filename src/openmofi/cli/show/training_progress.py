"""How a training run is shown: a bar on a terminal, a line a log interval elsewhere, nothing under --json."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from openmofi.cli.show.progress import ConsoleProgress
from openmofi.engine.protocol import Progress, Quiet

if TYPE_CHECKING:
    from openmofi.training.log import Watcher


@contextmanager
def shown_training(quiet: bool) -> Iterator[tuple[Watcher, Progress]]:
    """A watcher for a run, and a progress for what is prepared before it.

    Their bars are gone before a result or an error is printed, whatever happens.
    """
    if quiet:
        from openmofi.training.log import Unwatched

        yield Unwatched(), Quiet()
        return
    progress = ConsoleProgress()
    watcher = ConsoleWatcher(progress)
    try:
        yield watcher, progress
    finally:
        progress.end()
        watcher.end()


def training_line(scalars: Mapping[str, float]) -> str:
    """Loss, pace, share of the time spent waiting for data, and memory, as far as they are known."""
    shown = (("loss", "loss {:.4f}"), ("images_per_s", "{:,.0f} images/s"), ("data_wait", "data wait {:.0%}"),
             ("memory_mib", "{:,.0f} MiB"))
    parts = [form.format(scalars[name]) for name, form in shown if math.isfinite(scalars.get(name, math.nan))]
    return ", ".join(parts if math.isfinite(scalars.get("loss", math.nan)) else ["loss not finite", *parts])


class ConsoleWatcher:
    """Draws what a run tells; see `openmofi.training.log.Watcher`.

    Args:
        preparing: the progress that was drawn before the run; a terminal has room for one.
    """

    def __init__(self, preparing: ConsoleProgress) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._preparing = preparing
        self._console = Console(stderr=True)
        self._tty = self._console.is_terminal
        self._bar = Bar(
            TextColumn("train"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[scalars]}"), console=self._console, disable=not self._tty)
        self._task: Any = None
        self._total = self._first = 0
        self._started = time.monotonic()

    def begin(self, total: int, done: int) -> None:
        """See `Watcher.begin`."""
        self._preparing.end()
        self._total, self._first, self._started = total, done, time.monotonic()
        if done:
            self.say(f"going on after step {done:,} of {total:,}")
        if self._tty:
            self._bar.start()
            self._task = self._bar.add_task("train", total=total, completed=done, scalars="")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """See `Watcher.log`."""
        if self._tty and self._task is not None:
            self._bar.update(self._task, completed=step, scalars=training_line(scalars))
            return
        pace = (time.monotonic() - self._started) / max(step - self._first, 1)
        left = f", {pace * (self._total - step):,.0f} s left" if step < self._total else ""
        print(f"step {step}/{self._total}: {training_line(scalars)}{left}", file=sys.stderr, flush=True)

    def say(self, message: str) -> None:
        """See `Watcher.say`."""
        self._console.print(message, highlight=False, markup=False)

    def end(self) -> None:
        """Stop drawing."""
        if self._task is not None:
            self._bar.stop()
            self._task = None
