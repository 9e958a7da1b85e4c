"""What the retrieval protocols share: figures, items and the worst queries of embedded pictures with classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openmofi.evaluation.bootstrap import Interval
from openmofi.evaluation.embed import EmbeddedImages
from openmofi.evaluation.protocol import Failure
from openmofi.evaluation.ranking import Floats, Index, nearest_places
from openmofi.evaluation.retrieval import RetrievalResult, evaluate_retrieval

INCL, EXCL = "map_incl_query", "map_excl_query"
NEIGHBOURS_SHOWN = 8


@dataclass(frozen=True)
class Ranked:
    """Embedded pictures, each a query.

    Attributes:
        values: metric → (n,) of each query; NaN for queries without positives.
    """

    images: EmbeddedImages
    classes: list[str]
    found: RetrievalResult
    values: dict[str, Floats]

    def metrics(self) -> dict[str, float]:
        """Means over the queries."""
        return {name: float(np.nanmean(values)) for name, values in self.values.items()}

    def intervals(self) -> dict[str, Interval]:
        """Of both average precisions."""
        return {INCL: self.found.map_incl_query_interval, EXCL: self.found.map_excl_query_interval}

    def items(self) -> list[str]:
        """Names of the queries."""
        several = len(set(self.images.shards)) > 1 and len(set(self.images.keys)) < len(self.images.keys)
        return [f"{shard}/{key}" for shard, key in zip(self.images.shards, self.images.keys, strict=True)] \
            if several else list(self.images.keys)

    def counts(self) -> dict[str, int]:
        """How many of what."""
        return {"images": self.found.pictures, "classes": self.found.classes,
                "queries_without_positives": self.found.queries_without_positives}

    def worst(self, count: int) -> list[Failure]:
        """The queries of least average precision, the query left out, with their nearest others."""
        asked = np.flatnonzero(~np.isnan(self.found.ap_excl_query))
        rows = asked[np.argsort(self.found.ap_excl_query[asked], kind="stable")][:count]
        if not len(rows):
            return []
        scores = Index.of(self.images.embeddings).scores(self.images.embeddings[rows])
        scores[np.arange(len(rows)), rows] = -np.inf
        places, near = nearest_places(scores, min(NEIGHBOURS_SHOWN, len(self.classes) - 1))
        where = list(zip(self.images.shards, self.images.keys, strict=True))
        return [Failure(where[row], self.classes[row], float(self.found.ap_excl_query[row]),
                        [(where[place], self.classes[place], float(score), self.classes[place] == self.classes[row])
                         for place, score in zip(places[number].tolist(), near[number].tolist(), strict=True)])
                for number, row in enumerate(rows.tolist())]


def rank(images: EmbeddedImages, classes: Sequence[str], recall_at: Sequence[int]) -> Ranked:
    """Rank all pictures for each of them; see `evaluate_retrieval`."""
    found = evaluate_retrieval(images.embeddings, list(classes), recall_at=recall_at)
    values = {INCL: found.ap_incl_query, EXCL: found.ap_excl_query}
    for k in sorted(set(recall_at)):
        hits = np.where(np.isnan(found.ap_excl_query), np.nan, found.first_excl_query <= k)
        values[f"recall_at_{k}_excl_query"] = hits
    return Ranked(images, list(classes), found, values)
