"""`statistics.json`: counts of the dataset, and the outcome of every row of the labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.dataset.collect import Counts
from openmofi.dataset.filters import Kept, LabelArrays, Outcome
from openmofi.errors import OpenMofiError
from openmofi.storage import read_json

STAGES = ("pairs", "usable", "with mentions", "linked", "labelled", "dataset")
_CURVE_POINTS = 200


@dataclass(frozen=True)
class Statistics:
    """Counts of a dataset.

    Attributes:
        rows: rows of the labels. `statuses` sums to it; `outcomes` sums to `statuses["labelled"]`.
        images, entities, labels: of the dataset; a label is an (image, entity).
        statuses: status of the label table → rows.
        reasons: why judged entities were accepted or not → judged entities.
        outcomes: what became of the labelled images: `kept`, `near_duplicate`, `beyond_cap`, `below_minimum`,
            `in_evaluation_set`.
        funnel: stage → pairs that reached it, from `pairs` to `dataset`.
        entities_per_image: number of labels → images with so many.
        images_per_entity: `min`, `median`, `mean`, `max`.
        long_tail: [rank, images] at up to 200 ranks, log-spaced; rank 1 has most images.
        types: type → {entities, labels}; empty without a knowledge base.
        rounds: rounds of the filters until nothing changed.
        excluded: evaluation set → what was found of it (`exclusion.exclude.ExcludedSet`).
    """

    rows: int
    images: int
    entities: int
    labels: int
    statuses: dict[str, int]
    reasons: dict[str, int]
    outcomes: dict[str, int]
    funnel: dict[str, int]
    entities_per_image: dict[str, int]
    images_per_entity: dict[str, float]
    long_tail: list[list[int]]
    types: dict[str, dict[str, int]]
    rounds: int
    excluded: dict[str, dict[str, Any]] = field(default_factory=dict)

    def in_order(self) -> Statistics:
        """The same in the order meant for people; JSON is sorted by name."""
        return replace(
            self,
            funnel={stage: self.funnel[stage] for stage in STAGES},
            entities_per_image=dict(sorted(self.entities_per_image.items(), key=lambda entry: int(entry[0]))),
            types=dict(sorted(self.types.items(), key=lambda entry: (-entry[1]["entities"], entry[0]))),
            images_per_entity={name: self.images_per_entity[name] for name in ("min", "median", "mean", "max")},
            outcomes={outcome.name.lower(): self.outcomes.get(outcome.name.lower(), 0) for outcome in Outcome},
        )


def summarise(
    counts: Counts,
    labels: LabelArrays,
    kept: Kept,
    per_entity: np.ndarray,
    types: dict[str, dict[str, int]],
    excluded: dict[str, dict[str, Any]] | None = None,
) -> Statistics:
    """Statistics from the first pass and the filters; `per_entity` are the classes' image counts, descending."""
    per_image = np.bincount(labels.image[kept.label], minlength=labels.images)
    sizes, how_many = np.unique(per_image[per_image > 0], return_counts=True)
    outcomes = {outcome.name.lower(): int((kept.outcome == outcome).sum()) for outcome in Outcome}
    return Statistics(
        rows=counts.rows,
        images=outcomes["kept"],
        entities=len(per_entity),
        labels=int(kept.label.sum()),
        statuses=dict(sorted(counts.statuses.items())),
        reasons=dict(sorted(counts.reasons.items())),
        outcomes=outcomes,
        funnel=dict(
            zip(
                STAGES,
                (counts.rows, counts.usable, counts.mentioned, counts.linked, labels.images, outcomes["kept"]),
                strict=True,
            )
        ),
        entities_per_image={str(size): int(count) for size, count in zip(sizes, how_many, strict=True)},
        images_per_entity={
            "min": float(per_entity.min()),
            "median": float(np.median(per_entity)),
            "mean": round(float(per_entity.mean()), 3),
            "max": float(per_entity.max()),
        },
        long_tail=_long_tail(per_entity),
        types=types,
        rounds=kept.rounds,
        excluded=excluded or {},
    )


def read_statistics(dataset: str | Path) -> Statistics:
    """Read `statistics.json` of a dataset.

    Raises:
        OpenMofiError: it is missing or damaged.
    """
    path, hint = f"{dataset}/statistics.json", "Build the dataset again."
    statistics = read_json(path, Statistics, hint)
    try:
        return statistics.in_order()
    except (KeyError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read: it lacks {error}.", hint) from error


def _long_tail(descending: np.ndarray) -> list[list[int]]:
    ranks = np.unique(np.geomspace(1, len(descending), _CURVE_POINTS).round().astype(int))
    return [[int(rank), int(descending[rank - 1])] for rank in ranks]
