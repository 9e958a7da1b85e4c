"""What the retrieval protocols share: figures, items and the worst queries of embedded images with classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openmofi.evaluation.embed import EmbeddedImages
from openmofi.evaluation.metrics.bootstrap import Doubles, Interval, bootstrap_interval
from openmofi.evaluation.metrics.ranking import Index, nearest_places
from openmofi.evaluation.metrics.retrieval import RetrievalResult, evaluate_retrieval
from openmofi.evaluation.protocol import Failure

INCL, EXCL = "map_incl_query", "map_excl_query"
NEIGHBOURS_SHOWN = 8


@dataclass(frozen=True)
class Ranked:
    """Embedded images, each a query.

    Attributes:
        values: metric → (n,) of each query; NaN for queries without positives.
    """

    images: EmbeddedImages
    classes: list[str]
    found: RetrievalResult
    values: dict[str, Doubles]

    def metrics(self) -> dict[str, float]:
        """Means over the queries."""
        return {name: float(np.nanmean(values)) for name, values in self.values.items()}

    def intervals(self) -> dict[str, Interval]:
        """Of both average precisions."""
        return {INCL: self.found.map_incl_query_interval, EXCL: self.found.map_excl_query_interval}

    def of_parts(self, parts: Sequence[str]) -> tuple[dict[str, float], dict[str, Interval]]:
        """Average precisions of the queries of each part, still against all images: metrics and intervals."""
        metrics: dict[str, float] = {}
        intervals: dict[str, Interval] = {}
        for part in dict.fromkeys(parts):
            rows = np.flatnonzero(np.array(parts) == part)
            for metric in (INCL, EXCL):
                values = self.values[metric][rows]
                if not np.isnan(values).all():
                    metrics[f"{part}/{metric}"] = float(np.nanmean(values))
                    intervals[f"{part}/{metric}"] = bootstrap_interval(values, self.found.class_of[rows])
        return metrics, intervals

    def items(self) -> list[str]:
        """Names of the queries."""
        several = len(set(self.images.shards)) > 1 and len(set(self.images.keys)) < len(self.images.keys)
        return [f"{shard}/{key}" for shard, key in zip(self.images.shards, self.images.keys, strict=True)] \
            if several else list(self.images.keys)

    def counts(self) -> dict[str, int]:
        """How many of what."""
        return {"images": self.found.pictures, "classes": self.found.classes,
                "queries_without_positives": self.found.queries_without_positives}

    def worst(self, count: int, names: Mapping[str, str] | None = None) -> list[Failure]:
        """The queries of least average precision, the query left out, with their nearest others.

        Args:
            count: how many.
            names: class → what to call it.
        """
        called = [(names or {}).get(name, name) for name in self.classes]
        asked = np.flatnonzero(~np.isnan(self.found.ap_excl_query))
        rows = asked[np.argsort(self.found.ap_excl_query[asked], kind="stable")][:count]
        if not len(rows):
            return []
        scores = Index.of(self.images.embeddings).scores(self.images.embeddings[rows])
        scores[np.arange(len(rows)), rows] = -np.inf
        places, near = nearest_places(scores, min(NEIGHBOURS_SHOWN, len(self.classes) - 1))
        where = list(zip(self.images.shards, self.images.keys, strict=True))
        return [Failure(where[row], called[row], float(self.found.ap_excl_query[row]),
                        [(where[place], called[place], float(score), self.classes[place] == self.classes[row])
                         for place, score in zip(places[number].tolist(), near[number].tolist(), strict=True)])
                for number, row in enumerate(rows.tolist())]


def rank(images: EmbeddedImages, classes: Sequence[str], recall_at: Sequence[int]) -> Ranked:
    """Rank all images for each of them; see `evaluate_retrieval`."""
    found = evaluate_retrieval(images.embeddings, list(classes), recall_at=recall_at)
    values: dict[str, Doubles] = {INCL: found.ap_incl_query, EXCL: found.ap_excl_query}
    for k in sorted(set(recall_at)):
        hits = np.where(np.isnan(found.ap_excl_query), np.nan, found.first_excl_query <= k)
        values[f"recall_at_{k}_excl_query"] = hits.astype(np.float64)
    return Ranked(images, list(classes), found, values)
