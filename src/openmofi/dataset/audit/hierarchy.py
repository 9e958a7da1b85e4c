"""Accepted labels beside the true classes in a hierarchy: the very class, one below it, one above it, or another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from openmofi.bootstrap import Interval, percentiles, resampled_totals
from openmofi.dataset.audit.truth import Against
from openmofi.knowledge import KnowledgeBase


@dataclass(frozen=True)
class Hierarchy:
    """Accepted labels of pairs of known truth; each counts once, as the first of these that holds.

    Attributes:
        exact: is a true entity.
        below: a true entity is above it (an instance, or a subclass by P279 or WordNet's hypernyms): more than the
            truth says, and right if the truth is.
        above: it is above a true entity: right, and less than the truth says.
        other: neither.
        precision_or_below: (exact + below) / all, with a 95 % interval over pairs; `None` without labels.
        precision_or_related: (exact + below + above) / all.
    """

    exact: int
    below: int
    above: int
    other: int
    precision_or_below: float | None
    precision_or_related: float | None
    interval_or_below: Interval | None
    interval_or_related: Interval | None


def beside_classes(against: Against, kb: KnowledgeBase, *, resamples: int, seed: int) -> Hierarchy:
    """Where accepted labels stand to the true entities of their pair.

    Args:
        against: labels and truth.
        kb: says what is above an entity; what it does not know is above and below nothing.
        resamples, seed: of the bootstrap.
    """

    @lru_cache(maxsize=1 << 16)
    def above(entity: str) -> frozenset[str]:
        return frozenset(kb.ancestors(entity)) if entity in kb else frozenset()

    counts = np.zeros((len(against.known), 4), np.int64)
    pairs, labels = against.pair[against.accepted], against.entity[against.accepted]
    for code in np.unique(pairs * max(len(against.ids), 1) + labels).tolist():
        pair, label = divmod(code, len(against.ids))
        counts[pair, _kind(against.ids[label], [against.ids[true] for true in against.true[pair]], above)] += 1
    exact, below, above_true, other = counts.sum(0).tolist()
    total = exact + below + above_true + other
    if not total:
        return Hierarchy(0, 0, 0, 0, None, None, None, None)
    related = np.stack([counts[:, :2].sum(1), counts[:, :3].sum(1), counts.sum(1)], axis=1)
    drawn = resampled_totals(related, resamples=resamples, seed=seed)
    drawn = drawn[drawn[:, 2] > 0] if drawn[:, 2].any() else related.sum(0, keepdims=True)
    intervals = [percentiles(drawn[:, column] / drawn[:, 2]) for column in (0, 1)]
    return Hierarchy(exact, below, above_true, other, (exact + below) / total, (total - other) / total, *intervals)


def _kind(label: str, true: Sequence[str], above: Callable[[str], frozenset[str]]) -> int:
    if label in true:
        return 0
    if any(entity in above(label) for entity in true):
        return 1
    return 2 if any(label in above(entity) for entity in true) else 3
