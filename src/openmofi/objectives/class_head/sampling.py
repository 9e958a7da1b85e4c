"""Which classes a sampled softmax scores: the same on every rank, whatever the number of ranks."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def seeded(*numbers: int) -> torch.Generator:
    """A CPU generator whose state depends on all numbers (non-negative), in their order."""
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def draw_classes(classes: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw `count` of `classes`, each with a known probability, in time and memory O(count).

    The ring of classes, starting at a random one, is cut into `count` arcs whose lengths differ by at most one, and one
    class is drawn from each. So all classes are equally likely; given the cut, a class's probability is one over its
    arc's length, and a sum over the draws, each divided by its probability, is unbiased.

    Returns:
        (count,) int64 classes, ascending and unique; (count,) float32 log of the probabilities.
    """
    start = int(torch.randint(classes, (), generator=generator))
    edges = torch.arange(count + 1) * classes // count
    length = edges[1:] - edges[:-1]
    # float64: 53 bits hold 31 bits of class and a fair remainder.
    within = (torch.rand(count, generator=generator, dtype=torch.float64) * length).long()
    drawn = edges[:-1] + torch.minimum(within, length - 1) + start
    log_probability = -length.float().log()
    wrapped = int((drawn >= classes).sum())
    return (
        torch.roll(torch.where(drawn >= classes, drawn - classes, drawn), wrapped),
        torch.roll(log_probability, wrapped),
    )


def join_classes(drawn: Tensor, log_probability: Tensor, certain: Tensor) -> tuple[Tensor, Tensor]:
    """Drawn classes together with some that are scored in any case (the batch's own).

    Args:
        drawn: (S,) int64, unique; log_probability: (S,) float32.
        certain: (P,) int64, unique, ascending.

    Returns:
        (N,) int64 classes, unique and ascending; (N,) float32 log of the probability with which each is scored
        given the batch: 0 for `certain`.
    """
    if len(certain):
        index = torch.searchsorted(certain, drawn).clamp(max=len(certain) - 1)
        new = certain[index] != drawn
        drawn, log_probability = drawn[new], log_probability[new]
    joined, order = torch.cat([drawn, certain]).sort()
    return joined, torch.cat([log_probability, log_probability.new_zeros(len(certain))])[order]


def sample_size(classes: int, rate: float, least: int) -> int:
    """Number of classes drawn: the share `rate`, at least `least`, at most all."""
    return max(1, min(classes, max(least, math.ceil(classes * rate))))
