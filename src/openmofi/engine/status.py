"""What a running job says of itself, in a hidden file of its output, for `openmofi jobs status`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from openmofi.engine.protocol import Progress
from openmofi.storage import write_json

STATUS_FILE = ".openmofi.status.json"
_SECONDS, _MESSAGES = 1.0, 20


@dataclass
class JobStatus:
    """Where a job is.

    Attributes:
        stage: what it does.
        done, total: tasks of that stage.
        rows: of the tasks that are done.
        began, at: seconds since 1970: when the stage began, and when this was written.
        messages: the last 20.
    """

    stage: str = ""
    done: int = 0
    total: int = 0
    rows: int = 0
    began: float = 0.0
    at: float = 0.0
    messages: list[str] = field(default_factory=list)

    @property
    def seconds_left(self) -> float | None:
        """Of the stage, if the tasks that are left take as long as those that are done; `None` before the first."""
        return (self.at - self.began) / self.done * (self.total - self.done) if self.done else None

    @property
    def rows_per_second(self) -> float:
        """Of the stage."""
        return self.rows / max(self.at - self.began, 1e-9)

    @classmethod
    def read(cls, folder: str | Path) -> JobStatus | None:
        """What the job that writes a local folder wrote last; `None` where none does, or it has not begun."""
        try:
            return cls(**json.loads((Path(folder) / STATUS_FILE).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None


class _Recorder:
    """A `Progress` that passes everything on."""

    def __init__(self, progress: Progress, path: Path, clock: Callable[[], float]) -> None:
        self._progress, self._path, self._clock = progress, path, clock
        self._status = JobStatus()

    def begin(self, stage: str, total: int) -> None:
        self._progress.begin(stage, total)
        now = self._clock()
        self._status = JobStatus(stage, 0, total, 0, now, now, self._status.messages)
        self._write()

    def advance(self, counts: dict[str, Any]) -> None:
        self._progress.advance(counts)
        self._status.done += 1
        self._status.rows += int(counts.get("rows", 0))
        self._write(_SECONDS)

    def say(self, message: str) -> None:
        self._progress.say(message)
        self._status.messages = [*self._status.messages, message][-_MESSAGES:]
        self._write()

    def _write(self, after: float = 0.0) -> None:
        now = self._clock()
        if now - self._status.at >= after:
            self._status.at = now
            with suppress(Exception):  # a full disk is an error of what the job writes
                write_json(self._path, asdict(self._status))


@contextmanager
def recorded(progress: Progress, folder: str | Path, clock: Callable[[], float] = time.time) -> Generator[Progress]:
    """The same progress, kept in a local folder for as long as the block runs; a killed job leaves it there."""
    path = Path(folder) / STATUS_FILE
    try:
        yield _Recorder(progress, path, clock)
    finally:
        with suppress(OSError):
            path.unlink()
