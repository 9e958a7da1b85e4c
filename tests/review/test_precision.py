import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from openmofi.review.precision import corrected_precision

EDGES = np.array([0.65, 0.8, 0.9, 0.95, 0.99])


def drawn(probability, right, size, generator):
    """A stratified draw with at least two of each stratum: rows, weights, strata."""
    strata = np.digitize(probability, EDGES)
    labels = np.bincount(strata, minlength=len(EDGES) + 1)
    places = np.minimum(labels, np.maximum(2, np.round(size * labels / len(probability)).astype(int)))
    rows = np.concatenate(
        [
            generator.choice(np.flatnonzero(strata == number), count, replace=False)
            for number, count in enumerate(places)
            if count
        ]
    )
    return rows, (labels / np.maximum(places, 1))[strata[rows]], strata[rows]


@pytest.mark.parametrize(
    ("shift", "slope", "beta"),
    [(0, 1, (4, 1)), (-1, 1, (4, 1)), (-0.5, 0.5, (4, 1)), (2, 1, (4, 1)), (-2, 1, (40, 1)), (5, 1, (8, 1))],
)
@pytest.mark.parametrize("size", [60, 200])
def test_the_estimate_is_unbiased_and_its_interval_covers(shift, slope, beta, size):
    """Whatever the probabilities are worth: too high, too low, too sure."""
    generator = np.random.default_rng(0)
    errors, covered = [], []
    for _ in range(200):
        probability = generator.beta(*beta, 4000)
        right = generator.random(4000) < expit(shift + slope * logit(probability))
        rows, weights, strata = drawn(probability, right, size, generator)
        mean, (low, high) = corrected_precision(probability.mean(), probability[rows], right[rows], weights, strata)
        errors.append(mean - right.mean())
        covered.append(low <= right.mean() <= high)
    assert abs(np.mean(errors)) < 0.003 + 2.6 * np.std(errors) / np.sqrt(len(errors))
    assert np.mean(covered) >= 0.9


def test_one_stratum_is_the_plain_formula():
    generator = np.random.default_rng(1)
    probability = generator.uniform(0.4, 1, 400)
    right = generator.random(400) < probability
    ones, weights = np.zeros(400, int), np.full(400, 50.0)
    mean, (low, high) = corrected_precision(0.71, probability, right, weights, ones)
    assert mean == pytest.approx(0.71 + np.mean(right - probability))
    # Prediction-powered inference's normal interval, to which the one here comes close in the middle of 0..1.
    half = 1.96 * np.std(right - probability, ddof=1) / np.sqrt(400) * np.sqrt(1 - 1 / 50)
    assert high - low == pytest.approx(2 * half, rel=0.05)
    assert low < mean < high


@pytest.mark.parametrize("right", [0, 1, 7, 10])
def test_few_verdicts_have_the_exact_interval(right):
    said = np.arange(10) < right
    mean, interval = corrected_precision(0.9, np.full(10, 0.9), said, np.full(10, 30.0), np.zeros(10, int))
    exact = stats.binomtest(right, 10).proportion_ci(0.95, method="exact")
    assert mean == right / 10
    assert interval == pytest.approx((exact.low, exact.high))


def test_all_right_is_no_certainty():
    mean, (low, _) = corrected_precision(
        0.97, np.full(100, 0.97), np.ones(100, bool), np.full(100, 9.0), np.zeros(100, int)
    )
    wilson = stats.binomtest(100, 100).proportion_ci(0.95, method="wilson")
    assert mean == 1
    assert low == pytest.approx(wilson.low, abs=0.001)


@pytest.mark.parametrize("count", [5, 50])
def test_a_census_is_exact(count):
    right = np.arange(count) % 5 > 0
    mean, interval = corrected_precision(0.6, np.full(count, 0.6), right, np.ones(count), np.zeros(count, int))
    assert mean == pytest.approx(0.8)
    assert interval == pytest.approx((0.8, 0.8))
