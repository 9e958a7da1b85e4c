"""Keeps the stack on which this thread handles signals, which OpenVINO changes and does not always give back."""

from __future__ import annotations

import ctypes
from collections.abc import Generator
from contextlib import contextmanager

# More than any system's `stack_t`.
_BYTES = 64


@contextmanager
def signal_stack_kept() -> Generator[None]:
    """Inside, anybody may call sigaltstack(2); after it this thread's alternate signal stack is what it was.

    OpenVINO's CPU plugin registers a stack of its own when it is loaded, unmaps it when it is freed, and restores the
    one that it found. Two that are freed in the order in which they came leave the stack of the first, which is gone:
    the next signal (Ctrl-C, or the end of a child process) then kills the process without a word.
    """
    try:
        change = ctypes.CDLL(None).sigaltstack
    except (AttributeError, OSError, TypeError):
        # Windows knows no such stack.
        yield
        return
    before = ctypes.create_string_buffer(_BYTES)
    known = change(None, before) == 0
    try:
        yield
    finally:
        if known:
            change(before, None)
