"""Images that stand for what does not show an entity: of other pairs, whose texts do not name it.

What a text names beside the thing shown is rarely random: it is of the same kind (a caption of a lion names the zebra).
So a decoy is the image of a pair whose text names one of the entity's nearest neighbours: in the knowledge base's
graph, or by the entities' texts where an entity has no relations, or any where texts do not tell entities apart
either. Random images would be too easy to tell apart, and the probabilities too high. Where pairs form groups (a
source, a template), a second decoy is of the pair's own group: it shares the style that all of its images have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.labeling.read.links import starts_of

NEIGHBOURS = 16
"""Nearest entities from which a decoy is drawn, at most."""
_ROWS = 2048
_JITTER = 1e-4
Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Kinship:
    """How near entities are to each other; a row of each array an entity.

    Attributes:
        graph: (e, dim) L2-normalised, zeros where an entity has no relations.
        text: (e, d) L2-normalised.
    """

    graph: Floats
    text: Floats

    def nearest(self, entities: Ints, among: Ints, draw: np.random.Generator) -> Ints:
        """(entities, ≤ 16) positions in `among` of the nearest of these, itself last of all; equal ones at random."""
        count = min(NEIGHBOURS, len(among))
        result = np.empty((len(entities), count), np.int64)
        for start in range(0, len(entities), _ROWS):
            block = entities[start : start + _ROWS]
            distance = -self._similarity(block, among) + _JITTER * draw.random((len(block), len(among)), np.float32)
            distance[block[:, None] == among[None, :]] = np.inf
            result[start : start + _ROWS] = np.argpartition(distance, count - 1, axis=1)[:, :count]
        return result

    def _similarity(self, entities: Ints, among: Ints) -> Floats:
        related = self.graph[entities].any(axis=1) & self.graph[among].any(axis=0).any()
        similarity = np.empty((len(entities), len(among)), np.float32)
        for vectors, rows in ((self.graph, related), (self.text, ~related)):
            similarity[rows] = vectors[entities[rows]] @ vectors[among].T
        return similarity


def draw_decoys(
    pair: Ints,
    entity: Ints,
    mention: Ints,
    kinship: Kinship,
    source: Ints | None,
    seed: int,
) -> tuple[Ints, Ints]:
    """Decoys of a shard's candidates.

    Args:
        pair, entity, mention: (n,) of each candidate; `pair` and `mention` non-decreasing, `entity` a row of `kinship`.
        kinship: finds neighbours.
        source: (pairs,) number of each pair's group, or `None`.
        seed: of the draws.

    Returns:
        (m,) the candidate of each decoy, and (m,) the pair whose image it is.
    """
    draw = np.random.default_rng(seed)
    if not len(pair):
        return pair, pair
    drawn = [np.stack([np.arange(len(pair)), _kin(pair, entity, mention, kinship, draw)])]
    if source is not None:
        drawn.append(_of_source(pair, source, draw))
    return _honest(pair, entity, *np.concatenate(drawn, axis=1))


def draw_random(pair: Ints, entity: Ints, count: int, seed: int) -> tuple[Ints, Ints]:
    """`count` images at random for each candidate, of pairs that do not name it; see `draw_decoys`."""
    if not len(pair):
        return pair, pair
    candidate = np.repeat(np.arange(len(pair)), count)
    return _honest(pair, entity, candidate, np.random.default_rng([seed, 1]).choice(np.unique(pair), len(candidate)))


def _honest(pair: Ints, entity: Ints, candidate: Ints, other: Ints) -> tuple[Ints, Ints]:
    """Without those whose text names the entity."""
    width = int(entity.max()) + 1
    honest = ~np.isin(other * width + entity[candidate], pair * width + entity)
    return candidate[honest], other[honest]


def _kin(pair: Ints, entity: Ints, mention: Ints, kinship: Kinship, draw: np.random.Generator) -> Ints:
    """(n,) for each candidate a pair whose text means, first of all, a neighbour of the candidate's entity."""
    first = starts_of(mention)
    order = np.argsort(entity[first], kind="stable")
    meant, pairs = entity[first][order], pair[first][order]
    shown, starts, counts = np.unique(meant, return_index=True, return_counts=True)
    distinct, position = np.unique(entity, return_inverse=True)
    nearest = kinship.nearest(distinct, shown, draw)
    pick = nearest[position, draw.integers(0, nearest.shape[1], len(entity))]
    return pairs[starts[pick] + (draw.random(len(entity)) * counts[pick]).astype(np.int64)]


def _of_source(pair: Ints, source: Ints, draw: np.random.Generator) -> Ints:
    """(2, m) candidates, and for each a pair of its own pair's group that also has candidates; not of groups of one."""
    pairs = np.unique(pair)
    pairs = pairs[np.argsort(source[pairs], kind="stable")]
    _, starts, counts = np.unique(source[pairs], return_index=True, return_counts=True)
    group = np.searchsorted(np.unique(source[pairs]), source[pair])
    candidates = np.flatnonzero(counts[group] > 1)
    of_group = group[candidates]
    place = starts[of_group] + (draw.random(len(candidates)) * counts[of_group]).astype(np.int64)
    return np.stack([candidates, pairs[place]])
