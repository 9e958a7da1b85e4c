"""The log of a run: means over the steps of an interval, written to `log.jsonl` and to trackers."""

from __future__ import annotations

import json
import math
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from openmofi.storage import write_text
from openmofi.training.tracking import TENSORBOARD, Tracked, Tracker, open_tracker

LOG = "log.jsonl"


class Watcher(Protocol):
    """Follows a run; the command line draws what it is told."""

    def begin(self, total: int, done: int) -> None:
        """A run of `total` steps starts after `done` steps."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """An interval ends after `step` steps.

        The scalars of an interval: `loss`, `images_per_s`, `data_wait` (0 to 1), `memory_mib`, `lr`, and what the
        objectives have.
        """

    def say(self, message: str) -> None:
        """Show a message."""


class Unwatched:
    """A watcher that shows nothing."""

    def begin(self, total: int, done: int) -> None:
        """See `Watcher`."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """See `Watcher`."""

    def say(self, message: str) -> None:
        """See `Watcher`."""


@dataclass
class Meter:
    """Collects the scalars of steps until they are taken.

    Attributes:
        batch_size: of the global batch.
        waited: seconds spent waiting for data; the loop adds to it.
        paused: seconds spent on evaluations, which do not count; the loop adds to it.
    """

    batch_size: int
    waited: float = 0.0
    paused: float = 0.0
    _started: float = field(default_factory=time.perf_counter)
    _steps: int = 0
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _counts: dict[str, Tensor] = field(default_factory=dict)

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Count one step. Tensors are summed where they are, without waiting for a GPU; values that are not
        finite are left out.
        """
        self._steps += 1
        for name, value in scalars.items():
            finite = torch.isfinite(value)
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.nan_to_num(0.0, 0.0, 0.0)
            self._counts[name] = self._counts.get(name, torch.zeros_like(finite, dtype=torch.int64)) + finite

    def take(self) -> dict[str, float]:
        """Return the means of the finite values, `images_per_s`, `data_wait` (share of the time spent waiting for
        data), `memory_mib` (peak of this process, or of its GPU) and `skipped` (steps without a finite loss), and
        start a new interval.
        """
        counts = {name: int(count) for name, count in self._counts.items()}
        means = {name: float(value) / counts[name] for name, value in self._sums.items() if counts[name]}
        took = max(time.perf_counter() - self._started - self.paused, 1e-9)
        means |= {
            "images_per_s": self._steps * self.batch_size / took,
            "data_wait": min(self.waited / took, 1.0),
            "memory_mib": _memory(),
            "skipped": float(self._steps - counts.get("loss", self._steps)),
        }
        self._started, self.waited, self.paused = time.perf_counter(), 0.0, 0.0
        self._steps, self._sums, self._counts = 0, {}, {}
        return means


def _memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class RunLog:
    """Writes the scalars of a run.

    A tracker that fails later on (its server is gone, say) is left out from then on: the run goes on.

    Args:
        run: its folder gets `log.jsonl`; later lines than its `resume_step`, of an interrupted run, are removed.
        trackers: which of `TRACKERS` get the scalars too.
        say: is told which tracker failed.

    Raises:
        MissingExtraError: a tracker is not installed.
        OpenMofiError: the folder cannot be written.
    """

    def __init__(
        self, run: Tracked, trackers: Sequence[str] = (TENSORBOARD,), say: Callable[[str], None] = lambda message: None
    ) -> None:
        self._path, self._say = run.folder / LOG, say
        write_text(
            self._path,
            "".join(line for line in _whole_lines(self._path) if json.loads(line)["step"] <= run.resume_step),
        )
        self._trackers: dict[str, Tracker] = {name: open_tracker(name, run) for name in trackers}
        self._file = self._path.open("a", encoding="utf-8")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add a line; a number that is not finite becomes `null`, since JSON has no NaN, and trackers do not get it."""
        values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        self._file.write(json.dumps({"step": step, **values}, allow_nan=False) + "\n")
        self._file.flush()
        finite = {name: value for name, value in values.items() if value is not None}
        self._each(lambda tracker: tracker.log(step, finite))

    def close(self, *, finished: bool = True) -> None:
        """Flush and close the files."""
        self._file.close()
        self._each(lambda tracker: tracker.close(finished=finished))

    def _each(self, work: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                work(tracker)
            except Exception as error:  # whatever the tracker's library raises
                del self._trackers[name]
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                self._say(f"The tracker {name} failed and gets no more: {reason}. {LOG} has everything.")


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's log, oldest first; a line that a crash cut off is left out."""
    return [json.loads(line) for line in _whole_lines(Path(folder) / LOG)]


def _whole_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("}\n")]
