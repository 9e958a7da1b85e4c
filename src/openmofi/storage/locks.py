"""The lock on an output folder, local or in a store: one process writes it; the others can read who does.

The local one is the system's (flock) on a hidden file in the folder, so that it ends with its process, however that
ends. The file holds a note about the holder and goes when the lock is given back. On NFS the server must support locks;
where a file system has none, a warning says so and the folder is not locked.
"""

import errno
import fcntl
import json
import logging
import os
import secrets
import shlex
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from openmofi.errors import OpenMofiError, without_passwords
from openmofi.storage.addresses import filesystem_of, store_errors
from openmofi.storage.atomic import write_error
from openmofi.storage.typed_json import parse_json

LOCK_FILE = ".openmofi.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What `flock` fails with on a file system without locks."""
_COMMAND = 200
_log = logging.getLogger(__name__)
_open: set[int] = set()


def _close_inherited() -> None:
    # A forked child (a worker of a data loader) would hold the lock beyond the death of its parent.
    for descriptor in _open:
        with suppress(OSError):
            os.close(descriptor)
    _open.clear()


os.register_at_fork(after_in_child=_close_inherited)


class LockNote(msgspec.Struct):
    """The content of a lock.

    Attributes:
        process, host: of the holder.
        since, command: when it took the lock and what it runs; empty before it introduces itself.
        lock: names the holder of a lock of a store.
        beat: counts its signs of life.
    """

    process: int
    host: str
    since: str = ""
    command: str = ""
    lock: str = ""
    beat: int = 0


def introduction() -> dict[str, Any]:
    """Return what a process writes about itself into its lock."""
    command = without_passwords(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": command if len(command) <= _COMMAND else f"{command[:_COMMAND]}…",
    }


def holder_in(lock: bytes) -> str:
    """Return the process that a lock's content names, for people; empty where none has introduced itself."""
    try:
        note = parse_json(lock, LockNote, "", "")
    except OpenMofiError:
        return ""
    return f"process {note.process} on {note.host} ({note.command}, since {note.since})" if note.since else ""


def holder_of(folder: Path) -> str:
    """Return who writes a folder now, for people; empty where nobody does, or where it cannot be told."""
    lock = FolderLock(folder)
    try:
        if not lock.acquire():
            return lock.holder() or "a process that begins"
    except OpenMofiError:
        return ""
    finally:
        lock.release()
    return ""


class FolderLock:
    """The only lock on a local folder among all processes and threads; see the head of this module.

    Args:
        folder: where it is missing it is made, and removed again if it is empty when the lock is given back.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOCK_FILE
        self._descriptor: int | None = None
        self._made: list[Path] = []

    wait_seconds = 0.1
    """The seconds to wait between two calls of `acquire`."""

    def require_held(self) -> None:
        """Do nothing: nobody can take this lock over."""

    def acquire(self) -> bool:
        """Take the lock if nobody has it.

        Raises:
            OpenMofiError: the folder cannot be written.
        """
        try:
            while True:
                descriptor = self._opened()
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                    return False
                except OSError as error:
                    if error.errno not in NO_LOCKS:
                        os.close(descriptor)
                        raise
                    _log.warning(
                        "%s: this file system has no locks; start no second command with this output.", self._folder
                    )
                # Whoever had the lock has removed its file.
                if os.fstat(descriptor).st_nlink:
                    os.ftruncate(descriptor, 0)
                    _open.add(descriptor)
                    self._descriptor = descriptor
                    return True
                os.close(descriptor)
        except OSError as error:
            raise write_error(error, self._path) from error

    def _opened(self) -> int:
        while True:
            missing = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
            self._folder.mkdir(parents=True, exist_ok=True)
            self._made += [folder for folder in missing if folder not in self._made]
            with suppress(FileNotFoundError):  # the holder removed the folder meanwhile
                return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)

    def introduce(self) -> None:
        """Let the others read who holds the lock, from now on."""
        assert self._descriptor is not None
        with suppress(OSError):  # a full disk is an error of what is written, not of the note
            os.pwrite(self._descriptor, json.dumps(introduction()).encode(), 0)

    def holder(self) -> str:
        """Return the process that has the lock, for people; empty where it has not introduced itself (yet)."""
        try:
            return holder_in(self._path.read_bytes())
        except OSError:
            return ""

    def release(self) -> None:
        """Give the lock back; without it only remove an empty folder that was made for it."""
        if self._descriptor in _open:  # a forked child has none
            with suppress(OSError):
                self._path.unlink()
            with suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            _open.discard(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()
        self._made = []


# The lock is an object that is put only where there is none; which of two puts came first the store decides. Its holder
# writes it anew every twenty seconds. Whoever finds it unchanged for two minutes of his own clock takes it over, so
# that the clocks of the machines need not agree; on the machine of a holder that has ended, at once.

BEAT_SECONDS, LEASE_SECONDS = 20.0, 120.0


class StoreLock:
    """The only lock on a folder of a store among all processes; as `openmofi.storage.locks.FolderLock`.

    Args:
        folder: its address.
        beat, lease: seconds between two signs of life, and without one until another may take the lock.
    """

    def __init__(self, folder: str, beat: float = BEAT_SECONDS, lease: float = LEASE_SECONDS) -> None:
        self._folder, self._beat, self._lease = folder, beat, lease
        self._address = f"{folder.rstrip('/')}/{LOCK_FILE}"
        self._mine = secrets.token_hex(8)
        self._introduced: dict[str, Any] = {}
        self._seen: tuple[bytes, float] = (b"", 0.0)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lost = False

    @property
    def wait_seconds(self) -> float:
        """The seconds to wait between two calls of `acquire`."""
        return min(self._beat / 4, 5.0)

    def acquire(self) -> bool:
        """Take the lock if nobody has it, or whoever had it gives no sign of life.

        Raises:
            OpenMofiError: the store cannot be read or written.
        """
        try:
            filesystem, name = filesystem_of(self._address)
            with store_errors(self._address):
                if not self._put(filesystem, name):
                    held = self._read()
                    if held and not self._is_dead(held):
                        return False
                    if held and self._read() == held:
                        filesystem.rm_file(name)
                    if not self._put(filesystem, name):
                        return False
        except OSError as error:
            raise write_error(error, self._address) from error
        except ValueError as error:
            raise OpenMofiError(f"{self._address} cannot be written: {error}.") from error
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        return True

    def _put(self, filesystem: Any, name: str) -> bool:
        try:
            filesystem.pipe_file(name, self._note(0), mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if "PreconditionFailed" not in str(error) and "pre-conditions" not in str(error):
                raise
            return False
        return self._owns(self._read())

    def _note(self, beat: int) -> bytes:
        return json.dumps(
            {"lock": self._mine, "beat": beat, "host": socket.gethostname(), "process": os.getpid(), **self._introduced}
        ).encode()

    def _read(self) -> bytes:
        filesystem, name = filesystem_of(self._address)
        try:
            with store_errors(self._address):
                return bytes(filesystem.cat_file(name, start=0, end=1 << 16))
        except FileNotFoundError:
            return b""

    def _owns(self, note: bytes) -> bool:
        with suppress(OpenMofiError):
            return parse_json(note, LockNote, "", "").lock == self._mine
        return False

    def _is_dead(self, note: bytes) -> bool:
        """Whether the holder has ended on this machine, or its note stays as it is."""
        with suppress(OpenMofiError, PermissionError, OverflowError):
            holder = parse_json(note, LockNote, "", "")
            if holder.host == socket.gethostname():
                try:
                    os.kill(holder.process, 0)
                except ProcessLookupError:
                    return True
        if note != self._seen[0]:
            self._seen = (note, time.monotonic())
        return time.monotonic() - self._seen[1] > self._lease

    def _keep(self) -> None:
        """Write the note again and again; a store that stays away for long costs the lock."""
        beat, filesystem, name = 0, *filesystem_of(self._address)
        while not self._stop.wait(self._beat):
            beat += 1
            with suppress(OSError, ValueError), store_errors(self._address):
                if not self._owns(self._read()):
                    self._lost = True
                    return
                filesystem.pipe_file(name, self._note(beat))

    def require_held(self) -> None:
        """Check that nobody has taken the lock over.

        Raises:
            OpenMofiError: somebody has.
        """
        if self._lost:
            raise OpenMofiError(
                f"{self._folder} was taken over by {self.holder() or 'another process'}: this one gave "
                f"no sign of life for {self._lease:g} seconds.",
                "What was finished is kept.",
            )

    def introduce(self) -> None:
        """Let the others read who holds the lock, from now on."""
        self._introduced = introduction()
        filesystem, name = filesystem_of(self._address)
        with suppress(OSError), store_errors(self._address):
            filesystem.pipe_file(name, self._note(1))

    def holder(self) -> str:
        """Return the process that has the lock, for people; empty where it has not introduced itself (yet)."""
        with suppress(OSError):
            return holder_in(self._read())
        return ""

    def live_holder(self) -> str:
        """As `holder`, but empty where that process has ended on this machine."""
        with suppress(OSError):
            note = self._read()
            return "" if self._is_dead(note) else holder_in(note)
        return ""

    def release(self) -> None:
        """Give the lock back; without it do nothing."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        filesystem, name = filesystem_of(self._address)
        with suppress(OSError), store_errors(self._address):
            if not self._lost and self._owns(self._read()):
                filesystem.rm_file(name)
