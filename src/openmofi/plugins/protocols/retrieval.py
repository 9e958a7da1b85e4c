"""Retrieval over any class folders: every image is a query, the other images of its class are its positives.

Data: Your own. Layout: DIR/CLASS/IMAGE.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from openmofi.arrays import Doubles
from openmofi.bootstrap import bootstrap_interval
from openmofi.config import PositiveInt, Settings
from openmofi.evaluation.metrics.ranking import CosineIndex, nearest_rows
from openmofi.evaluation.metrics.retrieval import RetrievalResult, evaluate_retrieval
from openmofi.evaluation.protocol import (
    NEIGHBOURS_SHOWN,
    EvaluationProtocol,
    Failure,
    Measured,
    Subject,
    data_fingerprint,
    item_names,
    nearest_failures,
)
from openmofi.evaluation.result import items_table
from openmofi.features.images import EmbeddedImages
from openmofi.plugins.protocols.class_names import class_folders

INCL, EXCL = "map_incl_query", "map_excl_query"
SCORE = "average precision without the query"


@dataclass(frozen=True)
class RetrievalSettings(Settings):
    """Settings of a retrieval protocol.

    Attributes:
        recall_at: the values of K of recall.
    """

    recall_at: tuple[PositiveInt, ...] = (1, 5, 10)


def measure_ranking(
    images: EmbeddedImages,
    classes: Sequence[str],
    recall_at: Sequence[int],
    failures: int,
    *,
    parts: Sequence[str] | None = None,
    names: Mapping[str, str] | None = None,
    further: Mapping[str, Doubles] | None = None,
) -> Measured:
    """Rank all images for each of them; see `evaluate_retrieval`.

    Args:
        images: the images, each of which is a query.
        classes: (n,) of each image.
        recall_at: the values of K of recall.
        failures: number of worst queries.
        parts: (n,) of each query, e.g. its domain; each gets the average precisions of its queries, which are ranked
            against all images.
        names: class → its name on the page of failures.
        further: metric → (n,) further values of each query.
    """
    retrieval = evaluate_retrieval(images.embeddings, list(classes), recall_at=recall_at)
    values: dict[str, Doubles] = {INCL: retrieval.ap_incl_query, EXCL: retrieval.ap_excl_query}
    for k in sorted(set(recall_at)):
        hits = np.where(np.isnan(retrieval.ap_excl_query), np.nan, retrieval.first_excl_query <= k)
        values[f"recall_at_{k}_excl_query"] = hits.astype(np.float64)
    values |= further or {}
    metrics = {metric: float(np.nanmean(numbers)) for metric, numbers in values.items()}
    intervals = {INCL: retrieval.map_incl_query_interval, EXCL: retrieval.map_excl_query_interval}
    intervals |= {metric: bootstrap_interval(values[metric], retrieval.class_of) for metric in further or ()}
    for part in dict.fromkeys(parts or ()):
        rows = np.flatnonzero(np.array(parts) == part)
        for metric in (INCL, EXCL):
            numbers = values[metric][rows]
            if not np.isnan(numbers).all():
                metrics[f"{part}/{metric}"] = float(np.nanmean(numbers))
                intervals[f"{part}/{metric}"] = bootstrap_interval(numbers, retrieval.class_of[rows])
    return Measured(
        metrics=metrics,
        intervals=intervals,
        counts={
            "images": retrieval.images,
            "classes": retrieval.classes,
            "queries_without_positives": retrieval.queries_without_positives,
        },
        data_fingerprint=data_fingerprint([images], [classes]),
        images=[images],
        items=items_table(item_names(images), list(classes), values, list(parts) if parts else None),
        failures=_worst(images, [(names or {}).get(name, name) for name in classes], retrieval, failures),
    )


def _worst(images: EmbeddedImages, names: list[str], retrieval: RetrievalResult, count: int) -> list[Failure]:
    """The queries of the lowest average precision without the query, and their nearest images."""
    precisions = retrieval.ap_excl_query
    with_positives = np.flatnonzero(~np.isnan(precisions))
    rows = with_positives[np.argsort(precisions[with_positives], kind="stable")][:count]
    if not len(rows):
        return []
    scores = CosineIndex.of(images.embeddings).scores(images.embeddings[rows])
    scores[np.arange(len(rows)), rows] = -np.inf
    neighbours, similarities = nearest_rows(scores, min(NEIGHBOURS_SHOWN, len(names) - 1))
    correct = retrieval.class_of[neighbours] == retrieval.class_of[rows, None]
    return nearest_failures(
        (images.ids, names, precisions), rows.tolist(), (images.ids, names), (neighbours, similarities, correct)
    )


def measure(subject: Subject) -> Measured:
    """See the module."""
    folders = class_folders(subject.data)
    images = subject.features.embed(folders.sources())
    classes = [folders.classes[label] for label in folders.labels_of(images).tolist()]
    return measure_ranking(images, classes, subject.settings.recall_at, subject.failures)


PROTOCOL = EvaluationProtocol(
    name="retrieval",
    version=1,
    headline=EXCL,
    settings=RetrievalSettings,
    measure=measure,
    score=SCORE,
    by_class=True,
    rule="Images that cannot be read are neither queries nor in the index.",
)
