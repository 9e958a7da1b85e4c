"""How many cores a process may use: the one place that asks the machine."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores for this process, at least 1: its share where OMP_NUM_THREADS says one, else those it may run on.

    The engines give every worker its share by that variable (`processes:N` sets it, Ray does too), and schedulers of
    clusters set it for their jobs.
    """
    share = os.environ.get("OMP_NUM_THREADS", "")
    if share.isdecimal() and int(share):
        return int(share)
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
