"""Progress for people: a bar on a terminal, plain lines elsewhere, nothing under --json."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from openmofi.engine.protocol import Progress, Quiet

_LINE_EVERY = 10.0


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Progress]:
    """A progress for a verb's work; the bar is gone before a result or an error is printed, whatever happens."""
    if quiet:
        yield Quiet()
        return
    progress = ConsoleProgress()
    try:
        yield progress
    finally:
        progress.end()


class ConsoleProgress:
    """Draws rows/s, the accepted share where there is one, and the time left; see `openmofi.engine.Progress`."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._tty = self._console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(), console=self._console, transient=False, disable=not self._tty)
        self._task: Any = None
        self._reset("", 0)

    def _reset(self, stage: str, total: int) -> None:
        self._stage, self._total, self._done = stage, total, 0
        self._rows = self._accepted = 0
        self._started = self._said = time.monotonic()

    def begin(self, stage: str, total: int) -> None:
        """See `Progress.begin`."""
        self.end()
        self._reset(stage, total)
        if self._tty:
            self._bar.start()
            self._task = self._bar.add_task(stage, total=total, rate="")

    def advance(self, counts: dict[str, Any]) -> None:
        """See `Progress.advance`."""
        self._done += 1
        self._rows += int(counts.get("rows", 0))
        self._accepted += int(counts.get("labelled", 0))
        if self._tty:
            self._bar.update(self._task, advance=1, rate=self._rate())
        elif time.monotonic() - self._said > _LINE_EVERY or self._done == self._total:
            self._said = time.monotonic()
            left = (self._said - self._started) / self._done * (self._total - self._done)
            status = ", ".join(filter(None, (f"{self._done}/{self._total}", self._rate(), f"{left:.0f} s left")))
            print(f"{self._stage}: {status}", file=sys.stderr, flush=True)

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = f"{self._rows / seconds:,.0f} rows/s" if self._rows else ""
        return rate + (f", {self._accepted / self._rows:.0%} labelled" if self._accepted else "")

    def say(self, message: str) -> None:
        """See `Progress.say`."""
        self._console.print(message, highlight=False, markup=False)

    def end(self) -> None:
        """Stop drawing."""
        if self._task is not None:
            self._bar.stop()
            self._task = None
