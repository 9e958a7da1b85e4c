"""The lock on a folder of a store, where a process cannot hold a file open: a lease.

The lock is an object that is put only where there is none; which of two puts came first the store decides. Its holder
writes it anew every twenty seconds. Whoever finds it unchanged for two minutes of his own clock takes it over, so that
the clocks of the machines need not agree; on the machine of a holder that has ended, at once.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import filesystem_of, store_errors
from openmofi.storage.atomic import write_error
from openmofi.storage.claiming.folder_lock import LOCK_FILE, LockNote, holder_in, introduction
from openmofi.storage.typed_json import parse_json

BEAT_SECONDS, LEASE_SECONDS = 20.0, 120.0


class StoreLock:
    """The only lock on a folder of a store among all processes; as `openmofi.storage.claiming.folder_lock.FolderLock`.

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
        """How long to wait between two calls of `acquire`."""
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
        """The process that has the lock, for people; empty where it has not introduced itself (yet)."""
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
        """Give the lock back; without it nothing happens."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._thread = None
        filesystem, name = filesystem_of(self._address)
        with suppress(OSError), store_errors(self._address):
            if not self._lost and self._owns(self._read()):
                filesystem.rm_file(name)
