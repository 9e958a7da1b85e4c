"""What a running job says of itself, in hidden files of its output, for `openmofi jobs`."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from openmofi.engine.protocol import Progress, TaskProgress
from openmofi.errors import OpenMofiError, without_passwords
from openmofi.storage import cache_folder, filesystem_of, is_remote, read_json, write_json
from openmofi.version import __version__

STATUS_FILE = ".openmofi.status.json"
COMMAND_FILE = ".openmofi.command.json"
_SECONDS, _REMOTE_SECONDS, _MESSAGES, _SLOWEST = 1.0, 30.0, 20, 5


@dataclass
class JobStatus:
    """Where a job is.

    Attributes:
        stage: what it does.
        done, total: tasks of that stage.
        rows: of the tasks that are done.
        began, at: seconds since 1970: when the stage began, and when this was written.
        messages: the last 20.
        workers: worker → its task, and since when (seconds since 1970).
        failed: task → why it failed for good, in all stages.
        slowest: the five slowest tasks that have ended: seconds, stage, task.
    """

    stage: str = ""
    done: int = 0
    total: int = 0
    rows: int = 0
    began: float = 0.0
    at: float = 0.0
    messages: list[str] = field(default_factory=list)
    workers: dict[str, tuple[str, float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    slowest: list[tuple[float, str, str]] = field(default_factory=list)

    @property
    def seconds_left(self) -> float | None:
        """Estimate the seconds left of the stage from the tasks done so far; `None` before the first."""
        return (self.at - self.began) / self.done * (self.total - self.done) if self.done else None

    @property
    def rows_per_second(self) -> float:
        """Return the rows per second of the stage."""
        return self.rows / max(self.at - self.began, 1e-9)

    @classmethod
    def read(cls, folder: str | Path) -> JobStatus | None:
        """Read the latest status of the job that writes a folder; `None` where none does, or it has not begun."""
        try:
            return read_json(f"{folder}/{STATUS_FILE}", cls, "")
        except OpenMofiError:
            return None


@dataclass(frozen=True)
class StartedCommand:
    """The `openmofi` command that made a folder.

    Attributes:
        arguments: without the program, without `--restart`, since it goes on where it was, and without passwords.
        folder: where it was started; its paths may be relative.
        version: of OpenMOFI.
        signature: by a key that only this user can read; it tells his own commands from those in others' folders.
    """

    arguments: list[str]
    folder: str
    version: str
    signature: str = ""

    @property
    def is_signed(self) -> bool:
        """Whether this user started the command, with the present cache."""
        return hmac.compare_digest(self.signature, self._signed().signature) and bool(self.signature)

    def _signed(self) -> StartedCommand:
        """Return the same with this user's signature; without one where the user's cache cannot be written."""
        try:
            key = _key()
        except OSError:
            return replace(self, signature="")
        content = json.dumps([self.arguments, self.folder, self.version]).encode("ascii")
        return replace(self, signature=hmac.new(key, content, "sha256").hexdigest())

    @classmethod
    def of_this_process(cls) -> StartedCommand | None:
        """Return the command that this process runs; `None` where it is another program."""
        program = Path(sys.argv[0])
        if program.stem != "openmofi" and program.parts[-2:] != ("openmofi", "__main__.py"):
            return None
        with suppress(FileNotFoundError):  # the folder was removed meanwhile
            return cls(
                [without_passwords(argument) for argument in sys.argv[1:] if argument != "--restart"],
                str(Path.cwd()),
                __version__,
            )._signed()
        return None

    @classmethod
    def read(cls, folder: str | Path) -> StartedCommand | None:
        """Read the command that wrote a folder last; `None` where that is not recorded."""
        try:
            command = read_json(f"{folder}/{COMMAND_FILE}", cls, "")
            return command if command.arguments else None
        except OpenMofiError:
            return None


def _key() -> bytes:
    """Return the key of this user, which is made when it is first needed."""
    path = cache_folder() / "command.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), open(path, "xb", opener=partial(os.open, mode=0o600)) as file:
        file.write(secrets.token_bytes(32))
    key = path.read_bytes()
    if len(key) != 32:
        raise OSError(f"{path} is no key")  # is being written, or was cut off
    return key


class _Recorder:
    """A `TaskProgress` that passes everything on, and writes what changes into a folder.

    Seldom into a store, where a write is a request and cannot be seen by many at once.
    """

    def __init__(self, progress: Progress, folder: str, clock: Callable[[], float]) -> None:
        self._progress, self._folder, self._clock = progress, folder, clock
        self._watched = progress if isinstance(progress, TaskProgress) else None
        self._status = JobStatus()
        self._dirty, self._lock = False, threading.RLock()
        self._apart = _REMOTE_SECONDS if is_remote(folder) else 0.0
        self._written, self._begun = -_REMOTE_SECONDS, False

    def begin(self, stage: str, total: int) -> None:
        self._progress.begin(stage, total)
        if not self._begun:
            self._begun = True
            _keep_command(self._folder)
        with self._lock:
            now, last = self._clock(), self._status
            self._status = JobStatus(stage, 0, total, 0, now, now, last.messages, {}, last.failed, last.slowest)
            self._changed(0.0)

    def advance(self, counts: dict[str, Any]) -> None:
        self._progress.advance(counts)
        counts.pop("examples", None)  # for people who watch; the engine keeps the counts until the end
        with self._lock:
            self._status.done += 1
            self._status.rows += int(counts.get("rows", 0))
            self._changed()

    def say(self, message: str) -> None:
        self._progress.say(message)
        with self._lock:
            self._status.messages = [*self._status.messages, message][-_MESSAGES:]
            self._changed(0.0)

    def starts(self, worker: str, task: Any) -> None:
        if self._watched:
            self._watched.starts(worker, task)
        with self._lock:
            self._status.workers[worker] = str(task), self._clock()
            self._changed()

    def ends(self, worker: str) -> None:
        if self._watched:
            self._watched.ends(worker)
        with self._lock:
            task, since = self._status.workers.pop(worker, ("", 0.0))
            if task:
                ended = round(self._clock() - since, 3), self._status.stage, task
                self._status.slowest = sorted([*self._status.slowest, ended], reverse=True)[:_SLOWEST]
            self._changed()

    def fails(self, task: Any, reason: str) -> None:
        if self._watched:
            self._watched.fails(task, reason)
        with self._lock:
            self._status.failed[str(task)] = reason
            self._changed()

    def _changed(self, apart: float = _SECONDS) -> None:
        self._dirty = True
        now = self._clock()
        if now - self._written >= max(apart, self._apart):
            self._written, self._dirty, self._status.at = now, False, now
            with suppress(Exception):  # a full disk is an error of what the job writes
                write_json(f"{self._folder}/{STATUS_FILE}", asdict(self._status))

    def flush(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            if self._dirty:
                self._changed()


def _keep_command(folder: str) -> None:
    with suppress(Exception):
        if command := StartedCommand.of_this_process():
            write_json(f"{folder}/{COMMAND_FILE}", asdict(command))
        else:
            _remove(f"{folder}/{COMMAND_FILE}")


def _remove(path: str) -> None:
    with suppress(Exception):
        filesystem, name = filesystem_of(path)
        filesystem.rm_file(name)


@contextmanager
def recorded(
    progress: Progress, folder: str | Path, clock: Callable[[], float] = time.time, every: float | None = _SECONDS
) -> Generator[TaskProgress]:
    """Record progress in a folder for as long as the block runs; a killed job leaves the record there.

    Where this process is an `openmofi` command, that is kept too, beyond the end: `StartedCommand`.

    Args:
        progress: receives everything.
        folder: where it is kept.
        clock: seconds since 1970.
        every: seconds after which a change is written, also while nothing else happens; `None` waits for what happens.
    """
    recorder, ended = _Recorder(progress, str(folder), clock), threading.Event()

    def flush() -> None:
        while not ended.wait(every):
            recorder.flush()

    thread = threading.Thread(target=flush, daemon=True)
    try:
        if every is not None:
            thread.start()
        yield recorder
    finally:
        ended.set()
        if thread.is_alive():  # Ctrl-C may come before it is started
            thread.join()
        _remove(f"{folder}/{STATUS_FILE}")
