"""How much alike images are that are no copies: labelled images of different entities, as many as a set has images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openmofi.dataset.collect import Collected
from openmofi.dataset.duplicates import Hashes, bit_count
from openmofi.dataset.tables import Codes, Floats, Ints
from openmofi.encoders.arrays import normalised

_ROWS, _GALLERY, _SHARDS = 1000, 8192, 16
_OTHER_BITS = 10


@dataclass(frozen=True)
class Gallery:
    """A sample of the labelled images.

    Attributes:
        features: (n, d) float32, L2-normalised.
        phash: (n,) uint64.
        row, entity: each label's row here, and its entity.
    """

    features: Floats
    phash: Hashes
    row: Ints
    entity: Codes

    @classmethod
    def of(cls, collected: Collected, features_of: Callable[[int], Floats]) -> Gallery:
        """At most 8,192 images of at most 16 shards, spread over all.

        Args:
            collected: the labels.
            features_of: position of a shard → the features of its images, one a row of its table.
        """
        labelled = np.flatnonzero(np.diff(collected.starts))
        shards = labelled[np.unique(np.linspace(0, len(labelled) - 1, _SHARDS).round().astype(int))]
        images = np.concatenate([np.arange(*collected.starts[shard : shard + 2]) for shard in shards])
        images = images[np.unique(np.linspace(0, len(images) - 1, _GALLERY).round().astype(int))]
        parts = []
        for shard in shards:
            low, high = np.searchsorted(images, collected.starts[shard : shard + 2])
            if high > low:
                parts.append(normalised(features_of(int(shard))[collected.row[images[low:high]]].astype(np.float32)))
        labels = collected.labels
        place = np.searchsorted(images, labels.image)
        here = images[np.minimum(place, len(images) - 1)] == labels.image
        return cls(np.concatenate(parts), labels.phash[images], place[here], labels.entity[here])

    def nearest(self, size: int) -> Floats:
        """(at most 1,000,) cosines of sampled images to the nearest of `size` images of no common entity, whose hashes
        are far off too; at most those that there are.
        """
        generator = np.random.default_rng(0)
        order = generator.permutation(len(self.features))
        gallery = np.sort(order[:size])
        rows = np.sort(generator.permutation(len(order))[:_ROWS])
        cosines = self.features[rows] @ self.features[gallery].T
        for number, row in enumerate(rows):
            entities = self.entity[self.row == row]
            related = np.zeros(len(order), bool)
            related[self.row[np.isin(self.entity, entities)]] = True
            near = bit_count(self.phash[gallery] ^ self.phash[row]) <= _OTHER_BITS
            cosines[number, related[gallery] | near] = 0
        return np.asarray(cosines.max(axis=1, initial=0), np.float32)
