"""The log of a run: `log.jsonl`, a line an interval, and TensorBoard's files beside it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from openmofi.errors import MissingExtraError
from openmofi.storage import write_text

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


class Watcher(Protocol):
    """Told how a run goes; the command line draws it."""

    def begin(self, total: int, done: int) -> None:
        """A run of `total` steps starts, of which `done` are done already."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """`step` steps are done.

        The scalars of an interval: `loss`, `images_per_s`, `data_wait` (0 to 1), `memory_mib`, `lr`, and what the
        objectives have.
        """

    def say(self, message: str) -> None:
        """Something a person should know."""


class Unwatched:
    """A watcher that tells nobody."""

    def begin(self, total: int, done: int) -> None:
        """Nothing."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""


class RunLog:
    """Writes the scalars of a run.

    Args:
        folder: of the run; gets `log.jsonl` and `tensorboard/`.
        resume_step: the run goes on after this step: what an interrupted run logged later is cut away. 0 starts anew.

    Raises:
        MissingExtraError: TensorBoard is not installed.
        OpenMofiError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, resume_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError.of("tensorboard", "train") from error
        self._path = folder / LOG
        write_text(self._path, "".join(_lines_until(self._path, resume_step)))
        if not resume_step:
            shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
        self._file = self._path.open("a", encoding="utf-8")
        self._board: Any = SummaryWriter(str(folder / TENSORBOARD), purge_step=resume_step + 1)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add a line; a number that is not finite is `null` in JSON, which has no other word for it."""
        values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        self._file.write(json.dumps({"step": step, **values}, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._file.close()
        self._board.close()


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's log, oldest first; a line that a crash cut off is left out."""
    return [json.loads(line) for line in _whole_lines(Path(folder) / LOG)]


def _lines_until(path: Path, step: int) -> list[str]:
    return [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]


def _whole_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("}\n")]
