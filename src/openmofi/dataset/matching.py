"""The evaluation image nearest to each labelled image by embedding, and how near unrelated images lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from openmofi.arrays import Codes, Floats, Hashes, Ints
from openmofi.dataset.collect import Collected
from openmofi.encoders.arrays import normalised

_UNRELATED_ROWS, _GALLERY, _SHARDS = 1000, 8192, 16
_OTHER_BITS = 10


@dataclass(frozen=True)
class ImageSample:
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
    def of(cls, collected: Collected, features_of: Callable[[int], Floats]) -> ImageSample:
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
        position = np.searchsorted(images, labels.image)
        here = images[np.minimum(position, len(images) - 1)] == labels.image
        return cls(np.concatenate(parts), labels.phash[images], position[here], labels.entity[here])

    def nearest(self, size: int) -> Floats:
        """(at most 1,000,) cosines of sampled images to the nearest of `size` images of no common entity, whose hashes
        are far off too; at most those that there are.
        """
        generator = np.random.default_rng(0)
        order = generator.permutation(len(self.features))
        gallery = np.sort(order[:size])
        rows = np.sort(generator.permutation(len(order))[:_UNRELATED_ROWS])
        cosines = self.features[rows] @ self.features[gallery].T
        for number, row in enumerate(rows):
            entities = self.entity[self.row == row]
            related = np.zeros(len(order), bool)
            related[self.row[np.isin(self.entity, entities)]] = True
            near = np.bitwise_count(self.phash[gallery] ^ self.phash[row]) <= _OTHER_BITS
            cosines[number, related[gallery] | near] = 0
        return np.asarray(cosines.max(axis=1, initial=0), np.float32)


NONE = -1
_ROWS, _COLUMNS = 1024, 16384


def nearest_features(features: Floats, others: Floats) -> tuple[Ints, Floats]:
    """For each row the row of `others` with the greatest cosine, ties to the first.

    Args:
        features: (n, d), of any length; rows of zeros have the cosine 0 to all.
        others: (m, d) float32, L2-normalised; m > 0.

    Returns:
        (n,) positions in `others`; (n,) cosines, float32.
    """
    position, cosine = np.zeros(len(features), np.int64), np.zeros(len(features), np.float32)
    for start in range(0, len(features), _ROWS):
        block = normalised(features[start : start + _ROWS].astype(np.float32))
        best, where = np.full(len(block), -np.inf, np.float32), np.zeros(len(block), np.int64)
        for left in range(0, len(others), _COLUMNS):
            product = block @ others[left : left + _COLUMNS].T
            nearest = product.argmax(axis=1)
            value = product[np.arange(len(block)), nearest]
            better = value > best
            best[better], where[better] = value[better], nearest[better] + left
        position[start : start + _ROWS], cosine[start : start + _ROWS] = where, best
    return position, cosine
