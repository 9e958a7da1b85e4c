"""Trackers of experiments: what writes a run's scalars beside `log.jsonl`. TensorBoard is here; packages add others.

The number of a run at a tracker is stored in `trackers.json`, so that a resumed run goes on as the same one.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from openmofi.errors import MissingExtraError, UsageError
from openmofi.extensions import extension, extension_names
from openmofi.storage import read_json, write_json

TENSORBOARD = "tensorboard"
NUMBERS = "trackers.json"
OUTPUTS = (NUMBERS, f"{TENSORBOARD}/events.out.*", "wandb/**/*", "mlflow/**/*")
"""Files of trackers in the folder of a run."""
_GROUP = "trackers"


class Tracker(Protocol):
    """Takes the scalars of a run."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add the scalars of an interval, or of an evaluation, that ended after `step` steps."""

    def close(self, *, finished: bool) -> None:
        """Flush and close; `finished` says whether the run came to its end."""


@dataclass(frozen=True)
class Tracked:
    """A run as trackers know it.

    Attributes:
        folder: of the run.
        name: of the recipe.
        project: groups runs.
        settings: dotted key → value of each setting.
        resume_step: the run goes on after this step; 0 is a new one.
    """

    folder: Path
    name: str = "run"
    project: str = "openmofi"
    settings: Mapping[str, Any] | None = None
    resume_step: int = 0

    def number(self, tracker: str, new: Callable[[], str]) -> str:
        """The run's number at a tracker: that of the run that is resumed, or a new one."""
        path = self.folder / NUMBERS
        numbers = read_json(path, dict[str, str], "Remove it; trackers then begin a new run.", missing={})
        if not self.resume_step or tracker not in numbers:
            numbers[tracker] = new()
            write_json(path, numbers)
        return numbers[tracker]


def check_trackers(names: tuple[str, ...]) -> None:
    """Check the names of trackers without opening them.

    Raises:
        UsageError: one is unknown.
    """
    known = [TENSORBOARD, *extension_names(_GROUP)]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"Unknown tracker {unknown[0]!r}.", f"Use {', '.join(known)}.")


def open_tracker(name: str, run: Tracked) -> Tracker:
    """Open a tracker for a run.

    Args:
        name: `tensorboard`, or what a package adds to the entry points `openmofi.trackers`: a callable that takes the
            run and returns a `Tracker`.
        run: see there.

    Raises:
        UsageError: the name is unknown.
        MissingExtraError: it is not installed.
    """
    check_trackers((name,))
    tracker: Tracker = TensorBoard(run) if name == TENSORBOARD else extension(_GROUP, name)(run)
    return tracker


def imported(name: str, extra: str) -> Any:
    """Import a tracker's package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError.of(name.partition(".")[0] if extra != "train" else TENSORBOARD, extra) from error


class TensorBoard:
    """Writes `tensorboard/` in the folder of the run."""

    def __init__(self, run: Tracked) -> None:
        writer = imported("torch.utils.tensorboard", "train").SummaryWriter
        folder = run.folder / TENSORBOARD
        if not run.resume_step:
            shutil.rmtree(folder, ignore_errors=True)
        self._board = writer(str(folder), purge_step=run.resume_step + 1)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add scalars."""
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self, *, finished: bool) -> None:
        """Flush and close."""
        self._board.close()
