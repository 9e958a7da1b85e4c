"""Which of the entities that a text names the image shows.

`Context` is what judging a candidate takes from the rest of its corpus: factors on link scores, and votes of neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.knowledge import KnowledgeBase, depictability
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.evidence import ImageEvidence, places_of
from openmofi.labeling.calibrate.naming import capped
from openmofi.labeling.calibrate.neighbours import Gallery, hashed_words
from openmofi.labeling.label_settings import SelectionSettings
from openmofi.labeling.links import Ints, LinkArrays, first_of_each, rank_in_run, renumbered, starts_of
from openmofi.schema import Reason

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Context:
    """Of each element of a `LinkArrays`.

    Attributes:
        factor: (n,) on its link score, see `openmofi.labeling.calibrate.naming`.
        votes: (n,) see `openmofi.labeling.calibrate.neighbours`; 0 without witnesses.
    """

    factor: Doubles
    votes: Doubles

    @classmethod
    def of(
        cls,
        links: LinkArrays,
        names: Sequence[str],
        calibration: Calibration,
        kb: KnowledgeBase,
        gallery: Gallery | None,
        features: NDArray[np.floating[Any]],
        texts: Sequence[str],
    ) -> Context:
        """Look up what the corpus said.

        Args:
            links: of some pairs.
            names: (n,) normalised name of each element.
            calibration: gives the factors and the weight of votes.
            kb: gives the entities' types.
            gallery: the witnesses, if there are any.
            features: (pairs, feature_dim) of the pairs' images, whose texts are `texts`.
        """
        ids = links.entity_ids.to_pylist()
        distinct, name = np.unique(np.array(names, object), return_inverse=True)
        odds = depictability(kb, kb.rows(ids)) if ids else np.zeros(0, np.float32)
        factor = calibration.naming.factors(
            ids, links.entity, distinct.tolist(), name.astype(np.int64), places_of(links), odds
        )
        if gallery is None or not calibration.votes or not len(links):
            return cls(factor, np.zeros(len(links)))
        return cls(factor, _votes(links, gallery, features, texts))


def _votes(links: LinkArrays, gallery: Gallery, features: NDArray[np.floating[Any]], texts: Sequence[str]) -> Doubles:
    rows = np.unique(links.pair)
    images = gallery.space.project(features[rows])
    nearest = gallery.nearest(images, hashed_words([texts[row] for row in rows.tolist()]))
    entity: Ints = gallery.places(links.entity_ids)[links.entity]
    row = np.searchsorted(rows, links.pair)
    judged = links.judged
    return gallery.votes(gallery.split(nearest, row[judged], entity[judged]), row, entity)


@dataclass(frozen=True)
class Judgements:
    """The judgement of each candidate of a `LinkArrays` that was judged.

    Attributes:
        index: (n,) position in the `LinkArrays`.
        image_score: (n,) float32, raw.
        probability: (n,) float64, calibrated.
        reason: (n,) `Reason` values.
    """

    index: Ints
    image_score: NDArray[np.float32]
    probability: NDArray[np.float64]
    reason: list[Reason]

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """(n,) whether the candidate is a label."""
        return np.array([reason is Reason.ACCEPTED for reason in self.reason], bool)


@dataclass(frozen=True)
class Opinion:
    """One judge's view of some pairs; see `select`.

    Attributes:
        images: the pairs' images in the space of the views that judge them.
        calibration: of the same encoder.
        context: what the corpus says of the links.
    """

    images: ImageEvidence
    calibration: Calibration
    context: Context

    def probability(self, links: LinkArrays, index: Ints, score: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) P(shown) of the candidates at `index`, each once a pair, whose raw scores are `score`."""
        pair, group = links.pair[index], renumbered(links.group[index])
        offsets = self.calibration.offsets_of(links.entity_ids.to_pylist())[links.entity[index]]
        evidence = score - self.images.background()[pair] - offsets + self.calibration.votes * self.context.votes[index]
        link = capped(links.link_score[index] * self.context.factor[index], group)
        return self.calibration.probability(evidence, link, group, pair)


def select(
    links: LinkArrays,
    usable: NDArray[np.bool_],
    opinions: Sequence[Opinion],
    rows: Ints,
    settings: SelectionSettings,
    threshold: float,
) -> Judgements:
    """Judge the candidates of the pairs whose image is usable.

    Args:
        links: the shard's links.
        usable: (pairs,) whether the pair's image could be embedded.
        opinions: the judges'; the probability is their mean, the score the first one's.
        rows: (len(links.entity_ids),) row of each entity in the views' entities.
        settings: see `SelectionSettings`.
        threshold: least probability of a label.
    """
    index = np.flatnonzero(links.judged & usable[links.pair])
    pair, entity = links.pair[index], links.entity[index]
    scores = [opinion.images.scores(pair, rows[entity]) for opinion in opinions]
    # An entity that a text names twice is one candidate: its two mentions would else compete with each other.
    first, twin = first_of_each(pair, entity)
    probability = np.mean(
        [
            opinion.probability(links, index[first], score[first])
            for opinion, score in zip(opinions, scores, strict=True)
        ],
        axis=0,
    )
    group = renumbered(links.group[index[first]])
    reason = np.full(len(first), Reason.BELOW_THRESHOLD, dtype=object)
    reason[probability >= threshold] = Reason.ACCEPTED
    reason[(reason == Reason.ACCEPTED) & ~_leads(probability, group, settings.sibling_margin)] = Reason.SIBLING
    _keep_best(reason, probability, pair[first], settings.top_k)
    return Judgements(index, scores[0], probability[twin], list(reason[twin]))


def _leads(probability: NDArray[np.float64], group: Ints, margin: float) -> NDArray[np.bool_]:
    """Whether a candidate is its mention's best and leads the second by `margin`; equal ones: the first."""
    order = np.lexsort((np.arange(len(group)), -probability, group))
    starts = np.flatnonzero(starts_of(group[order]))
    second = np.minimum(starts + 1, len(order) - 1)
    alone = np.append(starts[1:], len(order)) - starts == 1
    lead = np.where(alone, 1.0, probability[order[starts]] - probability[order[second]])
    leads = np.zeros(len(group), bool)
    leads[order[starts]] = lead >= margin
    return leads


def _keep_best(reason: NDArray[np.object_], probability: NDArray[np.float64], pair: Ints, top_k: int) -> None:
    """Beyond the `top_k` most probable of a pair, accepted candidates lose (in place)."""
    accepted = np.flatnonzero(reason == Reason.ACCEPTED)
    order = accepted[np.lexsort((accepted, -probability[accepted], pair[accepted]))]
    reason[order[rank_in_run(starts_of(pair[order])) >= top_k]] = Reason.TOP_K
