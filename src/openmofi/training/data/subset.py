"""Which rows of a dataset are trained on: none that is held out, with labels that are sure enough, and so many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from openmofi.errors import UsageError
from openmofi.training.data.held_out import draws_of
from openmofi.training.data.plan import Ints
from openmofi.training.data.rows import Rows, labels_of

_LIMIT = "limit"


@dataclass(frozen=True)
class Subset:
    """The rows that are trained on, and their labels.

    Attributes:
        rows, classes: (labels,) int64 of each label, ordered by rows.
        left_out: (m,) int64 all other rows, ascending.
    """

    rows: Ints
    classes: Ints
    left_out: Ints


def subset_of(rows: Rows, held_out: Ints, min_probability: float, limit: int, seed: int) -> Subset:
    """Choose the rows.

    Args:
        rows: of the dataset.
        held_out: (n,) rows that are not trained on.
        min_probability: labels below it do not count.
        limit: most rows, those whose keys have the lowest draws; 0 for all.
        seed: of the draws.

    Raises:
        UsageError: no row is left, or fewer than `limit`.
    """
    row, label, probability = labels_of(rows)
    kept = (probability >= np.float32(min_probability)) & ~np.isin(row, held_out)
    chosen = np.unique(row[kept])
    if not len(chosen):
        raise UsageError(
            f"data.min_probability is {min_probability:g}, which leaves no row to train on.",
            f"The greatest probability of a label is {probability.max():.3f}.",
        )
    if limit > len(chosen):
        raise UsageError(
            f"data.limit is {limit:,}, and there are {len(chosen):,} rows to train on.",
            "Set a lower one, or 0 for all.",
        )
    if limit:
        draws = draws_of(rows.take(chosen, ["key"])["key"].to_pylist(), seed, _LIMIT)
        chosen = np.sort(chosen[np.argsort(draws, kind="stable")[:limit]])
        kept &= np.isin(row, chosen)
    return Subset(row[kept], label[kept], np.setdiff1d(np.arange(rows.starts[-1]), chosen))
