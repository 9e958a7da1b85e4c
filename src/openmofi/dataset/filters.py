"""Which labels stay: near duplicates, cap, minimum, iterated until nothing changes."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.arrays import Bools, Codes, Floats, Hashes, Ints
from openmofi.dataset.dataset_settings import DatasetSettings
from openmofi.dataset.tables import run_starts
from openmofi.storage import hash64

# Two images are near duplicates when they **share an accepted entity** and their 64-bit perceptual hashes (imagehash's
# `phash`) differ in at most `bits` bits. Of near duplicates the first in reading order stays: an image is dropped
# exactly when an earlier *kept* image is its near duplicate, so every dropped image has a kept twin.
#
# The reasons for this rule:
# - The shared entity is required because a perceptual hash sees coarse brightness alone: icons and flags of
#   one shape in other colours have equal hashes although they show different things. With one entity, the
#   colour variants of a shape (a red and a green apple of one drawing) still count as near duplicates;
#   `near_duplicates=None` keeps them.
# - A hash with fewer than 8 bits set or unset comes from a nearly empty image and says little. There only an
#   equal hash *with an equal text* counts. The hash 0 means that the image has none; such an image
#   is never a duplicate.
#
# Cost: hashes that differ in at most b bits agree on at least one of b + 1 bands; only images of one entity whose
# hashes agree on a band are compared. With n images an entity that is about n²·(b + 1)/2^(64/(b + 1)) comparisons:
# linear up to n ≈ 65,000 at 3 bits.

_BITS_SET = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)
SAYS_LITTLE = 8


def bit_count(values: Hashes) -> Ints:
    """How many bits are set in each value."""
    octets = np.ascontiguousarray(values, np.uint64).view(np.uint8).reshape(-1, 8)
    return _BITS_SET[octets].sum(axis=1, dtype=np.int64)


def text_salt(phash: Hashes, text: pa.Array) -> Hashes:
    """0 where a hash is informative; a 64-bit hash of the text (never 0) where it says little."""
    count = bit_count(phash)
    vague = np.flatnonzero((count < SAYS_LITTLE) | (count > 64 - SAYS_LITTLE))
    salt = np.zeros(len(phash), np.uint64)
    for position in vague:
        salt[position] = hash64(text[int(position)].as_py().encode()) | 1
    return salt


def near_duplicates(image: Ints, entity: NDArray[np.integer], phash: Hashes, salt: Hashes, bits: int) -> Bools:
    """Which images repeat an earlier kept one.

    Args:
        image, entity: (labels,) each label's image (row of `phash`) and entity.
        phash, salt: (images,) perceptual hash and `text_salt`.
        bits: greatest Hamming distance of a near duplicate.

    Returns:
        bool (images,).
    """
    dropped = np.zeros(len(phash), bool)
    hashed = phash[image] != 0
    image, entity = image[hashed], entity[hashed]
    if not len(image):
        return dropped
    # A node is an entity with one hash; images of one node are duplicates, and so are those of joined nodes.
    node, first = _nodes(entity, phash[image], salt[image])
    plain = np.flatnonzero(salt[image[first]] == 0)
    here, there = plain[_edges(entity[first][plain], phash[image[first]][plain], bits)]
    return _keep_first(image, node, len(first), here, there, dropped)


def _nodes(entity: NDArray[np.integer], phash: Hashes, salt: Hashes) -> tuple[Ints, Ints]:
    order = np.lexsort((salt, phash, entity))
    changed = run_starts(entity[order], phash[order], salt[order])
    node = np.empty(len(order), np.int64)
    node[order] = np.cumsum(changed) - 1
    return node, order[changed]


def bands(bits: int) -> Iterator[tuple[np.uint64, np.uint64]]:
    """Shift and mask of bits + 1 bands: hashes that differ in at most `bits` bits agree on one of them."""
    edges = np.linspace(0, 64, bits + 2).astype(int)
    for low, high in pairwise(edges):
        yield np.uint64(low), np.uint64((1 << int(high - low)) - 1)


def _edges(entity: NDArray[np.integer], phash: Hashes, bits: int) -> Ints:
    """(2, pairs) nodes of one entity whose distinct hashes differ in at most `bits` bits, each pair once."""
    edges = [np.empty((2, 0), np.int64)]
    for shift, mask in bands(bits) if bits else ():
        value = (phash >> shift) & mask
        order = np.lexsort((value, entity))
        bucket = np.cumsum(run_starts(entity[order], value[order]))
        live, step = np.arange(len(order)), 1
        while len(live):  # compare each with the one `step` places on, as long as both lie in one bucket
            live = live[live + step < len(order)]
            live = live[bucket[live + step] == bucket[live]]
            left, right = order[live], order[live + step]
            close = bit_count(phash[left] ^ phash[right]) <= bits
            edges.append(np.stack([left[close], right[close]]))
            step += 1
    return np.unique(np.sort(np.concatenate(edges, axis=1), axis=0), axis=1)


def _keep_first(image: Ints, node: Ints, nodes: int, here: Ints, there: Ints, dropped: Bools) -> Bools:
    """The greedy choice in reading order, found in parallel rounds.

    In a round every undecided image that no undecided near duplicate precedes is kept, and what it covers is
    dropped; this gives what deciding one image after the other gives.
    """
    undecided = np.zeros(len(dropped), bool)
    undecided[image] = True
    while undecided.any():
        live = undecided[image]
        first = np.full(nodes, len(dropped), np.int64)
        np.minimum.at(first, node[live], image[live])
        reach = first.copy()
        np.minimum.at(reach, here, first[there])
        np.minimum.at(reach, there, first[here])
        chosen = undecided.copy()
        chosen[image[live & (reach[node] < image)]] = False
        covered = np.zeros(nodes, bool)
        covered[node[chosen[image]]] = True
        near = covered.copy()
        near[here[covered[there]]] = True
        near[there[covered[here]]] = True
        undecided &= ~chosen
        dropped[image[undecided[image] & near[node]]] = True
        undecided &= ~dropped
    return dropped


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
class Selection:
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


def keep(labels: LabelArrays, settings: DatasetSettings, excluded: Bools | None = None) -> Selection:
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
        selected = unique if settings.max_images is None else within_cap(labels, unique, settings.max_images)
        still = alive & (np.bincount(labels.entity[selected], minlength=labels.entities) >= settings.min_images)
        if (still == alive).all():
            break
        alive = still
    outcome = np.full(labels.images, Outcome.BELOW_MINIMUM, np.int8)
    outcome[labels.image[unique]] = Outcome.BEYOND_CAP
    outcome[repeated] = Outcome.NEAR_DUPLICATE
    outcome[labels.image[selected]] = Outcome.KEPT
    outcome[labels.image[~entered]] = Outcome.IN_EVALUATION_SET
    return Selection(selected, outcome, rounds)
