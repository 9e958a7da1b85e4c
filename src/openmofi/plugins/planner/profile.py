"""What a few steps of a run spend their time on, by `torch.profiler`."""

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


def profiled(batches: Batches, steps: int, trace: Path, table: Path) -> Batches:
    """Hand on batches and record what happens until the next one is asked for, from the third batch on.

    Args:
        batches: of a run's steps.
        steps: to record; fewer where there are not so many.
        trace: file that is written in Chrome's format, which ui.perfetto.dev shows.
        table: text file of the operations that take longest.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]

    def write(found: Any) -> None:
        found.export_chrome_trace(str(trace))
        order = f"self_{'cuda' if torch.cuda.is_available() else 'cpu'}_time_total"
        table.write_text(found.key_averages().table(sort_by=order, row_limit=_ROWS), encoding="utf-8")

    def recorded(start: int) -> Generator[Batch]:
        plan = schedule(wait=_BEFORE - 1, warmup=1, active=steps, repeat=1)
        with (
            closing(batches(start)) as stream,
            profile(activities=activities, schedule=plan, on_trace_ready=write) as profiler,
        ):
            for batch in stream:
                yield batch
                profiler.step()

    return recorded
