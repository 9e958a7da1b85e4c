"""The training process: its allocator, its threads, its ranks, and a clean stop after a signal."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from openmofi.training.distributed import Ranks, joined_ranks

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER = -1
_PAD_BYTES = 64 << 20


@contextmanager
def training_process(threads: int) -> Iterator[Ranks]:
    """Set up this process for a run and join its ranks; see `joined_ranks`.

    Args:
        threads: of torch; 0 leaves its default.
    """
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    with joined_ranks() as ranks:
        yield ranks


def keep_freed_memory() -> bool:
    """Keep the memory that a step frees in this process, for the next step.

    By default glibc returns large blocks to the system, which clears each page when it is requested again. On CPU that
    took a third of the time of a training step of a small convolutional network. See mallopt(3).

    Returns:
        Whether it is set: only where the allocator is glibc's, and `MALLOC_TRIM_THRESHOLD_` is not in the environment.
    """
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        # Another C library, such as musl.
        return False
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, _NEVER), mallopt(_M_TOP_PAD, _PAD_BYTES)])


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether SIGINT or SIGTERM has arrived; a second signal ends the process at once.

    Outside the main thread signals stay as they are, since Python handles them in the main thread only.
    """
    signals: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield lambda: bool(signals)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
