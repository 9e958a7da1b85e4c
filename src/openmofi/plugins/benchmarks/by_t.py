"""Intervals and tests by Student's t where few seeds or tasks are the unit.

The seeds of a recipe are measured on the same items. The mean over both varies by the seeds that were trained and by
the groups, such as classes, that were drawn:

    V = var_s(mean of seed s) / seeds + var_g(mean over seeds of group g) / groups − what both of these count

as in Cameron, Gelbach and Miller's "Robust Inference With Multiway Clustering" (2011, section 2.2), and not below
either. Degrees of freedom are Satterthwaite's (1946): V² / Σ v² / d. Where three seeds differ more than items do they
are two, and the interval is ± 4.3 standard errors, where a bootstrap of three seeds takes 1.6.
With one seed the training is taken as fixed: nothing is known of another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from openmofi.arrays import Doubles
from openmofi.bootstrap import LEVEL, Interval, PairedDifference, grouped_sums


@dataclass(frozen=True)
class _Error:
    """The standard error of a mean, and its degrees of freedom; NaN where a single value says nothing of it."""

    size: float
    freedom: float

    def interval(self, mean: float, level: float) -> Interval:
        half = float(stdtrit(self.freedom, (1 + level) / 2)) * self.size
        return mean - half, mean + half

    def p_value(self, mean: float) -> float:
        if mean == 0 or np.isnan(self.size):
            return 1.0
        return float(2 * stdtr(self.freedom, -abs(mean) / self.size)) if self.size else 0.0


def interval_by_t(values: ArrayLike, groups: ArrayLike, *, level: float = LEVEL) -> Interval:
    """Return the interval of `mean(values)` when seeds and groups are drawn.

    Args:
        values: (n,) or (seeds, n) numbers; rows of NaN in any seed are left out.
        groups: (n,) the group of each row, of any sortable type.
        level: e.g. 0.95.

    Raises:
        OpenMofiError: all rows are NaN, or the lengths differ.
    """
    sums, counts = grouped_sums([values], groups)
    return _error(sums, counts).interval(float(sums[0].mean(axis=0).sum() / counts.sum()), level)


def difference_by_t(ours: ArrayLike, theirs: ArrayLike, groups: ArrayLike, *, level: float = LEVEL) -> PairedDifference:
    """Return the difference of two recipes' means and their relative gain, with intervals and a two-sided p-value.

    Items are paired, seeds are not. Where one recipe has a single seed, its seeds are taken to vary as the other's.

    Args:
        ours, theirs: (n,) or (seeds, n) a number for each row, in the same order; a row that is NaN in any is left out.
        groups: (n,) the group of each row.
        level: e.g. 0.95.

    Raises:
        OpenMofiError: no row is left, or the lengths differ.
    """
    sums, counts = grouped_sums([ours, theirs], groups)
    mean, base = (float(each.mean(axis=0).sum() / counts.sum()) for each in sums)
    error, gain = _error([sums[0], -sums[1]], counts), mean / base - 1 if base else np.nan
    # To first order the gain varies as ours − (1 + gain)·theirs does, in units of theirs.
    relative = _error([sums[0] / base, -(1 + gain) * sums[1] / base], counts) if base else _Error(np.nan, np.nan)
    return PairedDifference(
        ours=mean,
        theirs=base,
        difference=mean - base,
        difference_interval=error.interval(mean - base, level),
        gain=gain,
        gain_interval=relative.interval(gain, level),
        p_value=error.p_value(mean - base),
        groups=len(counts),
        seeds=max(len(each) for each in sums),
    )


def _error(terms: Sequence[Doubles], counts: Doubles) -> _Error:
    """Return the error of a sum of means.

    Args:
        terms: (seeds, groups) sums of each, whose seeds are independent of the others'.
        counts: (groups,) rows.
    """
    groups, rows = len(counts), float(counts.sum())
    together = sum(each.mean(axis=0) for each in terms)
    apart = together - counts * (together.sum() / rows)
    of_groups = [(float(apart @ apart) / rows**2 * groups / (groups - 1), groups - 1)] if groups > 1 else []
    several, of_seeds, of_both = [each for each in terms if len(each) > 1], list[tuple[float, int]](), 0.0
    for known in several:
        means, degrees = known.sum(axis=1) / rows, len(known) - 1
        # What has one seed is taken to vary as the other does: by the same estimate, which is one part with it.
        runs = 1 / len(known) + (len(terms) - len(several) if known is several[0] else 0)
        of_seeds.append((float(means.var(ddof=1)) * runs, degrees))
        if groups > 1:
            residual = known - known.mean(axis=0) - np.outer(means - means.mean(), counts)
            of_both += float((residual**2).sum()) / rows**2 * groups / (degrees * (groups - 1)) * runs
    by_seeds, by_groups = (sum(part for part, _ in parts) for parts in (of_seeds, of_groups))
    variance = max(by_seeds + by_groups - of_both, by_seeds, by_groups)
    spread = sum(part**2 / free for part, free in (*of_seeds, *of_groups))
    if groups < 2 and not several:
        return _Error(np.nan, np.nan)
    return _Error(float(np.sqrt(variance)), variance**2 / spread if spread else 1.0)
