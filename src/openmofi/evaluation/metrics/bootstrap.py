"""Bootstrap intervals over groups: whole classes are drawn, not images.

Images of one class are alike, so an interval that draws images one by one is too narrow; what a benchmark samples
from the world are its classes. The figure is the mean over all images; a resample draws as many classes as there are,
with replacement, and takes the mean over the images of the drawn classes. Intervals are percentiles.
The draws are those of `scipy.stats.bootstrap` (method `percentile`) with the same generator, which the tests compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmofi.errors import OpenMofiError

RESAMPLES = 1000
LEVEL = 0.95
Interval = tuple[float, float]
Doubles = NDArray[np.float64]
_DRAWS_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class PairedDifference:
    """Two systems on the same images, the same classes drawn for both.

    Attributes:
        ours, theirs: the means.
        difference, difference_interval: `ours - theirs`.
        gain, gain_interval: `ours / theirs - 1`, the relative gain; NaN where `theirs` is 0.
        p_value: two-sided, that the difference is 0: twice the smaller share of resamples on either side of it, each
            side counted with one more resample, so that it is never 0.
        groups: how many classes were drawn from.
    """

    ours: float
    theirs: float
    difference: float
    difference_interval: Interval
    gain: float
    gain_interval: Interval
    p_value: float
    groups: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no NaN: `None` in its place."""
        return {name: [_known(edge) for edge in value] if isinstance(value, tuple) else _known(value)
                for name, value in asdict(self).items()}


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def bootstrap_interval(values: ArrayLike, groups: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL,
                       seed: int = 0) -> Interval:
    """The interval of `mean(values)` when groups are drawn.

    Args:
        values: (n,) numbers; rows of NaN (queries without positives) are left out.
        groups: (n,) the class of each, of any sortable type.
        resamples, level, seed: of the bootstrap; `level` 0.95 gives the percentiles 2.5 and 97.5.

    Raises:
        OpenMofiError: nothing is left to average, or the lengths differ.
    """
    (sums,), counts = _totals([values], groups)
    means: list[Doubles] = [sums[drawn].sum(1) / counts[drawn].sum(1)
                            for drawn in _draws(len(counts), resamples, seed)]
    return _percentiles(np.concatenate(means), level)


def ratio_interval(above: ArrayLike, below: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL,
                   seed: int = 0) -> Interval:
    """The interval of `sum(above) / sum(below)` when rows are drawn, such as documents with counts of each.

    Args:
        above, below: (n,) numbers; a resample in which all of `below` is 0 counts as 0.
        resamples, level, seed: see `bootstrap_interval`.

    Raises:
        OpenMofiError: there are no rows, or the lengths differ.
    """
    (numerators, denominators), _ = _totals([above, below], np.arange(len(np.asarray(above))))
    sums = [(numerators[drawn].sum(1), denominators[drawn].sum(1))
            for drawn in _draws(len(numerators), resamples, seed)]
    upper, lower = (np.concatenate(column) for column in zip(*sums, strict=True))
    return _percentiles(np.divide(upper, lower, out=np.zeros_like(upper), where=lower > 0), level)


def paired_bootstrap(ours: ArrayLike, theirs: ArrayLike, groups: ArrayLike, *, resamples: int = RESAMPLES,
                     level: float = LEVEL, seed: int = 0) -> PairedDifference:
    """The difference of two systems' means and their relative gain, with intervals; classes are drawn for both at once.

    Args:
        ours, theirs: (n,) a number for each image, in the same order; a row that is NaN in either is left out.
        groups: (n,) the class of each.

    Raises:
        OpenMofiError: nothing is left to average, or the lengths differ.
    """
    (first, second), counts = _totals([ours, theirs], groups)
    pairs = [(first[drawn].sum(1), second[drawn].sum(1), counts[drawn].sum(1))
             for drawn in _draws(len(counts), resamples, seed)]
    ours_sum, theirs_sum, count = (np.concatenate(column) for column in zip(*pairs, strict=True))
    differences = (ours_sum - theirs_sum) / count
    mean_ours, mean_theirs = first.sum() / counts.sum(), second.sum() / counts.sum()
    tail = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return PairedDifference(
        ours=float(mean_ours), theirs=float(mean_theirs), difference=float(mean_ours - mean_theirs),
        difference_interval=_percentiles(differences, level),
        gain=float(_gain(mean_ours, mean_theirs)), gain_interval=_percentiles(_gain(ours_sum, theirs_sum), level),
        p_value=min(1.0, 2 * (tail + 1) / (resamples + 1)), groups=len(counts))


def _totals(columns: list[ArrayLike], groups: ArrayLike) -> tuple[list[Doubles], Doubles]:
    """Sums of each column and counts, by group; rows with a NaN are left out."""
    values = [np.asarray(column, np.float64) for column in columns]
    names = np.asarray(groups)
    if any(value.shape != names.shape or value.ndim != 1 for value in values):
        raise OpenMofiError(f"Values of shapes {[value.shape for value in values]} do not go with groups of shape "
                            f"{names.shape}.", "Give one number and one class for each image.")
    known = ~np.isnan(np.stack(values)).any(axis=0)
    if not known.any():
        raise OpenMofiError("There is nothing to average: no image has a value.")
    codes = np.unique(names[known], return_inverse=True)[1]
    counts = np.asarray(np.bincount(codes), np.float64)
    return [np.asarray(np.bincount(codes, weights=value[known]), np.float64) for value in values], counts


def _draws(groups: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Rows of drawn groups, a bounded number of rows at once."""
    generator = np.random.default_rng(seed)
    rows = max(1, _DRAWS_AT_ONCE // groups)
    for start in range(0, resamples, rows):
        yield generator.integers(0, groups, (min(rows, resamples - start), groups))


def _gain(ours: Any, theirs: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(theirs) == 0, np.nan, np.divide(ours, theirs) - 1)


def _percentiles(values: Doubles, level: float) -> Interval:
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
