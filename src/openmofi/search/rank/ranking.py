"""Ranking: nearest vectors and keywords, fused by reciprocal rank, filtered, near-duplicates folded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmofi.encoders import Array
from openmofi.search.query import Query
from openmofi.search.rank.calibration import end_of, expected_precision
from openmofi.search.rank.filtering import images_within
from openmofi.search.rank.keywords import images_by_text
from openmofi.search.rank.state import State
from openmofi.search.store.connection import Connection
from openmofi.search.store.reading import JUDGED

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]
FUSION = 60
"""k of reciprocal rank fusion: a result counts 1 / (k + rank) in each list (Cormack, Clarke and Büttcher 2009)."""
DEPTH = 300
"""Results of each list that are fused, at least."""
NEAR = 6
"""Bits in which the perceptual hashes of near-duplicates differ, at most, of 64."""
UNTIL = 0.9
_JUDGED = 4096
"""Nearest images whose probability is computed, at most; what lies beyond counts as wrong."""
_LIKELY = 0.5


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


@dataclass(frozen=True)
class _Listed:
    """Ranked images with what is known of them: (n,) each; `found` is how many were ranked before they were folded."""

    images: Ints
    duplicates: list[tuple[int, ...]]
    cosines: dict[int, float]
    keywords: dict[int, int]
    probabilities: dict[int, float]
    found: int


def ranked(state: State, connection: Connection, query: Query, vector: Array | None) -> Ranking:
    """The images that answer a query."""
    within = images_within(connection, query.filters) if query.filters else None
    depth = max(DEPTH, 2 * (query.offset + query.limit))
    while True:
        listed = _listed(state, connection, query, vector, within, depth)
        known = np.array([listed.probabilities.get(image, 0.0) for image in listed.images.tolist()])
        until = query.until or UNTIL
        end = end_of(known, until) if listed.probabilities else None
        # A list whose end was not reached goes on.
        if query.until is None or end != len(listed.images) or listed.found < depth or depth >= _JUDGED:
            return _page(listed, query, known, until, end)
        depth *= 4


def _page(listed: _Listed, query: Query, known: Doubles, until: float, end: int | None) -> Ranking:
    shown = slice(query.offset, query.offset + query.limit if query.until is None or end is None else
                  min(end, query.offset + query.limit))
    expected = expected_precision(known)
    images = listed.images[shown]
    calibrated = end is not None
    return Ranking(
        images, [listed.cosines.get(image) for image in images.tolist()],
        [listed.keywords.get(image) for image in images.tolist()],
        [listed.probabilities.get(image) for image in images.tolist()],
        [float(each) if calibrated else None for each in expected[shown]],
        listed.duplicates[shown], len(listed.images), until, end,
        float(known[:end].sum()) if end is not None else None, float(known.sum()) if calibrated else None,
        _note(listed, known, calibrated))


def _note(listed: _Listed, known: Doubles, calibrated: bool) -> str:
    if not len(listed.images):
        return "Nothing in the index answers this."
    if calibrated and known.max() < _LIKELY:
        return f"No result is likely to be right: the best one has a probability of {known.max():.2f}."
    return ""


def _listed(state: State, connection: Connection, query: Query, vector: Array | None, within: Ints | None,
            depth: int) -> _Listed:
    cosines = _nearest(state, vector, depth, within) if vector is not None else {}
    probabilities = _probabilities(state, query, vector, cosines) if vector is not None else {}
    judged = _judged(connection, query, within)
    cosines |= _cosines(state, vector, [image for image in list(judged)[:depth] if image not in cosines])
    # The label job has also read the text: what it says of an image counts for more than a cosine.
    probabilities |= {image: probability for image, probability in judged.items() if image in cosines}
    # Equal probabilities keep the order of their cosines.
    nearest = sorted(cosines, key=lambda image: -probabilities.get(image, -1.0)) if probabilities else list(cosines)
    keywords = _by_keywords(connection, query, depth, within)
    if vector is None and not query.text:
        order = (_all(connection) if within is None else within).tolist()
    else:
        order = fused([nearest, list(keywords)])
    unseen = {image: cosine for image, cosine in _cosines(state, vector, order).items() if image not in cosines}
    if probabilities and unseen and vector is not None:
        # Found by keywords alone; they are judged by the same vector, below the nearest ones.
        beside = _probabilities(state, query, vector, {**cosines, **unseen})
        probabilities |= {image: beside[image] for image in unseen if image in beside}
    folded = _folded(state, order, query.fold)
    return _Listed(np.array(list(folded), np.int64), list(folded.values()), cosines | unseen, keywords, probabilities,
                   len(order))


def _judged(connection: Connection, query: Query, within: Ints | None) -> dict[int, float]:
    """Id → probability by labels and verdicts, falling, of images that were judged for the entity that alone is asked
    for.
    """
    if not query.entity or query.examples or query.text or query.like:
        return {}
    judged = dict(connection.execute(JUDGED, {"entity": query.entity}))
    if within is not None:
        allowed = set(within.tolist())
        judged = {image: probability for image, probability in judged.items() if image in allowed}
    return judged


def _cosines(state: State, vector: Array | None, ids: Sequence[int]) -> dict[int, float]:
    """Id → exact cosine, of those that have a vector."""
    if vector is None or not len(ids):
        return {}
    positions = state.positions(np.array(ids, np.int64))
    there = positions >= 0
    values = state.exact.rows(positions[there]) @ vector
    return dict(zip(np.array(ids)[there].tolist(), values.tolist(), strict=True))


def _probabilities(state: State, query: Query, vector: Array, cosines: dict[int, float]) -> dict[int, float]:
    """Id → probability; nothing where the index is not calibrated for such queries."""
    ending = state.ending
    curve = ending and (ending.image if query.examples or query.like else ending.text)
    if not (ending and curve and cosines):
        return {}
    ids = sorted(cosines, key=lambda image: -cosines[image])[:_JUDGED]
    positions = state.positions(np.array(ids, np.int64))
    features = state.surroundings.features(vector, state.exact.rows(positions), np.array([cosines[i] for i in ids]))
    return dict(zip(ids, curve(features).tolist(), strict=True))


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


def _by_keywords(connection: Connection, query: Query, depth: int, within: Ints | None) -> dict[int, int]:
    """Id → rank from 1 on."""
    if not (query.text and query.keywords):
        return {}
    ids = images_by_text(connection, query.text, depth)
    if within is not None:
        allowed = set(within.tolist())
        ids = [image for image in ids if image in allowed]
    return {image: rank for rank, image in enumerate(ids, 1)}


def _all(connection: Connection) -> Ints:
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
