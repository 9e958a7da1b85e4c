"""The evidence that a calibration is fitted on: real pairs, and decoys that certainly show something else.

What a text names beside the thing shown is rarely random: it is of the same kind (a caption of a lion names the zebra).
A decoy for an entity is therefore the image of a pair whose text names one of the entity's nearest neighbours in the
knowledge base's graph, and does not name the entity itself. Random images would be too easy to tell apart, and the
probabilities too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from openmofi.labeling.judge.evidence import ImageEvidence
from openmofi.labeling.read.links import LinkArrays, first_of_each, renumbered, starts_of

NEIGHBOURS = 16
_ROWS = 2048
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Evidence:
    """What calibration is fitted on.

    Attributes:
        real: (n,) float32 evidence of candidates for the image of their own pair.
        decoys: (m,) float32 evidence of the same candidates for another pair's image, whose text does not name them.
        link_score: (n,) float32.
        group, pair: (n,) int64 number of the candidate's mention and pair.
    """

    real: NDArray[np.float32]
    decoys: NDArray[np.float32]
    link_score: NDArray[np.float32]
    group: Ints
    pair: Ints

    @property
    def mentions(self) -> int:
        """How many mentions there are."""
        return int(self.group[-1]) + 1 if len(self.group) else 0

    @property
    def pairs(self) -> int:
        """How many pairs there are."""
        return int(self.pair[-1]) + 1 if len(self.pair) else 0


def gather_evidence(links: LinkArrays, usable: NDArray[np.bool_], images: ImageEvidence, rows: Ints,
                    vectors: NDArray[np.float32], seed: int) -> Evidence:
    """The evidence of a shard's pairs and of their decoys.

    Args:
        links, usable, images, rows: as of `openmofi.labeling.judge.selection.judge`.
        vectors: (len(links.entity_ids), dim) graph vectors, L2-normalised, zeros where an entity has none.
        seed: of the choice of decoys.
    """
    index = np.flatnonzero(links.judged & usable[links.pair])
    index = index[first_of_each(links.pair[index], links.entity[index])[0]]
    pair, entity, group = links.pair[index], links.entity[index], renumbered(links.group[index])
    background = images.background()
    real = images.scores(pair, rows[entity]) - background[pair]
    other = _other_pairs(pair, entity, group, vectors, seed)
    width = len(links.entity_ids) + 1
    honest = ~np.isin(other * width + entity, pair * width + entity)
    decoys = images.scores(other[honest], rows[entity[honest]]) - background[other[honest]]
    return Evidence(real, decoys, links.link_score[index], group, renumbered(pair))


def joined(parts: Sequence[Evidence]) -> Evidence:
    """The evidence of several shards, mentions and pairs numbered on."""
    shifted, groups, pairs = [], 0, 0
    for part in parts:
        shifted.append(replace(part, group=part.group + groups, pair=part.pair + pairs))
        groups, pairs = groups + part.mentions, pairs + part.pairs
    return Evidence(**{field.name: np.concatenate([getattr(part, field.name) for part in shifted])
                       for field in fields(Evidence)})


def _other_pairs(pair: Ints, entity: Ints, group: Ints, vectors: NDArray[np.float32], seed: int) -> Ints:
    """(n,) for each candidate a pair whose text means, first of all, a neighbour of the candidate's entity."""
    draw = np.random.default_rng(seed)
    if not len(pair):
        return pair
    first = starts_of(group)
    order = np.argsort(entity[first], kind="stable")
    meant, pairs = entity[first][order], pair[first][order]
    shown, starts, counts = np.unique(meant, return_index=True, return_counts=True)
    distinct, position = np.unique(entity, return_inverse=True)
    nearest = _nearest(distinct, shown, vectors)
    pick = nearest[position, draw.integers(0, nearest.shape[1], len(entity))]
    return pairs[starts[pick] + (draw.random(len(entity)) * counts[pick]).astype(np.int64)]


def _nearest(entities: Ints, shown: Ints, vectors: NDArray[np.float32]) -> Ints:
    """(entities, ≤ 16) positions in `shown` of the nearest entities by cosine, itself last of all."""
    count = min(NEIGHBOURS, len(shown))
    result = np.empty((len(entities), count), np.int64)
    for start in range(0, len(entities), _ROWS):
        block = entities[start:start + _ROWS]
        distance = -(vectors[block] @ vectors[shown].T)
        distance[block[:, None] == shown[None, :]] = np.inf
        result[start:start + _ROWS] = np.argpartition(distance, count - 1, axis=1)[:, :count]
    return result
