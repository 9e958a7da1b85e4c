"""Bootstrap intervals and paired tests, for every measure of the package; intervals are percentiles.

`bootstrap_interval` and `paired_bootstrap` draw whole groups, such as classes. Images of one class are alike, so an
interval that draws single images is too narrow. The statistic is the mean over all rows. A resample draws as many
groups as there are, with replacement, and takes the mean over the rows of the drawn groups. The draws are those of
`scipy.stats.bootstrap` (method `percentile`) with the same generator; the tests compare both.

They take what is measured as fixed. For seeds of a recipe, or a handful of tasks, see
`openmofi.plugins.benchmarks.by_t`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from openmofi.arrays import Bools, Doubles, Ints
from openmofi.errors import OpenMofiError

RESAMPLES = 1000
LEVEL = 0.95
Interval = tuple[float, float]
_DRAWS_PER_BLOCK = 1 << 21


@dataclass(frozen=True)
class PairedDifference:
    """Two systems on the same rows; each resample draws the same groups for both.

    Attributes:
        ours, theirs: the means.
        difference, difference_interval: `ours - theirs`.
        gain, gain_interval: `ours / theirs - 1`, the relative gain; NaN where `theirs` is 0.
        p_value: two-sided, of the hypothesis that the difference is 0. By bootstrap twice the smaller share of
            resamples on either side of 0, where each side counts one more resample, so that it is never 0.
        groups: number of groups.
        seeds: of the one that has more; with 1 the training is taken as fixed, and nothing is said of another one.
    """

    ours: float
    theirs: float
    difference: float
    difference_interval: Interval
    gain: float
    gain_interval: Interval
    p_value: float
    groups: int
    seeds: int = 1

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `None` for NaN."""
        return {
            name: [_finite(edge) for edge in value] if isinstance(value, tuple) else _finite(value)
            for name, value in asdict(self).items()
        }


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def bootstrap_interval(
    values: ArrayLike, groups: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Interval:
    """The interval of `mean(values)` when groups are drawn.

    Args:
        values: (n,) numbers; rows of NaN, such as queries without positives, are left out.
        groups: (n,) the group of each row, of any sortable type.
        resamples, seed: number and seed of the draws.
        level: 0.95 gives the percentiles 2.5 and 97.5.

    Raises:
        OpenMofiError: all rows are NaN, or the lengths differ.
    """
    _, (sums, counts) = _resampled_sums([values], groups, resamples, seed)
    return percentiles(sums / counts, level)


def ratio_interval(
    numerators: ArrayLike, denominators: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Interval:
    """The interval of `sum(numerators) / sum(denominators)` when rows are drawn, such as documents with their counts.

    Args:
        numerators, denominators: (n,) numbers; a resample whose denominators are all 0 counts as 0.
        resamples, level, seed: see `bootstrap_interval`.

    Raises:
        OpenMofiError: there are no rows, or the lengths differ.
    """
    rows = np.arange(len(np.asarray(numerators)))
    _, (above, below, _) = _resampled_sums([numerators, denominators], rows, resamples, seed)
    return percentiles(np.divide(above, below, out=np.zeros_like(above), where=below > 0), level)


def macro_interval(
    splits: Sequence[Bools], *, resamples: int = RESAMPLES, level: float = LEVEL, seed: int = 0
) -> Interval:
    """The interval of the mean over splits of each split's mean; rows are drawn within their split.

    The sum of n draws with replacement from n zeros and ones is binomial, so binomials are drawn.
    """
    generator = np.random.default_rng(seed)
    means = [generator.binomial(len(values), values.mean(), resamples) / len(values) for values in splits]
    return percentiles(np.mean(means, 0), level)


def resampled_totals(counts: Ints, *, resamples: int = RESAMPLES, seed: int = 0) -> Ints:
    """(n, columns) counts → (resamples, columns) sums over n drawn rows.

    Equal rows are interchangeable, so a resample is one multinomial draw over the distinct rows: the same distribution
    as drawing row by row, at a cost that does not grow with n.
    """
    rows, frequency = np.unique(counts, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(counts), frequency / len(counts), size=resamples)
    return np.asarray(draws @ rows)


def paired_bootstrap(
    ours: ArrayLike,
    theirs: ArrayLike,
    groups: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> PairedDifference:
    """The difference of two systems' means and their relative gain, with intervals.

    Args:
        ours, theirs: (n,) a number for each row, in the same order; a row that is NaN in either is left out.
        groups: (n,) the group of each row.
        resamples, level, seed: see `bootstrap_interval`.

    Raises:
        OpenMofiError: no row is left, or the lengths differ.
    """
    sums, (ours_sum, theirs_sum, count) = _resampled_sums([ours, theirs], groups, resamples, seed)
    differences = (ours_sum - theirs_sum) / count
    mean_ours, mean_theirs = (column.sum() / sums[-1].sum() for column in sums[:-1])
    tail = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return PairedDifference(
        ours=float(mean_ours),
        theirs=float(mean_theirs),
        difference=float(mean_ours - mean_theirs),
        difference_interval=percentiles(differences, level),
        gain=float(_gain(mean_ours, mean_theirs)),
        gain_interval=percentiles(_gain(ours_sum, theirs_sum), level),
        p_value=min(1.0, 2 * (tail + 1) / (resamples + 1)),
        groups=sums[-1].size,
    )


def wilson_interval(share: float, count: float, level: float = LEVEL) -> Interval:
    """The interval of a proportion, `share` of `count` independent draws (Wilson 1927); `count` need not be whole."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def percentiles(values: Doubles, level: float = LEVEL) -> Interval:
    """The central share `level` of (resamples,) values."""
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def grouped_sums(columns: Sequence[ArrayLike], groups: ArrayLike) -> tuple[list[Doubles], Doubles]:
    """Return (seeds, groups) sums of each (n,) or (seeds, n) column, and (groups,) counts of rows.

    Rows with a NaN are left out.

    Raises:
        OpenMofiError: no row is left, or the lengths differ.
    """
    values, names = [np.atleast_2d(np.asarray(column, np.float64)) for column in columns], np.asarray(groups)
    if any(value.shape[1:] != names.shape for value in values):
        raise OpenMofiError(
            f"Values of shapes {[np.shape(column) for column in columns]} do not fit groups of shape {names.shape}.",
            "Give one number and one group for each row.",
        )
    measured = ~np.isnan(np.concatenate(values)).any(axis=0)
    if not measured.any():
        raise OpenMofiError("There are no values to average.", "At least one row must have a value.")
    codes = np.unique(names[measured], return_inverse=True)[1]
    sums = [np.stack([np.bincount(codes, row) for row in value[:, measured]]).astype(np.float64) for value in values]
    return sums, np.bincount(codes).astype(np.float64)


def _resampled_sums(
    columns: list[ArrayLike],
    groups: ArrayLike,
    resamples: int,
    seed: int,
) -> tuple[list[Doubles], list[Doubles]]:
    """Sums of each (n,) column and, last, counts of rows: (groups,), and (resamples,) over what is drawn."""
    of_columns, counts = grouped_sums(columns, groups)
    sums, generator, drawn = [*(of_column[0] for of_column in of_columns), counts], np.random.default_rng(seed), []
    block = max(1, _DRAWS_PER_BLOCK // counts.size)
    for start in range(0, resamples, block):
        rows = generator.integers(0, counts.size, (min(block, resamples - start), counts.size))
        drawn.append([column[rows].sum(axis=1) for column in sums])
    return sums, [np.concatenate(column) for column in zip(*drawn, strict=True)]


def _gain(ours: Any, theirs: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(theirs) == 0, np.nan, np.divide(ours, theirs) - 1)
