"""How much memory the decoders of this process may take at once, and whether the machine has any left."""

import ctypes
import errno
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from openmofi.errors import UsageError

VARIABLE = "OPENMOFI_DECODE_MIB"
"""Names the environment variable with the MiB that the decoders of a process share."""
_DEFAULT_MIB = 2048
_LARGE = 64 << 20
_SHORTAGES = {errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EAGAIN, errno.ENOSPC, errno.EDQUOT}


def decode_limit() -> int:
    """Return the bytes that the decoders of a process share: `$OPENMOFI_DECODE_MIB`, or 2 GiB.

    Raises:
        UsageError: the variable holds anything but a whole number from 1 on.
    """
    text = os.environ.get(VARIABLE) or str(_DEFAULT_MIB)
    if not text.isdecimal() or not int(text):
        raise UsageError(f"{VARIABLE} is {text!r}; it must be a whole number of MiB, at least 1.")
    return int(text) << 20


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim if sys.platform == "linux" else None
    except (OSError, AttributeError):
        # Another C library, such as musl.
        return None


def _trim() -> None:
    """Give freed memory back to the system: glibc keeps it, for each thread its own, even where it is never used again.

    See malloc_trim(3).
    """
    if trim := _malloc_trim():
        trim(0)


@dataclass
class Budget:
    """Bytes that threads share, given out in the order in which they ask.

    Who asks for more than there is waits until nobody else holds any. Who holds some already is given more at once,
    so that threads never wait for each other.

    Attributes:
        limit: gives the bytes; asked each time.
    """

    limit: Callable[[], int]
    _used: int = 0
    _waiting: deque[object] = field(default_factory=deque)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.local = field(default_factory=threading.local)

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Hold `size` bytes until the block ends."""
        limit = self.limit()
        share, nested = min(size, limit), getattr(self._thread, "holds", False)
        with self._changed:
            if not nested:
                self._wait_for(share, limit)
            self._used += share
            self._changed.notify_all()
        self._thread.holds = True
        if share >= _LARGE:
            _trim()
        try:
            yield
        finally:
            self._thread.holds = nested
            with self._changed:
                self._used -= share
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold all there is: no other thread decodes meanwhile."""
        with self.holding(self.limit()):
            yield

    def _wait_for(self, share: int, limit: int) -> None:
        ticket = object()
        self._waiting.append(ticket)
        try:
            self._changed.wait_for(
                lambda: self._waiting[0] is ticket and (self._used + share <= limit or not self._used)
            )
        finally:
            self._waiting.remove(ticket)

    def reset(self) -> None:
        """Hold nothing any more: threads do not survive a fork."""
        self._used, self._waiting, self._changed = 0, deque(), threading.Condition()


DECODING = Budget(decode_limit)
"""What all decoders of this process share."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DECODING.reset)


def memory_left(size: int) -> bool:
    """Whether this process can have `size` bytes more."""
    try:
        # Reserved and given back untouched: a limit of the process or of the machine refuses it here.
        np.empty(size, np.uint8)
    except MemoryError:
        return False
    return True


def of_machine(error: BaseException) -> bool:
    """Whether an error is a shortage of the machine (memory, open files, disk), not a fault of what was read."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _SHORTAGES)
