"""Ranking: nearest vectors and keywords, fused by reciprocal rank, filtered, near-duplicates folded."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Array
from openmofi.search.query import Query
from openmofi.search.rank.filtering import images_within
from openmofi.search.rank.keywords import images_by_text
from openmofi.search.rank.state import State

Ints = NDArray[np.int64]
FUSION = 60
"""k of reciprocal rank fusion: a result counts 1 / (k + rank) in each list (Cormack, Clarke and Büttcher 2009)."""
DEPTH = 1000
"""Results of each list that are fused, at least."""
NEAR = 6
"""Bits in which the perceptual hashes of near-duplicates differ, at most, of 64."""
UNTIL = 0.9


@dataclass(frozen=True)
class Ranking:
    """A page of ranked images; the lists are as long as `images`.

    Attributes:
        images: (n,) ids, best first.
        cosines, keywords, probabilities, expected, duplicates: see `records.Hit`.
        total, until, end, expected_right, expected_in_all, note: see `records.Results`.
    """

    images: Ints
    cosines: Sequence[float | None]
    keywords: Sequence[int | None]
    probabilities: Sequence[float | None]
    expected: Sequence[float | None]
    duplicates: Sequence[tuple[int, ...]]
    total: int
    until: float = UNTIL
    end: int | None = None
    expected_right: float | None = None
    expected_in_all: float | None = None
    note: str = ""


def ranked(state: State, connection: sqlite3.Connection, query: Query, vector: Array | None) -> Ranking:
    """The images that answer a query."""
    within = images_within(connection, query.filters) if query.filters else None
    depth = max(DEPTH, 2 * (query.offset + query.limit))
    cosines = _nearest(state, vector, depth, within) if vector is not None else {}
    keywords = _by_keywords(connection, query, depth, within)
    if vector is None and not keywords:
        ids = _all(connection) if within is None else within
        order, total = ids.tolist(), len(ids)
        if query.text:
            order, total = [], 0
    else:
        order = fused([list(cosines), list(keywords)])
        total = len(order)
    folded = _folded(state, order[:depth], query.fold)
    page = list(folded)[query.offset:query.offset + query.limit]
    none: list[float | None] = [None] * len(page)
    return Ranking(np.array(page, np.int64), [cosines.get(image) for image in page],
                   [keywords.get(image) for image in page], none, none, [folded[image] for image in page], total,
                   query.until or UNTIL, note="" if order else "Nothing in the index answers this.")


def fused(lists: Sequence[Sequence[int]]) -> list[int]:
    """Reciprocal rank fusion of ranked ids; equal ones by the first list that has them."""
    scores: dict[int, float] = {}
    for ids in lists:
        for rank, image in enumerate(ids, 1):
            scores[image] = scores.get(image, 0.0) + 1.0 / (FUSION + rank)
    return sorted(scores, key=lambda image: -scores[image])


def _nearest(state: State, vector: Array, depth: int, within: Ints | None) -> dict[int, float]:
    """Id → cosine, falling."""
    allowed = None if within is None and state.alive.all() else state.alive.copy()
    if within is not None and allowed is not None:
        allowed &= np.isin(state.images, within)
    scores, positions = state.vectors.search(vector[None], min(depth, len(state.vectors)), allowed)
    kept = positions[0] >= 0
    return dict(zip(state.images[positions[0][kept]].tolist(), scores[0][kept].astype(float).tolist(), strict=True))


def _by_keywords(connection: sqlite3.Connection, query: Query, depth: int, within: Ints | None) -> dict[int, int]:
    """Id → rank from 1 on."""
    if not (query.text and query.keywords):
        return {}
    ids = images_by_text(connection, query.text, depth)
    if within is not None:
        allowed = set(within.tolist())
        ids = [image for image in ids if image in allowed]
    return {image: rank for rank, image in enumerate(ids, 1)}


def _all(connection: sqlite3.Connection) -> Ints:
    return np.fromiter((image for image, in connection.execute("SELECT id FROM images ORDER BY id")), np.int64)


def _folded(state: State, order: Sequence[int], fold: bool) -> dict[int, tuple[int, ...]]:
    """Id → near-duplicates that come after it, which are no results of their own."""
    if not fold:
        return dict.fromkeys(order, ())
    positions = state.positions(np.array(order, np.int64))
    hashes = np.where(positions >= 0, state.phash[np.maximum(positions, 0)], 0) if len(state.phash) else \
        np.zeros(len(order), np.uint64)
    shown: dict[int, list[int]] = {}
    kept_hashes = np.zeros(len(order), np.uint64)
    kept_ids: list[int] = []
    for image, position, phash in zip(order, positions.tolist(), hashes, strict=True):
        if position >= 0 and kept_ids:
            near = np.flatnonzero(np.bitwise_count(kept_hashes[:len(kept_ids)] ^ phash) <= NEAR)
            if len(near) and 8 <= int(phash).bit_count() <= 56:
                shown[kept_ids[int(near[0])]].append(image)
                continue
        kept_hashes[len(kept_ids)] = phash if position >= 0 else 0
        kept_ids.append(image)
        shown[image] = []
    return {image: tuple(others) for image, others in shown.items()}
