"""Progress for people: a bar on a terminal and in a notebook, plain lines elsewhere where asked for, or nothing."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from openmofi.engine.protocol import Progress, Quiet
from openmofi.terminal import plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from openmofi.training.log import Watcher

_LINE_EVERY, _WATCH_EVERY = 10.0, 0.5


@contextmanager
def shown_progress(progress: bool | Progress | None) -> Iterator[Progress]:
    """A progress for some work; its bar is gone before a result or an error is printed, whatever happens.

    Args:
        progress: `True` shows it; `False` does not; `None` shows it on a terminal and in a notebook; an object of the
            caller's own is used as it is.
    """
    if progress is None:
        progress = _watched(_console())
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield Quiet()
        return
    console = ConsoleProgress()
    try:
        yield console
    finally:
        console.end()


@contextmanager
def watched_progress() -> Iterator[Progress]:
    """A progress that shows accepted labels as they come; see `shown_progress`."""
    console = ConsoleProgress(watch=True)
    try:
        yield console
    finally:
        console.end()


@contextmanager
def shown_training(progress: bool | Progress | None) -> Iterator[tuple[Watcher, Progress]]:
    """A watcher for a training run, and a progress for what is prepared before it; see `shown_progress`.

    A progress of the caller's own follows the preparation alone: the run has a log.
    """
    if progress is None:
        progress = _watched(_console())
    if progress is not True:
        from openmofi.training.log import Unwatched

        yield Unwatched(), progress or Quiet()
        return
    preparing = ConsoleProgress()
    watcher = ConsoleWatcher(preparing)
    try:
        yield watcher, preparing
    finally:
        preparing.end()
        watcher.end()


def _console() -> Console:
    return plain_console(stderr=True)


def _watched(console: Console) -> bool:
    """Whether a person looks on: at a terminal, or in a notebook."""
    return console.is_terminal or console.is_jupyter


class _Drawn:
    """A bar of these columns, where bars can be drawn: in a notebook that needs ipywidgets, and without it there are
    plain lines.
    """

    def __init__(self, *columns: Any) -> None:
        from rich.progress import Progress as Bar

        self._console = console = _console()
        self._live = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
        self._bar = Bar(*columns, console=console, disable=not self._live)
        self._task: Any = None

    def _start(self, title: str, total: int, **fields: Any) -> None:
        if self._live:
            self._bar.start()
            self._task = self._bar.add_task(title, total=total, **fields)

    def say(self, message: str) -> None:
        """See `Progress.say`."""
        # A command in it can be copied only if no line is broken in it.
        self._console.print(message, soft_wrap=True)

    def end(self) -> None:
        """Stop drawing."""
        if self._task is not None:
            self._bar.stop()
            self._task = None


class ConsoleProgress(_Drawn):
    """Draws rows/s, the accepted share where there is one, and the time left; see `openmofi.engine.Progress`.

    Args:
        watch: prints examples of accepted labels, too, at most some lines a second.
    """

    def __init__(self, *, watch: bool = False) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        super().__init__(
            TextColumn("{task.description:<10}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
        )
        self._watch, self._shown = watch, -math.inf
        self._reset("", 0)

    def _reset(self, stage: str, total: int) -> None:
        self._stage, self._total, self._done = stage, total, 0
        self._rows = self._accepted = 0
        self._started = self._printed = time.monotonic()

    def begin(self, stage: str, total: int) -> None:
        """See `Progress.begin`."""
        self.end()
        self._reset(stage, total)
        self._start(stage, total, rate="")

    def advance(self, counts: dict[str, Any]) -> None:
        """See `Progress.advance`."""
        self._done += 1
        self._rows += int(counts.get("rows", 0))
        self._accepted += int(counts.get("labelled", 0))
        if self._watch and (examples := counts.get("examples")) and time.monotonic() - self._shown > _WATCH_EVERY:
            self._shown = time.monotonic()
            for example in examples:
                self._console.print(example_line(example), soft_wrap=True)
        if self._live:
            self._bar.update(self._task, advance=1, rate=self._rate())
        elif time.monotonic() - self._printed > _LINE_EVERY or self._done == self._total:
            self._printed = time.monotonic()
            left = (self._printed - self._started) / self._done * (self._total - self._done)
            line = ", ".join(filter(None, (f"{self._done}/{self._total}", self._rate(), f"{left:.0f} s left")))
            print(f"{self._stage}: {line}", file=sys.stderr, flush=True)

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = f"{self._rows / seconds:,.0f} rows/s" if self._rows else ""
        return rate + (f", {self._accepted / self._rows:.0%} labelled" if self._accepted else "")


def example_line(example: Mapping[str, Any]) -> str:
    """An accepted label in a line: probability, entity, the pair's text and key; control characters are left out."""
    text = " ".join("".join(char if char.isprintable() else " " for char in example["text"]).split())
    return (
        f"{example['probability']:.2f}  {example['name']}  ←  {text[:70]}{'…' if len(text) > 70 else ''}  "
        f"[{example['key']}]"
    )


def training_line(scalars: Mapping[str, float]) -> str:
    """Loss, pace, share of the time spent waiting for data, and memory, as far as they are known."""
    forms = (
        ("loss", "loss {:.4f}"),
        ("images_per_s", "{:,.0f} images/s"),
        ("data_wait", "data wait {:.0%}"),
        ("memory_mib", "{:,.0f} MiB"),
    )
    parts = [form.format(scalars[name]) for name, form in forms if math.isfinite(scalars.get(name, math.nan))]
    return ", ".join(parts if math.isfinite(scalars.get("loss", math.nan)) else ["loss not finite", *parts])


class ConsoleWatcher(_Drawn):
    """Draws what a run logs; see `openmofi.training.log.Watcher`.

    Args:
        preparing: the progress that was drawn before the run; a terminal has room for one.
    """

    def __init__(self, preparing: ConsoleProgress) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

        super().__init__(
            TextColumn("train", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[line]}", markup=False),
        )
        self._preparing = preparing
        self._total = self._first = 0
        self._started = time.monotonic()

    def begin(self, total: int, done: int) -> None:
        """See `Watcher.begin`."""
        self._preparing.end()
        self._total, self._first, self._started = total, done, time.monotonic()
        if done:
            self.say(f"going on after step {done:,} of {total:,}")
        self._start("train", total, completed=done, line="")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """See `Watcher.log`."""
        if self._live and self._task is not None:
            self._bar.update(self._task, completed=step, line=training_line(scalars))
            return
        pace = (time.monotonic() - self._started) / max(step - self._first, 1)
        left = f", {pace * (self._total - step):,.0f} s left" if step < self._total else ""
        print(f"step {step}/{self._total}: {training_line(scalars)}{left}", file=sys.stderr, flush=True)
