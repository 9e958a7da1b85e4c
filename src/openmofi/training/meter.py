"""Means of what the steps of an interval found, with pace, waiting and memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Meter:
    """Collects the scalars of steps until they are taken.

    Attributes:
        batch_size: of the global batch.
        waited: seconds spent waiting for data; the loop adds to it.
    """

    batch_size: int
    waited: float = 0.0
    _started: float = field(default_factory=time.perf_counter)
    _steps: int = 0
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _counts: dict[str, Tensor] = field(default_factory=dict)

    def add(self, scalars: Mapping[str, Tensor]) -> None:
        """Count one step. Tensors are summed where they are, without waiting for a GPU; NaN counts as not there."""
        self._steps += 1
        for name, value in scalars.items():
            there = torch.isfinite(value)
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.nan_to_num(0.0, 0.0, 0.0)
            self._counts[name] = self._counts.get(name, torch.zeros_like(there, dtype=torch.int64)) + there

    def take(self) -> dict[str, float]:
        """Start anew, and give the means (of what was found at all), `images_per_s`, `data_wait` (share of the time
        spent waiting for data), `memory_mib` (peak of this process, or of its GPU) and `skipped` (steps without a
        finite loss).
        """
        counts = {name: int(count) for name, count in self._counts.items()}
        means = {name: float(value) / counts[name] for name, value in self._sums.items() if counts[name]}
        took = max(time.perf_counter() - self._started, 1e-9)
        means |= {"images_per_s": self._steps * self.batch_size / took, "data_wait": min(self.waited / took, 1.0),
                  "memory_mib": _memory(), "skipped": float(self._steps - counts.get("loss", self._steps))}
        self._started, self.waited, self._steps, self._sums, self._counts = time.perf_counter(), 0.0, 0, {}, {}
        return means


def _memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
