"""Which labels stay: near duplicates, cap, minimum, iterated until nothing changes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from openmofi.arrays import Bools, Codes, Floats, Hashes, Ints
from openmofi.dataset.dataset_settings import DatasetSettings
from openmofi.dataset.duplicates import near_duplicates
from openmofi.dataset.tables import run_starts


class Outcome(IntEnum):
    """The outcome of the filters for a labelled image; each image has exactly one."""

    KEPT = 0
    NEAR_DUPLICATE = 1
    BEYOND_CAP = 2
    BELOW_MINIMUM = 3
    IN_EVALUATION_SET = 4


@dataclass(frozen=True)
class LabelArrays:
    """The accepted labels of all shards: 16 bytes a label and 16 bytes an image are held in memory.

    Attributes:
        image, entity, probability: (labels,) sorted by image and entity, each pair once.
        phash, salt: (images,) in reading order; see `duplicates.text_salt`.
        entities: number of distinct entities.
    """

    image: Ints
    entity: Codes
    probability: Floats
    phash: Hashes
    salt: Hashes
    entities: int

    @property
    def images(self) -> int:
        """How many images have at least one accepted label."""
        return len(self.phash)


@dataclass(frozen=True)
class Kept:
    """What is kept: `label` bool (labels,), `outcome` `Outcome` (images,), `rounds` until nothing changed."""

    label: Bools
    outcome: NDArray[np.int8]
    rounds: int


def within_cap(labels: LabelArrays, live: Bools, cap: int) -> Bools:
    """Of the `live` labels the `cap` most probable ones of each entity; ties go to the earlier image."""
    chosen = np.flatnonzero(live)
    order = chosen[np.lexsort((labels.image[chosen], -labels.probability[chosen], labels.entity[chosen]))]
    entity = labels.entity[order]
    start = np.flatnonzero(run_starts(entity))
    rank = np.arange(len(order)) - np.repeat(start, np.diff(np.r_[start, len(order)]))
    result = np.zeros(len(live), bool)
    result[order[rank < cap]] = True
    return result


def keep(labels: LabelArrays, settings: DatasetSettings, excluded: Bools | None = None) -> Kept:
    """Apply the filters in this order, over the entities still in the vocabulary, until the vocabulary is
    stable:

    1. near duplicates are dropped (an image goes with all its labels);
    2. an entity beyond the cap keeps its most probable images (only the label goes; an image without labels
       goes);
    3. an entity with fewer than `min_images` images leaves the vocabulary.

    Images that are `excluded`, bool (images,), are out before: they keep no near duplicate out and count for nothing.
    The vocabulary only shrinks, so this ends; it must be iterated because an image may be a near duplicate
    only through an entity that leaves.
    """
    entered = np.ones(len(labels.image), bool) if excluded is None else ~excluded[labels.image]
    alive = np.bincount(labels.entity[entered], minlength=labels.entities) >= settings.min_images
    rounds = 0
    while True:
        rounds += 1
        named = entered & alive[labels.entity]
        repeated = np.zeros(labels.images, bool)
        if settings.near_duplicates is not None:
            repeated = near_duplicates(
                labels.image[named], labels.entity[named], labels.phash, labels.salt, settings.near_duplicates
            )
        unique = named & ~repeated[labels.image]
        kept = unique if settings.max_images is None else within_cap(labels, unique, settings.max_images)
        still = alive & (np.bincount(labels.entity[kept], minlength=labels.entities) >= settings.min_images)
        if (still == alive).all():
            break
        alive = still
    outcome = np.full(labels.images, Outcome.BELOW_MINIMUM, np.int8)
    outcome[labels.image[unique]] = Outcome.BEYOND_CAP
    outcome[repeated] = Outcome.NEAR_DUPLICATE
    outcome[labels.image[kept]] = Outcome.KEPT
    outcome[labels.image[~entered]] = Outcome.IN_EVALUATION_SET
    return Kept(kept, outcome, rounds)
