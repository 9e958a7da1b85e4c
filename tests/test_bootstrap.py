import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from openmofi.bootstrap import (
    bootstrap_interval,
    macro_interval,
    paired_bootstrap,
    percentiles,
    ratio_interval,
    resampled_totals,
)
from openmofi.errors import OpenMofiError


def drawn(groups: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of two systems that depend on their class, and the classes."""
    draw = np.random.default_rng(seed)
    of = np.repeat(np.arange(groups), draw.integers(1, 9, groups))
    easy = draw.random(groups)[of]
    return np.clip(easy + 0.1 * draw.standard_normal(len(of)) + 0.05, 0, 1), np.clip(easy, 0, 1), of


def totals(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.bincount(of, weights=values)


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_is_scipys(level):
    values, _, of = drawn()
    expected = stats.bootstrap(
        (totals(values, of), np.bincount(of)),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        paired=True,
        n_resamples=2000,
        method="percentile",
        confidence_level=level,
        rng=np.random.default_rng(5),
    ).confidence_interval
    found = bootstrap_interval(values, of, resamples=2000, level=level, seed=5)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_paired_intervals_are_scipys():
    ours, theirs, of = drawn()
    sums = totals(ours, of), totals(theirs, of), np.bincount(of)
    found = paired_bootstrap(ours, theirs, of, resamples=2000, seed=5)
    for statistic, interval in (
        (lambda a, b, c, axis: (a.sum(axis) - b.sum(axis)) / c.sum(axis), found.difference_interval),
        (lambda a, b, c, axis: a.sum(axis) / b.sum(axis) - 1, found.gain_interval),
    ):
        expected = stats.bootstrap(
            sums, statistic, paired=True, n_resamples=2000, method="percentile", rng=np.random.default_rng(5)
        ).confidence_interval
        np.testing.assert_allclose(interval, expected, atol=1e-12)
    assert found.difference == pytest.approx(ours.mean() - theirs.mean())
    assert found.gain == pytest.approx(ours.mean() / theirs.mean() - 1)
    assert (found.ours, found.theirs) == (pytest.approx(ours.mean()), pytest.approx(theirs.mean()))


def test_many_groups_are_drawn_in_parts_and_give_the_same(monkeypatch):
    values, _, of = drawn()
    whole = bootstrap_interval(values, of, seed=1)
    monkeypatch.setattr("openmofi.bootstrap._DRAWS_PER_BLOCK", 1000)
    assert bootstrap_interval(values, of, seed=1) == whole


def test_intervals_cover_as_often_as_they_say():
    hits = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        of = np.arange(60).repeat(5)
        values = 0.3 + draw.standard_normal(60)[of] + 0.1 * draw.standard_normal(300)
        low, high = bootstrap_interval(values, of, resamples=300, seed=seed)
        hits += low <= 0.3 <= high
    assert 178 <= hits <= 199


def test_classes_are_drawn_and_not_images():
    of = np.arange(20).repeat(50)
    values = np.random.default_rng(0).random(20)[of]
    low, high = bootstrap_interval(values, of)
    alone_low, alone_high = bootstrap_interval(values, np.arange(1000))
    assert high - low > 4 * (alone_high - alone_low)


def test_missing_values_are_left_out():
    ours, theirs, of = drawn()
    holes = ours.copy()
    holes[::7] = np.nan
    kept = ~np.isnan(holes)
    assert bootstrap_interval(holes, of) == bootstrap_interval(ours[kept], of[kept])
    assert paired_bootstrap(holes, theirs, of) == paired_bootstrap(ours[kept], theirs[kept], of[kept])


def test_p_values():
    ours, theirs, of = drawn()
    assert paired_bootstrap(ours + 0.1, theirs, of).p_value < 0.01
    assert paired_bootstrap(theirs, theirs, of).p_value == 1.0
    noise = np.random.default_rng(3).standard_normal(len(of))
    assert paired_bootstrap(theirs + noise - noise.mean(), theirs, of).p_value > 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_swapping_the_systems_swaps_the_signs(seed):
    ours, theirs, of = drawn(12, seed)
    one, other = paired_bootstrap(ours, theirs, of, resamples=99), paired_bootstrap(theirs, ours, of, resamples=99)
    assert one.difference == pytest.approx(-other.difference)
    np.testing.assert_allclose(one.difference_interval, np.negative(other.difference_interval)[::-1], atol=1e-12)
    assert one.p_value == other.p_value


def test_names_and_order_of_classes_do_not_matter_to_the_mean():
    ours, theirs, of = drawn()
    names = np.array([f"c{group}" for group in of])
    order = np.random.default_rng(0).permutation(len(of))
    assert paired_bootstrap(ours[order], theirs[order], names[order]).gain == pytest.approx(
        paired_bootstrap(ours, theirs, of).gain
    )


def test_nothing_to_average():
    with pytest.raises(OpenMofiError, match="no values to average"):
        bootstrap_interval([np.nan, np.nan], [0, 1])
    with pytest.raises(OpenMofiError, match="do not fit groups"):
        paired_bootstrap([1.0, 2.0], [1.0], [0, 1])
    found = paired_bootstrap([1.0, 1.0], [0.0, 0.0], [0, 1])
    assert np.isnan(found.gain)
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["gain"] is None


def test_the_macro_averages_interval_is_a_bootstrap_within_splits():
    draw = np.random.default_rng(3)
    splits = [draw.random(size) < share for size, share in ((400, 0.8), (60, 0.3), (1000, 0.5))]
    means = []
    for _ in range(4000):
        means.append(np.mean([split[draw.integers(0, len(split), len(split))].mean() for split in splits]))
    assert macro_interval(splits, resamples=4000) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.004)
    assert macro_interval([np.ones(5, bool)]) == (1.0, 1.0)


def test_the_interval_of_a_ratio_is_scipys():
    draw = np.random.default_rng(5)
    below = draw.integers(0, 6, 80).astype(float)
    above = np.floor(below * draw.random(80))
    expected = stats.bootstrap(
        (above, below),
        lambda one, other, axis=-1: one.sum(axis) / other.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    assert ratio_interval(above, below) == pytest.approx(tuple(expected.confidence_interval))
    assert ratio_interval([0, 0], [0, 0]) == (0.0, 0.0)
    with pytest.raises(OpenMofiError):
        ratio_interval([], [])


def test_totals_of_equal_rows_are_resampled_as_rows_are():
    draw = np.random.default_rng(7)
    counts = draw.integers(0, 3, (300, 2))
    totals = resampled_totals(counts, resamples=4000)
    rows = np.array([counts[draw.integers(0, 300, 300)].sum(0) for _ in range(4000)])
    assert totals.shape == (4000, 2)
    for column in range(2):
        assert percentiles(totals[:, column]) == pytest.approx(percentiles(rows[:, column]), rel=0.01)
    assert np.corrcoef(totals.T)[0, 1] == pytest.approx(np.corrcoef(rows.T)[0, 1], abs=0.1)
    assert (resampled_totals(np.full((5, 2), 3), resamples=10) == 15).all()
