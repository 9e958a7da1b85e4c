"""What each stage of the label job costs a pair beside the encoder, and what it keeps: for plans of larger jobs.

The whole job runs in one process over corpora of three sizes (the sample world's pages again and again, in shards of
2,000), with a stub encoder that costs next to nothing, and a calibration that is fitted anew. A stage's time is what
lies between its beginning and that of the next, so it holds what the driver does after it. The slope is that of a
straight line through the three sizes: seconds (of the clock, and of the processor) and bytes for each further million
pairs; what does not grow with the pairs, such as the calibration's 50,000, is in the intercept.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import harness

_TABLES = ("texts", "links", "features", "groups", "repeats", "labels")


@dataclass
class Clock:
    """A `Progress` that says how long each stage took: name → (seconds, processor seconds)."""

    stages: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _began: tuple[str, float, float] = ("plan", 0.0, 0.0)

    def begin(self, stage: str, total: int) -> None:
        """The one before has ended."""
        self._end(stage)

    def _end(self, following: str) -> None:
        now = time.perf_counter(), time.process_time()
        name, *began = self._began
        if began[0]:
            self.stages.setdefault(name, []).append((now[0] - began[0], now[1] - began[1]))
        self._began = following, *now

    def advance(self, counts: dict[str, Any]) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run(job: Callable[[], object], clock: Clock, cache: Path, out: Path) -> dict[str, tuple[float, float, int]]:
    """Stage or table → seconds, processor seconds, bytes."""
    clock.begin("plan", 0)
    job()
    clock.begin("end", 0)
    measured = {stage: (sum(a for a, _ in times), sum(b for _, b in times), 0) for stage, times in clock.stages.items()}
    sizes = {f"table of {name}": (0.0, 0.0, size_of((out if name == "labels" else cache) / name)) for name in _TABLES}
    return measured | sizes


def main() -> None:
    """Measure and write `results/stages.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 20_000, 40_000])
    arguments = parser.parse_args()
    import stub
    from label import job_of, opened, prepare

    prepare(arguments.world, arguments.entities)
    encoder, kb, sources = opened(arguments.world)
    fast = stub.stub_encoder(encoder, 1e9)
    measured = []
    for pairs in arguments.pairs:
        shards, clock = stub.corpus(sources, pairs, arguments.world / f"bench-pairs-{pairs}"), Clock()
        measured.append(
            run(
                job_of(arguments.world, shards, kb, fast, progress=clock),
                clock,
                arguments.world / "bench-cache",
                arguments.world / "bench-labels",
            )
        )
    rows: list[harness.Row] = []
    for name in measured[-1]:
        values = np.array([part.get(name, (0.0, 0.0, 0)) for part in measured])
        slopes = np.polyfit(np.array(arguments.pairs) / 1e6, values, 1)[0]
        rows.append(
            {
                "stage": name,
                **{f"seconds at {pairs:,}": float(row[0]) for pairs, row in zip(arguments.pairs, values, strict=True)},
                "seconds_per_million": float(slopes[0]),
                "processor_seconds_per_million": float(slopes[1]),
                "mib_per_million": float(slopes[2]) / 2**20,
            }
        )
    harness.write_result(
        "stages",
        rows,
        {
            "processor_seconds_per_million": sum(row["processor_seconds_per_million"] for row in rows),
            "mib_per_million": sum(row["mib_per_million"] for row in rows),
        },
    )


if __name__ == "__main__":
    main()
