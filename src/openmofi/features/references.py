"""Entities by text and by reference images: vectors in an encoder's joint space that mix both.

An entity's vector is T + g · u, L2-normalised, where u is the direction of (1 − w)(t − T) + w (p − P): t is its text, p
the normalised mean of its images; T and P are the means of both over entities, since texts and images lie apart. The
weight w is the one by which held-out reference images find their entity best, for as many images as it has. The gain g
keeps the scores of other entities' images as spread as those of texts: entities with and without images compare with
each other. Truth plays no part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from openmofi.arrays import Array, Doubles, Ints
from openmofi.encoders.arrays import normalised

SAMPLE = 512
"""Entities, and held-out images, that weights and gains are fitted on, at most."""
SIZES = (1, 2, 3, 5, 8)
WEIGHTS = np.linspace(0, 1, 11)
DEFAULT = 0.5
"""Weight of images where fewer than `LEAST` can be held out, as where each entity has one."""
LEAST = 30


@dataclass(frozen=True)
class References:
    """What reference images add to the texts of entities.

    Attributes:
        rows: (n,) of the entities that have images, ascending.
        prototypes: (n, dim) float32 p − P.
        weights: (n,) float32 w.
        mean: (dim,) float32 T.
        gain: g.
        report: `entities`, `images`, and for each of `sizes` that was fitted the `weight`, the images that were held
            out (`queries`), and the share of these whose entity is first by `text`, by `images` and by `both`.
    """

    rows: Ints
    prototypes: Array
    weights: Array
    mean: Array
    gain: float
    report: dict[str, Any]

    @classmethod
    def fitted(
        cls, rows: Ints, images: Iterable[Array], owners: Ints, chosen: Ints, texts: Array, mean: Array
    ) -> References:
        """Fit weights and gain on some of the entities.

        Args:
            rows: (n,) of the entities that have images, ascending.
            images: (m, dim) all their images, L2-normalised, in parts: those of other entities are not kept.
            owners: (m,) the entity of each, from 0 to n − 1, ascending.
            chosen: (c,) the entities that are fitted on, from 0 to n − 1, ascending.
            texts: (c, dim) their texts, L2-normalised.
            mean: (dim,) T.
        """
        counts, sums = np.bincount(owners), np.zeros((len(rows), texts.shape[1]), np.float32)
        inside, kept, start = np.isin(owners, chosen), list[Array](), 0
        for part in images:
            end = start + len(part)
            np.add.at(sums, owners[start:end], part)
            kept.append(part[inside[start:end]])
            start = end
        prototypes = normalised(sums)
        prototypes -= prototypes[chosen].mean(axis=0)
        held_out = _HeldOut(np.concatenate(kept), np.searchsorted(chosen, owners[inside]), texts - mean, mean)
        sizes = {size: fit for size in SIZES if (fit := held_out.fit(size))}
        known = [fit["weight"] for fit in sizes.values()] or [DEFAULT]
        weights = np.interp(np.log(counts), np.log([*sizes] or [1]), known).astype(np.float32)
        mixed = _mixed(texts - mean, prototypes[chosen], weights[chosen])
        report = {"entities": len(rows), "images": len(owners), "sizes": {str(size): sizes[size] for size in sizes}}
        of_texts, of_mixed = held_out.spread(texts - mean), held_out.spread(mixed)
        room = of_mixed**2 - of_texts**2  # g solves g · of_mixed / √(|T|² + g²) = of_texts
        gain = min(of_texts * float(np.linalg.norm(mean)) / room**0.5, 1.0) if room > 0 else 1.0
        return cls(rows, prototypes, weights, mean, gain, report)

    def applied(self, rows: Ints, texts: Array) -> Array:
        """(n, dim) texts of entities `rows`, L2-normalised, mixed with their images; those without any as they are."""
        places = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        has = self.rows[places] == rows
        mixed = _mixed(texts[has] - self.mean, self.prototypes[places[has]], self.weights[places[has]])
        result = texts.copy()
        result[has] = normalised(self.mean + np.float32(self.gain) * mixed)
        return result


@dataclass(frozen=True)
class _HeldOut:
    """Images of some entities, each to be found by their other images and by their texts, which are less `mean`."""

    images: Array
    owners: Ints
    texts: Array
    mean: Array

    def fit(self, size: int) -> dict[str, float] | None:
        """The weight for entities of `size` images; `None` where too few images can be held out."""
        place = np.arange(len(self.owners)) - np.searchsorted(self.owners, self.owners)
        asked = np.flatnonzero(np.bincount(self.owners)[self.owners] > size)
        if len(asked) < LEAST:
            return None
        asked = asked[spaced(len(asked))]
        queries, owner = self.images[asked], self.owners[asked]
        first, one_more = (_sums(self.images[place < most], self.owners[place < most]) for most in (size, size + 1))
        own = normalised(np.where((place[asked] < size)[:, None], one_more[owner] - queries, first[owner]))
        prototypes = normalised(first)
        centre = prototypes.mean(axis=0)
        ranks = np.stack([self._ranks(queries, owner, prototypes - centre, own - centre, each) for each in WEIGHTS])
        best, found = int((1 / ranks).mean(axis=1).argmax()), (ranks == 1).mean(axis=1).round(4)
        shares = {"text": found[0], "images": found[-1], "both": found[best]}
        return {"weight": round(float(WEIGHTS[best]), 1), "queries": len(asked)} | {
            name: float(share) for name, share in shares.items()
        }

    def _ranks(self, queries: Array, owner: Ints, prototypes: Array, own: Array, weight: float) -> Doubles:
        """(q,) rank of each query's entity, which has the prototype `own`, made without the query."""
        shares = np.full(len(self.texts), weight, np.float32)
        scores = queries @ (self.mean + _mixed(self.texts, prototypes, shares)).T
        true = self.mean + _mixed(self.texts[owner], own, shares[owner])
        scores[np.arange(len(queries)), owner] = -np.inf
        return 1.0 + (scores > np.einsum("nd,nd->n", queries, true)[:, None]).sum(axis=1)

    def spread(self, vectors: Array) -> float:
        """Standard deviation of the scores of images with `vectors` of other entities, about each vector's mean."""
        asked = spaced(len(self.images))
        scores = np.ma.masked_array(self.images[asked] @ vectors.T, self.owners[asked, None] == np.arange(len(vectors)))
        return float(np.sqrt(((scores - scores.mean(axis=0)) ** 2).mean()))


def spaced(count: int) -> Ints:
    """At most `SAMPLE` of the numbers from 0 to `count` − 1, evenly spaced."""
    return np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64)


def _mixed(texts: Array, images: Array, weights: Array) -> Array:
    return normalised((1 - weights[:, None]) * texts + weights[:, None] * images)


def _sums(images: Array, owners: Ints) -> Array:
    """(n, dim) float32 sums of each owner's images."""
    sums = np.zeros((int(owners[-1]) + 1, images.shape[1]), np.float32)
    np.add.at(sums, owners, images)
    return sums
