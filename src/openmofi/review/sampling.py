"""Strata of labels, and how many labels people should look at in each."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

EDGES = (0.0, 0.1, 0.3, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99)
"""Lower ends of the ranges of probability that strata are made of."""

CONSIDERED = EDGES[1]
"""Least probability of a candidate below the threshold that is drawn."""

_LEAST = 2
"""Labels of a stratum, where there are enough: the estimate of a variance takes two."""

_SPREAD = 0.02
"""Least variance that a stratum counts with: a calibration that is too sure would leave its surest labels unseen."""

_FIRST = 1e9


def ranges(probability: ArrayLike) -> Ints:
    """Return the position of each probability's range in `EDGES`, by float32, as label tables hold probabilities."""
    return np.searchsorted(np.array(EDGES, np.float32), np.asarray(probability, np.float32), "right") - 1


def range_name(position: int) -> str:
    """Return a range of probability for people."""
    return f"{EDGES[position]:.2f}–{[*EDGES, 1.0][position + 1]:.2f}"


def stratum_name(accepted: bool, position: int = -1, kind: str = "") -> str:
    """Return a stratum's name for people: accepted or not, the range of probability, the type of entity."""
    words = ["accepted" if accepted else "below the threshold", range_name(position) if position >= 0 else "", kind]
    return ", ".join(filter(None, words))


def allocation(labels: ArrayLike, expected: ArrayLike, count: int, judged: ArrayLike = 0) -> Ints:
    """Return how many labels of each stratum to look at next, so that the precision's variance becomes least.

    Each goes where it lowers the variance most (Wright 2012, https://doi.org/10.1198/tas.2012.11208), which is the one
    that the probabilities expect. What the verdicts say changes nothing: if strata where the first verdicts were all
    right were looked at less, their luck would stay in the estimate, which then is too high.

    Args:
        labels, expected: (strata,) how many labels there are, and the mean of their probabilities.
        count: how many to look at; fewer where there are not so many.
        judged: (strata,) how many were looked at before.
    """
    rooms, mean = np.asarray(labels, np.int64), np.asarray(expected, np.float64)
    before = np.minimum(np.broadcast_to(np.asarray(judged, np.int64), rooms.shape), rooms)
    spread = rooms * np.sqrt(np.maximum(mean * (1 - mean), _SPREAD))
    least = max(1, min(_LEAST, (count + int(before.sum())) // max(1, int(np.count_nonzero(rooms)))))
    after = before.copy()
    for _ in range(min(count, int((rooms - before).sum()))):
        gain = np.where(after < least, _FIRST, 1 / np.sqrt(np.maximum(after * (after + 1), 1)))
        after[np.argmax(np.where(after < rooms, spread * gain, -1.0))] += 1
    return np.asarray(after - before, np.int64)
