"""A matrix with a row a class, split over the ranks as DTensor's `Shard(0)` does it: ceil-blocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from openmofi.objectives.class_head.sampling import seeded
from openmofi.objectives.collectives import rank, world_size

_BLOCK = 1024


def shard_bounds(rows: int) -> tuple[int, int]:
    """First row and the row after the last that this rank holds; equal where none is left for it."""
    block = math.ceil(rows / world_size())
    return min(rank() * block, rows), min((rank() + 1) * block, rows)


def random_rows(start: int, stop: int, width: int, deviation: float, seed: int) -> Tensor:
    """(stop − start, width) float32 normal values; row i depends on `seed` and i alone, not on the bounds."""
    rows = torch.empty(stop - start, width)
    for block in range(start // _BLOCK, math.ceil(stop / _BLOCK)):
        drawn = torch.empty(_BLOCK, width).normal_(std=deviation, generator=seeded(seed, block))
        first, last = max(start, block * _BLOCK), min(stop, (block + 1) * _BLOCK)
        rows[first - start : last - start] = drawn[first - block * _BLOCK : last - block * _BLOCK]
    return rows
