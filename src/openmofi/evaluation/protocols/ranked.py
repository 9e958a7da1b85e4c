"""What the retrieval protocols share: settings, metrics, items and the worst queries of images with classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openmofi.bootstrap import Doubles, Interval, bootstrap_interval
from openmofi.errors import UsageError
from openmofi.evaluation.embed import EmbeddedImages
from openmofi.evaluation.features import data_fingerprint, image_ids, item_names
from openmofi.evaluation.metrics.ranking import Index, nearest_rows
from openmofi.evaluation.metrics.retrieval import RetrievalResult, evaluate_retrieval
from openmofi.evaluation.protocol import Failure, Measured, nearest_answers
from openmofi.evaluation.result import items_table

INCL, EXCL = "map_incl_query", "map_excl_query"
SCORE = "average precision without the query"
NEIGHBOURS_SHOWN = 8


@dataclass(frozen=True)
class RetrievalSettings:
    """Settings of a retrieval protocol.

    Attributes:
        recall_at: the values of K of recall.
    """

    recall_at: tuple[int, ...] = (1, 5, 10)

    def __post_init__(self) -> None:
        if min(self.recall_at, default=1) < 1:
            raise UsageError(f"recall_at is {', '.join(map(str, self.recall_at))}; each K must be at least 1.")


@dataclass(frozen=True)
class Ranked:
    """Embedded images, each of which is a query.

    Attributes:
        images: the images.
        classes: (n,) of each image.
        retrieval: its metrics.
        values: metric → (n,) of each query; NaN for queries without positives.
    """

    images: EmbeddedImages
    classes: list[str]
    retrieval: RetrievalResult
    values: dict[str, Doubles]

    def measured(self, failures: int, *, parts: Sequence[str] | None = None, names: Mapping[str, str] | None = None,
                 ) -> Measured:
        """Metrics, intervals, items and the worst queries.

        Args:
            failures: number of worst queries.
            parts: (n,) of each query, e.g. its domain; each gets the average precisions of its queries, which are
                ranked against all images.
            names: class → its name on the page of failures.
        """
        metrics = {name: float(np.nanmean(values)) for name, values in self.values.items()}
        intervals: dict[str, Interval] = {INCL: self.retrieval.map_incl_query_interval,
                                          EXCL: self.retrieval.map_excl_query_interval}
        for part in dict.fromkeys(parts or ()):
            rows = np.flatnonzero(np.array(parts) == part)
            for metric in (INCL, EXCL):
                values = self.values[metric][rows]
                if not np.isnan(values).all():
                    metrics[f"{part}/{metric}"] = float(np.nanmean(values))
                    intervals[f"{part}/{metric}"] = bootstrap_interval(values, self.retrieval.class_of[rows])
        return Measured(
            metrics=metrics, intervals=intervals,
            counts={"images": self.retrieval.images, "classes": self.retrieval.classes,
                    "queries_without_positives": self.retrieval.queries_without_positives},
            data_fingerprint=data_fingerprint([self.images], [self.classes]), images=[self.images],
            items=items_table(item_names(self.images), self.classes, self.values, list(parts) if parts else None),
            failures=self._worst(failures, names or {}))

    def _worst(self, count: int, names: Mapping[str, str]) -> list[Failure]:
        """The queries of the lowest average precision without the query, and their nearest images."""
        precisions = self.retrieval.ap_excl_query
        known = np.flatnonzero(~np.isnan(precisions))
        rows = known[np.argsort(precisions[known], kind="stable")][:count]
        if not len(rows):
            return []
        scores = Index.of(self.images.embeddings).scores(self.images.embeddings[rows])
        scores[np.arange(len(rows)), rows] = -np.inf
        neighbours, similarities = nearest_rows(scores, min(NEIGHBOURS_SHOWN, len(self.classes) - 1))
        ids, shown = image_ids(self.images), [names.get(name, name) for name in self.classes]
        correct = self.retrieval.class_of[neighbours] == self.retrieval.class_of[rows, None]
        return [Failure(ids[row], shown[row], float(precisions[row]),
                        nearest_answers(ids, shown, neighbours[query], similarities[query], correct[query]))
                for query, row in enumerate(rows.tolist())]


def rank(images: EmbeddedImages, classes: Sequence[str], recall_at: Sequence[int]) -> Ranked:
    """Rank all images for each of them; see `evaluate_retrieval`."""
    retrieval = evaluate_retrieval(images.embeddings, list(classes), recall_at=recall_at)
    values: dict[str, Doubles] = {INCL: retrieval.ap_incl_query, EXCL: retrieval.ap_excl_query}
    for k in sorted(set(recall_at)):
        hits = np.where(np.isnan(retrieval.ap_excl_query), np.nan, retrieval.first_excl_query <= k)
        values[f"recall_at_{k}_excl_query"] = hits.astype(np.float64)
    return Ranked(images, list(classes), retrieval, values)
