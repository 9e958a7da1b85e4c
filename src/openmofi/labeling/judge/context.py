"""What judging a candidate takes from the rest of its corpus: factors on link scores, and votes of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmofi.knowledge import KnowledgeBase, depictability
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.evidence import places_of
from openmofi.labeling.calibrate.neighbours import Gallery, hashed_words
from openmofi.labeling.read.links import Ints, LinkArrays

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
