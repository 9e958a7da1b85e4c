"""Which labels stay: near duplicates, cap, minimum, iterated until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

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

BLOCK = 1 << 21
"""Labels that are looked at together, in the mean."""
SAYS_LITTLE = 8


def blocks(rows: int) -> Iterator[slice]:
    """Yield slices of `BLOCK` rows; the last is shorter."""
    return (slice(start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK))


def text_salt(phash: Hashes, text: pa.Array) -> Hashes:
    """0 where a hash is informative; a 64-bit hash of the text (never 0) where it says little."""
    count = np.bitwise_count(phash)
    vague = np.flatnonzero((count < SAYS_LITTLE) | (count > 64 - SAYS_LITTLE))
    salt = np.zeros(len(phash), np.uint64)
    for position in vague:
        salt[position] = hash64(text[int(position)].as_py().encode()) | 1
    return salt


@dataclass(frozen=True)
class LabelArrays:
    """The accepted labels of all shards; they may be mapped files.

    Attributes:
        image, entity, probability: (labels,) sorted by image and entity, each pair once.
        phash, salt: (images,) in reading order; see `text_salt`.
        entities: number of distinct entities.
        by_entity: (labels,) positions of labels by entity, those of an entity ascending.
    """

    image: Ints
    entity: Codes
    probability: Floats
    phash: Hashes
    salt: Hashes
    entities: int
    by_entity: Ints

    @classmethod
    def of(
        cls, image: Ints, entity: Codes, probability: Floats, phash: Hashes, salt: Hashes, entities: int, out: Ints
    ) -> LabelArrays:
        """Sort positions of labels by entity into `out`, a block at a time."""
        labels = cls(image, entity, probability, phash, salt, entities, out)
        position = np.cumsum(np.r_[0, labels.count()])[:-1]
        for block in blocks(len(entity)):
            order = np.argsort(entity[block], kind="stable")
            codes = entity[block][order]
            first = np.flatnonzero(run_starts(codes))
            rank = np.arange(len(codes)) - np.repeat(first, np.diff(np.r_[first, len(codes)]))
            out[position[codes] + rank] = order + block.start
            position += np.bincount(codes, minlength=entities)
        return labels

    @property
    def images(self) -> int:
        """How many images have at least one accepted label."""
        return len(self.phash)

    def count(self, chosen: Bools | None = None) -> Ints:
        """Return how many labels, or how many of the `chosen`, bool (labels,), each entity has: (entities,)."""
        total = np.zeros(self.entities, np.int64)
        for block in blocks(len(self.entity)):
            of_block = self.entity[block] if chosen is None else self.entity[block][chosen[block]]
            total += np.bincount(of_block, minlength=self.entities)
        return total

    def parts(self) -> Iterator[Ints]:
        """Yield `by_entity` in parts of some millions of labels, each with all labels of its entities."""
        ends = np.cumsum(self.count())
        start = 0
        while start < len(self.by_entity):
            end = int(ends[np.searchsorted(ends, min(start + BLOCK, len(self.by_entity)))])
            yield self.by_entity[start:end]
            start = end


def near_duplicates(labels: LabelArrays, named: Bools, bits: int) -> Bools:
    """Which images repeat an earlier kept one.

    Args:
        labels: see there.
        named: bool (labels,), those that count.
        bits: greatest Hamming distance of a near duplicate.

    Returns:
        bool (images,).
    """
    # A node is an entity with one hash; images of one node are duplicates, and so are those of joined nodes. Nodes of
    # one image that are joined to none say nothing.
    images, nodes, edges, count = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty((2, 0), np.int64)], 0
    for part in labels.parts():
        part = part[named[part]]
        image, entity = labels.image[part], labels.entity[part]
        phash, salt = labels.phash[image], labels.salt[image]
        hashed = phash != 0
        image, entity, phash, salt = image[hashed], entity[hashed], phash[hashed], salt[hashed]
        node, first = _nodes(entity, phash, salt)
        plain = np.flatnonzero(salt[first] == 0)
        edge = plain[_edges(entity[first][plain], phash[first][plain], bits)]
        says = np.bincount(node, minlength=len(first)) > 1
        says[edge] = True
        number = np.cumsum(says) - 1 + count
        images.append(image[says[node]])
        nodes.append(number[node[says[node]]])
        edges.append(number[edge])
        count += int(says.sum())
    here, there = np.concatenate(edges, axis=1)
    dropped = np.zeros(labels.images, bool)
    return _keep_first(np.concatenate(images), np.concatenate(nodes), count, here, there, dropped)


def _nodes(entity: NDArray[np.integer], phash: Hashes, salt: Hashes) -> tuple[Ints, Ints]:
    order = np.lexsort((salt, phash, entity))
    changed = run_starts(entity[order], phash[order], salt[order])
    node = np.empty(len(order), np.int64)
    node[order] = np.cumsum(changed) - 1
    return node, order[changed]


def bands(bits: int) -> Iterator[tuple[np.uint64, np.uint64]]:
    """Shift and mask of bits + 1 bands: hashes that differ in at most `bits` bits agree on one of them.

    A band takes every (bits + 1)th bit, so that hashes of which a part is constant, or nearly, differ in all bands.
    """
    for low in range(bits + 1):
        yield np.uint64(low), np.uint64(sum(1 << bit for bit in range(0, 64 - low, bits + 1)))


def _edges(entity: NDArray[np.integer], phash: Hashes, bits: int) -> Ints:
    """(2, pairs) nodes of one entity whose distinct hashes differ in at most `bits` bits, each pair once."""
    edges = [np.empty((2, 0), np.int64)]
    for shift, mask in bands(bits) if bits else ():
        value = (phash >> shift) & mask
        order = np.lexsort((value, entity))
        size = np.diff(np.r_[np.flatnonzero(run_starts(entity[order], value[order])), len(order)])
        end, sorted_hash = np.repeat(np.cumsum(size), size), phash[order]
        live, step = np.arange(len(order)), 1
        while len(live):  # compare each with the one `step` places on, as long as both lie in one bucket
            live = live[live + step < end[live]]
            close = live[np.bitwise_count(sorted_hash[live] ^ sorted_hash[live + step]) <= bits]
            edges.append(np.stack([order[close], order[close + step]]))
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
    SEMANTIC_DUPLICATE = 2
    BEYOND_CAP = 3
    BELOW_MINIMUM = 4
    IN_EVALUATION_SET = 5


@dataclass(frozen=True)
class Selection:
    """What is kept: `label` bool (labels,), `outcome` `Outcome` (images,), `rounds` until nothing changed."""

    label: Bools
    outcome: NDArray[np.int8]
    rounds: int


def within_cap(labels: LabelArrays, live: Bools, cap: int, by: str) -> Bools:
    """Which of the `live` labels stay where an entity has more than `cap`; see `DatasetSettings.max_images_by`."""
    result, drawn = np.zeros(len(live), bool), np.zeros(labels.images, bool)
    for part in labels.parts():
        chosen = part[live[part]]
        # The same draws however the labels are cut.
        draw = _mixed(labels.image[chosen].astype(np.uint64), labels.entity[chosen].astype(np.uint64))
        first = draw if by != "probability" else -labels.probability[chosen]
        order = np.lexsort((labels.image[chosen], first, labels.entity[chosen]))
        chosen, draw = chosen[order], draw[order]
        start = np.flatnonzero(run_starts(labels.entity[chosen]))
        count = np.diff(np.r_[start, len(chosen)])
        if by == "metaclip":
            drawn[labels.image[chosen[draw < np.repeat(cap / count, count) * 2.0**64]]] = True
        else:
            result[chosen[np.arange(len(chosen)) - np.repeat(start, count) < cap]] = True
    return live & _taken(drawn, labels.image) if by == "metaclip" else result


def _mixed(first: Hashes, second: Hashes) -> Hashes:
    """64 bits that look random of each two numbers (SplitMix64's steps, https://doi.org/10.1145/2714064.2660195)."""
    mixed = first * np.uint64(0x9E3779B97F4A7C15) + second * np.uint64(0xBF58476D1CE4E5B9)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _taken(values: NDArray[Any], index: Ints | Codes) -> NDArray[Any]:
    """`values[index]`, without an index of its own for all at once."""
    result = np.empty(len(index), values.dtype)
    for block in blocks(len(index)):
        result[block] = values[index[block]]
    return result


def keep(
    labels: LabelArrays,
    settings: DatasetSettings,
    excluded: Bools | None = None,
    semantic_duplicates: Callable[[Bools], Bools] | None = None,
) -> Selection:
    """Apply the filters in this order, over the entities still in the vocabulary, until the vocabulary is
    stable:

    1. near duplicates are dropped (an image goes with all its labels);
    2. so are `semantic_duplicates`: which images these are, bool (images,), of labels that count, bool (labels,);
    3. an entity beyond the cap keeps some of its labels (only the label goes; an image without labels goes);
    4. an entity with fewer than `min_images` images leaves the vocabulary.

    Images that are `excluded`, bool (images,), are out before: they keep no near duplicate out and count for nothing.
    The vocabulary only shrinks, so this ends; it must be iterated because an image may be a near duplicate
    only through an entity that leaves.
    """
    entered = np.ones(len(labels.image), bool) if excluded is None else ~_taken(excluded, labels.image)
    alive = labels.count(entered) >= settings.min_images
    rounds = 0
    while True:
        rounds += 1
        named = _taken(alive, labels.entity)
        named &= entered
        repeated = np.zeros(labels.images, bool)
        if settings.near_duplicates is not None:
            repeated = near_duplicates(labels, named, settings.near_duplicates)
        unique = ~_taken(repeated, labels.image)
        unique &= named
        alike = semantic_duplicates(unique) if semantic_duplicates else np.zeros(labels.images, bool)
        unique &= ~_taken(alike, labels.image)
        cap, by = settings.max_images, settings.max_images_by
        selected = unique if cap is None else within_cap(labels, unique, cap, by)
        still = alive & (labels.count(selected) >= settings.min_images)
        if (still == alive).all():
            break
        alive = still
    outcome = np.full(labels.images, Outcome.BELOW_MINIMUM, np.int8)
    for block in blocks(len(unique)):
        outcome[labels.image[block][unique[block]]] = Outcome.BEYOND_CAP
    outcome[repeated] = Outcome.NEAR_DUPLICATE
    outcome[alike] = Outcome.SEMANTIC_DUPLICATE
    for block in blocks(len(selected)):
        image = labels.image[block]
        outcome[image[selected[block]]] = Outcome.KEPT
        outcome[image[~entered[block]]] = Outcome.IN_EVALUATION_SET
    return Selection(selected, outcome, rounds)
