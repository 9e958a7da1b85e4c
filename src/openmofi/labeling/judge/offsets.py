"""What an entity adds to all of its evidence: some texts are close to every image.

The mean evidence of an entity's decoys, shrunk to the mean of all by how few they are (empirical Bayes: between and
within variances by moments). A decoy is left out of its own mean, so that it is as far from it as an image that was
not counted.
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
        entity: (e,) numbers of the entities that had decoys, ascending.
        value: (e,) what to subtract from their evidence.
        of_decoy: (m,) what to subtract from each decoy, estimated without it.
    """

    entity: Ints
    value: Doubles
    of_decoy: Doubles

    def of(self, entity: Ints) -> Doubles:
        """(n,) of each entity; 0 where it is unknown."""
        if not len(self.entity):
            return np.zeros(len(entity))
        place = np.minimum(np.searchsorted(self.entity, entity), len(self.entity) - 1)
        return np.where(self.entity[place] == entity, self.value[place], 0.0)


def entity_offsets(decoys: Floats, entity: Ints) -> Offsets:
    """Estimate them from (m,) decoys of the entities `entity`."""
    values = decoys.astype(np.float64)
    distinct, position, count = np.unique(entity, return_inverse=True, return_counts=True)
    if len(distinct) < 3 or len(values) <= len(distinct):
        return Offsets(distinct, np.zeros(len(distinct)), np.zeros(len(values)))
    centred = values - values.mean()
    total = np.bincount(position, centred)
    mean = total / count
    within = float(((centred - mean[position]) ** 2).sum() / (len(values) - len(distinct)))
    # E Σ n·mean² = within·(e − 1) + between·(m − Σ n² / m)
    spread = len(values) - float((count.astype(np.float64) ** 2).sum()) / len(values)
    between = max((float((count * mean**2).sum()) - within * (len(distinct) - 1)) / max(spread, 1e-12), 0.0)
    if between < 1e-9 * max(within, 1e-300):
        return Offsets(distinct, np.zeros(len(distinct)), np.zeros(len(values)))
    prior = max(within / between, 1e-6)
    left = count[position] - 1
    return Offsets(distinct, total / (count + prior), (total[position] - centred) / (left + prior))
