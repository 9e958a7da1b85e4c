"""What an entity adds to all of its evidence: some texts are close to every image.

The mean evidence of an entity for images at random, shrunk to the mean of all by how few they are (empirical Bayes:
between and within variances by moments). The images of an entity's kin would not do: they are close to it for what
they show, and entities with much kin would be judged too hard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Offsets:
    """By entity, beyond the mean of all.

    Attributes:
        entity: (e,) numbers of the entities that were drawn, ascending.
        value: (e,) what to subtract from their evidence.
    """

    entity: Ints
    value: Doubles

    def of(self, entity: Ints) -> Doubles:
        """(n,) of each entity; 0 where it is unknown."""
        if not len(self.entity):
            return np.zeros(len(entity))
        place = np.minimum(np.searchsorted(self.entity, entity), len(self.entity) - 1)
        return np.where(self.entity[place] == entity, self.value[place], 0.0)


def entity_offsets(evidence: Floats, entity: Ints) -> Offsets:
    """Estimate them from (m,) evidence of the entities `entity` for images at random."""
    values = evidence.astype(np.float64)
    distinct, position, count = np.unique(entity, return_inverse=True, return_counts=True)
    if len(distinct) < 3 or len(values) <= len(distinct):
        return Offsets(distinct, np.zeros(len(distinct)))
    centred = values - values.mean()
    total = np.bincount(position, centred)
    mean = total / count
    within = float(((centred - mean[position]) ** 2).sum() / (len(values) - len(distinct)))
    # E Σ n·mean² = within·(e − 1) + between·(m − Σ n² / m)
    spread = len(values) - float((count.astype(np.float64) ** 2).sum()) / len(values)
    between = max((float((count * mean**2).sum()) - within * (len(distinct) - 1)) / max(spread, 1e-12), 0.0)
    if between < 1e-9 * max(within, 1e-300):
        return Offsets(distinct, np.zeros(len(distinct)))
    return Offsets(distinct, total / (count + max(within / between, 1e-6)))
