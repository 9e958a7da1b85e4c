"""Evidence: how strongly an image speaks for an entity, of its own pair's text or as a decoy of another pair's.

A raw similarity depends on the image (some are close to every text) and on the entity (some texts are close to every
image). The evidence is therefore relative to a fixed reference set of entities, as the softmax of training is:

    z(i, e) = s(i, e) − log mean_{r in reference} exp s(i, r),   s = logit scale × cosine

An encoder whose heads were fitted on the very pages that it is to judge has learned some of their mistakes by heart.
Such an encoder carries folds: heads that were fitted without one part of the pages each, and without their groups. A
page that was fitted on is judged by the fold that has not seen it, any other page by the heads that were fitted on all
(cross-fitting).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.arrays import Array, Doubles, Floats, Ints
from openmofi.encoders import Encoder, Folds
from openmofi.features.entity_table import KEPT_BYTES, EntityEmbeddings, EntityFeatures
from openmofi.labeling.calibrate.decoys import Kinship, draw_decoys, draw_random, draw_rivals
from openmofi.labeling.tables import LinkArrays, first_of_each, rank_in_run, renumbered, starts_of
from openmofi.storage import Shard

REFERENCE = 2048
"""Entities in a reference set, at most."""
_ROWS = 1024
_RANDOM = 4


def reference_entities(ids: pa.Array, seed: int) -> list[str]:
    """A seeded sample of at most 2,048 of `ids`, sorted: what a new calibration measures evidence against."""
    order = np.random.default_rng(seed).permutation(len(ids))[:REFERENCE]
    sample: list[str] = ids.take(pa.array(np.sort(order))).to_pylist()
    return sample


@dataclass(frozen=True)
class View:
    """Images and entities in one joint space.

    Attributes:
        encoder: embeds the images.
        entities: in the same space, by rows of an `EntityFeatures`; projected when they are asked for.
        reference: (r, dim) float32, the entities that an image's evidence is relative to.
        scale: the factor on cosines.
    """

    encoder: Encoder
    entities: EntityEmbeddings
    reference: Array
    scale: float

    @classmethod
    def of(
        cls, encoder: Encoder, entities: EntityFeatures, reference: Sequence[str], scale: float, views: int = 1
    ) -> View:
        """Make one of `views` views that share memory; of the entities only the reference is projected at once."""
        rows = entities.rows(pa.array(reference, pa.string()))
        embeddings = EntityEmbeddings(encoder, entities, KEPT_BYTES // views, basis=rows)
        return cls(encoder, embeddings, embeddings.of(rows), scale)

    def background(self, images: Array) -> NDArray[np.float32]:
        """Return (n,) log-mean-exp of the scores of (n, dim) images over the reference; 0 where that is empty."""
        result = np.zeros(len(images), np.float32)
        if not len(self.reference):
            return result
        for start in range(0, len(images), _ROWS):
            scores = self.scale * (images[start : start + _ROWS] @ self.reference.T)
            peak = scores.max(axis=1, keepdims=True)
            result[start : start + _ROWS] = np.log(np.exp(scores - peak).mean(axis=1)) + peak[:, 0]
        return result

    def scores(self, images: Array, row: Ints, entity: Ints) -> NDArray[np.float32]:
        """Return the raw scores s of `(images[row[j]], entities[entity[j]])`, float32 (n,)."""
        result = np.empty(len(row), np.float32)
        for start in range(0, len(row), _ROWS * 16):
            part = slice(start, start + _ROWS * 16)
            result[part] = np.einsum("nd,nd->n", images[row[part]], self.entities.of(entity[part]))
        return result * np.float32(self.scale)


@dataclass(frozen=True)
class Scorer:
    """The views of an encoder and of its folds.

    Attributes:
        views: first the one that was fitted on everything, which judges pages that were not fitted on; then its folds.
        folds: which page is of which fold; `None` where there are none.
    """

    views: tuple[View, ...]
    folds: Folds | None = None

    @classmethod
    def of(cls, encoder: Encoder, entities: EntityFeatures, reference: Sequence[str], scale: float) -> Scorer:
        """Make the views of an encoder, and of its folds where it has any.

        Args:
            encoder: judges the images.
            entities: those that may be judged, and those of `reference`.
            reference: identifiers of the reference set.
            scale: the factor on cosines where the encoder's own is unknown.
        """
        folds = encoder.companions.folds
        encoders = [encoder, *(encoder.fold(number) for number in range(folds.count if folds else 0))]
        return cls(
            tuple(View.of(copy, entities, reference, copy.logit_scale or scale, len(encoders)) for copy in encoders),
            folds,
        )

    def images(self, shard: Shard, keys: Sequence[str], features: NDArray[np.floating[Any]]) -> ImageEvidence:
        """Embed a shard's images, each by the view that may judge it."""
        features = np.asarray(features, np.float32)
        view = self.folds.of(shard.fingerprint, keys) + 1 if self.folds else np.zeros(len(keys), np.int64)
        embeddings = np.empty((len(keys), self.views[0].encoder.dim), np.float32)
        for number in np.unique(view):
            embeddings[view == number] = self.views[number].encoder.project_images(features[view == number])
        return ImageEvidence(self.views, view, embeddings)


@dataclass(frozen=True)
class ImageEvidence:
    """A shard's images, each in the space of the view that judges it.

    Attributes:
        views: see `Scorer`.
        view: (pairs,) int64, which of them judges the pair's image.
        embeddings: (pairs, dim) float32, L2-normalised.
    """

    views: tuple[View, ...]
    view: Ints
    embeddings: Array

    def background(self) -> NDArray[np.float32]:
        """Return (pairs,) backgrounds, see `View.background`."""
        result = np.empty(len(self.embeddings), np.float32)
        for number, view in enumerate(self.views):
            rows = self.view == number
            result[rows] = view.background(self.embeddings[rows])
        return result

    def evidence(self, row: Ints, entity: Ints) -> NDArray[np.float32]:
        """Return (n,) evidence of images `row` for entities `entity`; see the head of this module."""
        return self.scores(row, entity) - self.background()[row]

    def scores(self, row: Ints, entity: Ints) -> NDArray[np.float32]:
        """Return (n,) raw scores of images `row` against entities `entity`; see `View.scores`."""
        result = np.empty(len(row), np.float32)
        for number, view in enumerate(self.views):
            chosen = self.view[row] == number
            result[chosen] = view.scores(self.embeddings, row[chosen], entity[chosen])
        return result


class Images(Protocol):
    """Images whose evidence can be asked for at once: an `ImageEvidence`, or those of many blocks."""

    @property
    def views(self) -> tuple[View, ...]:
        """See `Scorer`."""

    def evidence(self, row: Ints, entity: Ints) -> NDArray[np.float32]:
        """Return (n,) evidence of images `row` for entities `entity`."""


@dataclass(frozen=True)
class Evidence:
    """The evidence of candidates and decoys, on which a calibration is fitted.

    Attributes:
        real: (n,) float32 evidence of candidates for the image of their own pair.
        decoys: (m,) float32 evidence of the same candidates for another pair's image, whose text does not name them.
        link_score: (n,) float32.
        mention, pair: (n,) int64 number of the candidate's mention and pair.
        entity: (n,) int64 row of the entity, see `ImageEvidence.scores`.
        candidate, other: (m,) int64, whose decoy each one is (of the n) and the pair whose image it is.
        random, random_entity: (k,) float32 evidence of entities for images at random, and int64 these entities' rows.
        place: (n,) int64 how the text names the entity, see `places_of`.
        rival: (m,) int64 another candidate of the mention of each decoy's; −1 for none.
        rivals: (m,) float32 its evidence for the decoy's image; NaN for none.
    """

    real: Floats
    decoys: Floats
    link_score: NDArray[np.float32]
    mention: Ints
    pair: Ints
    entity: Ints
    candidate: Ints
    other: Ints
    random: NDArray[np.float32]
    random_entity: Ints
    place: Ints
    rival: Ints
    rivals: Floats

    @property
    def mentions(self) -> int:
        """The number of mentions."""
        return int(self.mention[-1]) + 1 if len(self.mention) else 0

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return int(self.pair[-1]) + 1 if len(self.pair) else 0

    def less(self, offset: Doubles) -> Evidence:
        """Return the same less (entities,) offsets by row of the entity."""
        return replace(
            self,
            real=self.real - offset[self.entity],
            decoys=self.decoys - offset[self.decoy_entity],
            rivals=self.rivals - offset[self.entity[self.rival]],
        )

    def first(self, count: int) -> Evidence:
        """Return that of the first `count` candidates, which are whole mentions, and of their decoys."""
        of_candidates = ("real", "link_score", "mention", "pair", "entity", "place")
        chosen = self.candidate < count
        return replace(
            self,
            **{name: getattr(self, name)[:count] for name in of_candidates},
            **{name: getattr(self, name)[chosen] for name in ("decoys", "candidate", "other", "rival", "rivals")},
        )

    @property
    def decoy_entity(self) -> Ints:
        """Return (m,) the row of each decoy's entity."""
        return self.entity[self.candidate]


def judged_once(links: LinkArrays, usable: NDArray[np.bool_]) -> Ints:
    """Return positions of the candidates that a usable image judges, each once a pair."""
    index = np.flatnonzero(links.judged & usable[links.pair])
    return index[first_of_each(links.pair[index], links.entity[index])[0]]


@dataclass(frozen=True)
class Candidates:
    """What images judge.

    Attributes:
        pair, mention: (n,) int64 numbers of the candidate's pair and mention, 0, 1, 2 … non-decreasing.
        entity: (n,) int64 row of the entity, see `ImageEvidence.scores`.
        link_score: (n,) float32.
        place: (n,) int64 how the text names the entity, see `places_of`.
    """

    pair: Ints
    mention: Ints
    entity: Ints
    link_score: NDArray[np.float32]
    place: Ints

    @classmethod
    def of(cls, links: LinkArrays, index: Ints, rows: Ints) -> Candidates:
        """Number the elements `index` of some links; `rows` has the row of each of `links.entity_ids`."""
        pair, mention = renumbered(links.pair[index]), renumbered(links.group[index])
        return cls(pair, mention, rows[links.entity[index]], links.link_score[index], places_of(links)[index])


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Join the candidates of several blocks, mentions and pairs numbered on."""
    shifted, mentions, pairs = [], 0, 0
    for part in parts:
        shifted.append(replace(part, mention=part.mention + mentions, pair=part.pair + pairs))
        mentions, pairs = mentions + int(part.mention.max(initial=-1)) + 1, pairs + int(part.pair.max(initial=-1)) + 1
    return Candidates(
        **{field.name: np.concatenate([getattr(part, field.name) for part in shifted]) for field in fields(Candidates)}
    )


def gather_evidence(candidates: Candidates, images: Images, graph: Floats, pair_group: Ints, seed: int) -> Evidence:
    """Gather the evidence of candidates and of their decoys.

    Args:
        candidates: of all pairs.
        images: of these pairs, in the spaces of the views that judge them.
        graph: (e, dim) graph vectors of the entities that occur, ascending; L2-normalised, zeros where one has none.
        pair_group: (pairs,) number of each pair's group.
        seed: of the choice of decoys.
    """
    pair, mention, rows = candidates.pair, candidates.mention, candidates.entity
    distinct, entity = np.unique(rows, return_inverse=True)
    kinship = Kinship(graph, images.views[0].entities.of(distinct))
    candidate, other = draw_decoys(pair, entity, mention, kinship, pair_group, seed)
    rival = draw_rivals(pair, entity, mention, candidate, other, seed)
    anyone, image = draw_random(pair, entity, _RANDOM, seed)
    asked = (pair, rows), (other, rows[candidate]), (other, rows[rival]), (image, rows[anyone])
    evidence = images.evidence(*(np.concatenate(each) for each in zip(*asked, strict=True)))
    ends = np.cumsum([len(each) for each, _ in asked])[:-1]
    real, decoys, rivals, random = np.split(evidence, ends)
    return Evidence(
        real,
        decoys,
        candidates.link_score,
        mention,
        pair,
        rows,
        candidate,
        other,
        random,
        rows[anyone],
        candidates.place,
        rival,
        np.where(rival >= 0, rivals, np.float32(np.nan)),
    )


PLACES = 10


def places_of(links: LinkArrays) -> Ints:
    """(n,) 0..9, how a text names an entity.

    0 to 7: by its first mention, the second, the third or fourth, or a later one that has candidates, and whether by
    one mention or by more. 8: in the image alone. 9: in the image, and beside it.
    """
    if not len(links):
        return links.pair
    first = starts_of(links.group)
    rank = rank_in_run(starts_of(links.pair[first]))[links.group]
    _, number, count = np.unique(np.stack([links.pair, links.entity]), axis=1, return_inverse=True, return_counts=True)
    position, in_image = number.ravel(), np.bincount(number.ravel(), links.in_image)
    beside = np.searchsorted([1, 2, 4], rank, "right") * 2 + (count[position] > 1)
    return np.where(in_image[position] > 0, 8 + (in_image < count)[position], beside)
