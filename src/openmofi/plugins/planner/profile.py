"""What a few steps of a run spend their time on, by `torch.profiler`."""

import logging
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from openmofi.objectives.protocol import Batch
from openmofi.training.loop import Batches

_BEFORE = 2
"""Steps that are left out: the first ones allocate memory, choose kernels and compile."""
_ROWS = 40

_log = logging.getLogger(__name__)


def profiled(batches: Batches, steps: int, trace: Path, table: Path) -> Batches:
    """Hand on batches and record what happens until the next one is asked for, from the third batch on.

    Where there is no third one, or nothing can be written, a warning is logged.

    Args:
        batches: of a run's steps.
        steps: to record; fewer where there are not so many.
        trace: file that is written in Chrome's format, which ui.perfetto.dev shows.
        table: text file of the operations that take longest.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]

    handed = 0

    def write(found: Any) -> None:
        if handed <= _BEFORE:
            return
        order = f"self_{'cuda' if torch.cuda.is_available() else 'cpu'}_time_total"
        try:
            trace.write_bytes(b"")  # what the profiler cannot write it only prints
            found.export_chrome_trace(str(trace))
            table.write_text(found.key_averages().table(sort_by=order, row_limit=_ROWS), encoding="utf-8")
        except (OSError, RuntimeError) as error:
            _log.warning("What run.profile recorded cannot be written: %s", error)

    def recorded(start: int) -> Generator[Batch]:
        nonlocal handed
        plan = schedule(wait=_BEFORE - 1, warmup=1, active=steps, repeat=1)
        with (
            closing(batches(start)) as stream,
            profile(activities=activities, schedule=plan, on_trace_ready=write) as profiler,
        ):
            try:
                for batch in stream:
                    handed += 1
                    yield batch
                    profiler.step()
            finally:
                if handed <= _BEFORE:
                    _log.warning("run.profile recorded nothing: the run ended before its third step.")

    return recorded
