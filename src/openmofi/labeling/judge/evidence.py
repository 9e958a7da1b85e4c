"""How strongly an image speaks for an entity.

A raw similarity depends on the image (some are close to every text) and on the entity (some texts are close to every
image). The evidence is therefore relative to a fixed reference set of entities, as the softmax of training is:

    z(i, e) = s(i, e) − log mean_{r in reference} exp s(i, r),   s = logit scale × cosine

An encoder whose heads were fitted on the very pages that it is to judge has learned some of their mistakes by heart.
Such an encoder carries folds: heads that were fitted without one part of the pages each. A page that was fitted on is
judged by the fold that has not seen it, any other page by the heads that were fitted on all (cross-fitting).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.encoders import Array, Encoder
from openmofi.features.entities import EntityFeatures
from openmofi.storage import Shard, file_fingerprint

REFERENCE = 2048
"""Entities in a reference set, at most."""
_ROWS = 1024
Ints = NDArray[np.int64]


def reference_sample(ids: Sequence[str], seed: int) -> list[str]:
    """A seeded sample of at most 2,048 of `ids`, sorted: what a new calibration measures evidence against."""
    order = np.random.default_rng(seed).permutation(len(ids))[:REFERENCE]
    return [ids[place] for place in np.sort(order)]


@dataclass(frozen=True)
class View:
    """Images and entities in one joint space.

    Attributes:
        encoder: embeds the images.
        entities: (n, dim) float32, L2-normalised; rows as in `EntityFeatures.ids`.
        reference: (r, dim) float32, the entities that an image's evidence is relative to.
    """

    encoder: Encoder
    entities: Array
    reference: Array

    @classmethod
    def of(cls, encoder: Encoder, known: EntityFeatures, reference: Sequence[str]) -> View:
        """Project the entities' features and add what the encoder has learned of them beyond their texts."""
        entities = encoder.project_texts(known.features)
        learned = encoder.companions.class_vectors
        entities = learned.applied(known.ids, entities) if learned else entities
        return cls(encoder, entities, entities[known.positions(pa.array(reference, pa.string()))])

    def background(self, images: Array) -> NDArray[np.float32]:
        """(n, dim) image embeddings → (n,) log-mean-exp of their scores over the reference."""
        scale, result = self.encoder.logit_scale or 1.0, np.empty(len(images), np.float32)
        for start in range(0, len(images), _ROWS):
            scores = scale * (images[start:start + _ROWS] @ self.reference.T)
            peak = scores.max(axis=1, keepdims=True)
            result[start:start + _ROWS] = np.log(np.exp(scores - peak).mean(axis=1)) + peak[:, 0]
        return result

    def scores(self, images: Array, row: Ints, entity: Ints) -> NDArray[np.float32]:
        """Raw scores s of `(images[row[j]], entities[entity[j]])`, float32 (n,)."""
        result = np.empty(len(row), np.float32)
        for start in range(0, len(row), _ROWS * 16):
            part = slice(start, start + _ROWS * 16)
            result[part] = np.einsum("nd,nd->n", images[row[part]], self.entities[entity[part]])
        return result * np.float32(self.encoder.logit_scale or 1.0)


@dataclass(frozen=True)
class Judges:
    """The views of an encoder: the one fitted on everything, and its folds.

    Attributes:
        whole: judges pages that nothing was fitted on.
        folds: fold f judges the pages of seen shards whose key falls into f.
        seen: fingerprints of the shards that were fitted on.
    """

    whole: View
    folds: tuple[View, ...] = ()
    seen: frozenset[str] = frozenset()

    @classmethod
    def of(cls, encoder: Encoder, known: EntityFeatures, reference: Sequence[str]) -> Judges:
        """Open the encoder's folds where it has any."""
        whole = View.of(encoder, known, reference)
        folds = encoder.companions.folds
        if folds is None:
            return cls(whole)
        views = tuple(View.of(encoder.fold(fold), known, reference) for fold in range(folds.count))
        return cls(whole, views, frozenset(folds.seen))

    def look(self, shard: Shard, keys: Sequence[str], features: Array) -> Looked:
        """Embed a shard's images, each by the view that may judge it."""
        if not self.folds or file_fingerprint(shard.path) not in self.seen:
            return Looked((self.whole,), np.zeros(len(keys), np.int64), self.whole.encoder.project_images(features))
        view = np.array([fold_of(key, len(self.folds)) for key in keys], np.int64)
        images = np.empty((len(keys), self.whole.encoder.dim), np.float32)
        for number, one in enumerate(self.folds):
            images[view == number] = one.encoder.project_images(features[view == number])
        return Looked(self.folds, view, images)


def fold_of(key: str, folds: int) -> int:
    """The fold that a page belongs to, by its key alone."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % folds


@dataclass(frozen=True)
class Looked:
    """A shard's images as their judges see them.

    Attributes:
        views: the judges.
        view: (pairs,) int64, which of them judges the pair's image.
        images: (pairs, dim) float32, L2-normalised, each in its judge's space.
    """

    views: tuple[View, ...]
    view: Ints
    images: Array

    def background(self) -> NDArray[np.float32]:
        """(pairs,) see `View.background`."""
        result = np.empty(len(self.images), np.float32)
        for number, one in enumerate(self.views):
            rows = self.view == number
            result[rows] = one.background(self.images[rows])
        return result

    def scores(self, row: Ints, entity: Ints) -> NDArray[np.float32]:
        """(n,) raw scores of images `row` against entities `entity`; see `View.scores`."""
        result = np.empty(len(row), np.float32)
        for number, one in enumerate(self.views):
            chosen = self.view[row] == number
            result[chosen] = one.scores(self.images, row[chosen], entity[chosen])
        return result
