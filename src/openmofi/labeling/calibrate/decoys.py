"""Decoys: other pairs' images, as examples of "named, but not shown".

A calibration is fitted on the evidence of real pairs beside that of decoys: images of other pairs, whose texts do not
name the entity. What a text names beside the thing shown is rarely random: it is of the same kind (a caption of a lion
names the zebra). So a decoy is the image of a pair whose text names one of the entity's nearest neighbours: in the
knowledge base's graph, or by the entities' texts where an entity has no relations, or any entity where texts cannot
tell them apart either. Random images would be too easy to tell apart, and the probabilities too high. Where pairs form
groups (a source, a template), a second decoy is of the pair's own group: it shares the style that all of its images
have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmofi.arrays import Bools, Floats, Ints
from openmofi.labeling.tables import starts_of

NEIGHBOURS = 16
"""Nearest entities from which a decoy is drawn, at most."""
MOST_DECOYS, _MOST_MEANT = 60_000, 20_000
"""Candidates that have decoys, and entities that are looked through for each one's neighbours, at most."""
_KIN_ROWS = 512
_JITTER = 1e-4


@dataclass(frozen=True)
class Kinship:
    """Entities' nearness to each other; row i of each array describes entity i.

    Attributes:
        graph: (e, dim) L2-normalised, zeros where an entity has no relations.
        text: (e, d) L2-normalised.
    """

    graph: Floats
    text: Floats

    def nearest(self, entities: Ints, among: Ints, draw: np.random.Generator) -> Ints:
        """Find (entities, ≤ 16) positions in `among` of the nearest, itself last of all; equal ones at random."""
        count = min(NEIGHBOURS, len(among))
        result = np.empty((len(entities), count), np.int64)
        jitter = _JITTER * draw.random((min(_KIN_ROWS, len(entities)), len(among)), np.float32)
        for start in range(0, len(entities), _KIN_ROWS):
            block = entities[start : start + _KIN_ROWS]
            distance = jitter[: len(block)] - self._similarity(block, among)
            distance[block[:, None] == among[None, :]] = np.inf
            result[start : start + _KIN_ROWS] = np.argpartition(distance, count - 1, axis=1)[:, :count]
        return result

    def _similarity(self, entities: Ints, among: Ints) -> Floats:
        related = self.graph[entities].any(axis=1) & self.graph[among].any(axis=0).any()
        similarity = np.empty((len(entities), len(among)), np.float32)
        for vectors, rows in ((self.graph, related), (self.text, ~related)):
            similarity[rows] = vectors[entities[rows]] @ vectors[among].T
        return similarity


def draw_decoys(
    pair: Ints, entity: Ints, mention: Ints, kinship: Kinship, pair_group: Ints, seed: int
) -> tuple[Ints, Ints]:
    """Draw the decoys of candidates, from the pairs of all of them.

    Args:
        pair, entity, mention: (n,) of each candidate; `pair` and `mention` non-decreasing, `entity` a row of `kinship`.
        kinship: finds neighbours.
        pair_group: (pairs,) number of each pair's group.
        seed: of the draws.

    Returns:
        (m,) the candidate of each decoy, and (m,) the pair whose image it is.
    """
    draw = np.random.default_rng(seed)
    if not len(pair):
        return pair, pair
    candidate = np.sort(draw.permutation(len(pair))[:MOST_DECOYS])
    kin = np.stack([candidate, _kin(candidate, pair, entity, mention, kinship, draw)])
    return _honest(pair, entity, *np.concatenate([kin, _of_group(candidate, pair, pair_group, draw)], axis=1))


def draw_rivals(pair: Ints, entity: Ints, mention: Ints, candidate: Ints, other: Ints, seed: int) -> Ints:
    """Draw for each decoy another sense of its candidate's mention, which the decoy's pair does not name either.

    Returns (m,) candidates, −1 where there is none; see `draw_decoys`.
    """
    size, start = np.bincount(mention)[mention[candidate]], np.searchsorted(mention, mention[candidate])
    step = 1 + (np.random.default_rng([seed, 2]).random(len(candidate)) * (size - 1)).astype(np.int64)
    rival = start + (candidate - start + step) % size
    return np.where((size > 1) & ~_named(pair, entity, rival, other), rival, -1)


def draw_random(pair: Ints, entity: Ints, count: int, seed: int) -> tuple[Ints, Ints]:
    """Draw `count` images at random for each candidate, of pairs that do not name it.

    They are no decoys: by them `openmofi.labeling.calibrate.naming.entity_offsets` tells entities that are close to
    every image. Returns as `draw_decoys`.
    """
    if not len(pair):
        return pair, pair
    candidate = np.repeat(np.arange(len(pair)), count)
    return _honest(pair, entity, candidate, np.random.default_rng([seed, 1]).choice(np.unique(pair), len(candidate)))


def _honest(pair: Ints, entity: Ints, candidate: Ints, other: Ints) -> tuple[Ints, Ints]:
    """Drop decoys whose text names the entity, which includes the candidate's own pair."""
    honest = ~_named(pair, entity, candidate, other)
    return candidate[honest], other[honest]


def _named(pair: Ints, entity: Ints, candidate: Ints, other: Ints) -> Bools:
    """Return (m,) whether the pair `other` names the candidate's entity."""
    width = int(entity.max(initial=0)) + 1
    return np.asarray(np.isin(other * width + entity[candidate], pair * width + entity))


def _kin(candidate: Ints, pair: Ints, entity: Ints, mention: Ints, kinship: Kinship, draw: np.random.Generator) -> Ints:
    """Draw (m,) for each candidate a pair whose text means, above all, a neighbour of the candidate's entity."""
    first = starts_of(mention)
    order = np.argsort(entity[first], kind="stable")
    meant, pairs = entity[first][order], pair[first][order]
    first_meant, starts, counts = np.unique(meant, return_index=True, return_counts=True)
    among = np.sort(draw.permutation(len(first_meant))[:_MOST_MEANT])
    distinct, position = np.unique(entity[candidate], return_inverse=True)
    nearest = among[kinship.nearest(distinct, first_meant[among], draw)]
    pick = nearest[position, draw.integers(0, nearest.shape[1], len(candidate))]
    return pairs[starts[pick] + (draw.random(len(candidate)) * counts[pick]).astype(np.int64)]


def _of_group(candidate: Ints, pair: Ints, pair_group: Ints, draw: np.random.Generator) -> Ints:
    """(2, m) candidates, and for each a pair of its own pair's group that also has candidates; not of groups of one."""
    pairs = np.unique(pair)
    pairs = pairs[np.argsort(pair_group[pairs], kind="stable")]
    groups, starts, counts = np.unique(pair_group[pairs], return_index=True, return_counts=True)
    group = np.searchsorted(groups, pair_group[pair[candidate]])
    shared = counts[group] > 1
    candidate, group = candidate[shared], group[shared]
    chosen = starts[group] + (draw.random(len(candidate)) * counts[group]).astype(np.int64)
    return np.stack([candidate, pairs[chosen]])
