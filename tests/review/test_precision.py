import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from openmofi.review.precision import corrected_precision, tuned_power

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


@pytest.mark.parametrize(
    ("noise", "theirs"),
    [(0, (0.73186, 0.69062, 0.7731)), (0.5, (0.72703, 0.68536, 0.7687)), (5, (0.7253, 0.68179, 0.7688))],
)
def test_one_stratum_is_ppi_plus_plus(noise, theirs):
    """As the authors' own package has it, and the plain formula; the probabilities tell much, little or nothing.

    `theirs`: `ppi_mean_pointestimate` and `ppi_mean_ci` of ppi-python 0.2.3 on the same draws, with λ of their own.
    """
    generator = np.random.default_rng(1)
    everything = generator.uniform(0.4, 1, 200_000)
    rows = generator.permutation(len(everything))[:400]
    right = generator.random(400) < everything[rows]
    claimed = np.clip(expit(logit(everything) + noise * generator.normal(size=len(everything))), 0, 1)
    probability, weights, strata = claimed[rows], np.full(400, 500.0), np.zeros(400, int)
    mean, (low, high) = corrected_precision(claimed.mean(), probability, right, weights, strata)
    power = np.cov(right, probability)[0, 1] / np.var(probability, ddof=1)
    assert tuned_power(right, probability, weights, strata) == pytest.approx(power)
    residual = right - power * probability
    assert mean == pytest.approx(power * claimed.mean() + np.mean(residual))
    # The normal interval, to which the one here comes close in the middle of 0..1.
    assert high - low == pytest.approx(2 * 1.96 * np.std(residual, ddof=1) / np.sqrt(400), rel=0.05)
    assert low < mean < high
    assert mean == pytest.approx(theirs[0], abs=2e-4)
    assert (low, high) == pytest.approx(theirs[1:], abs=0.004)


def test_probabilities_that_say_nothing_do_no_harm():
    generator = np.random.default_rng(3)
    errors = {True: [], False: []}
    for _ in range(300):
        claimed = generator.beta(0.3, 0.3, 4000)
        right = generator.random(4000) < 0.8
        rows = generator.permutation(4000)[:100]
        mean, _ = corrected_precision(
            claimed.mean(), claimed[rows], right[rows], np.full(100, 40.0), np.zeros(100, int)
        )
        errors[True].append(mean - right.mean())
        errors[False].append(claimed.mean() + np.mean(right[rows] - claimed[rows]) - right.mean())
    assert np.std(errors[True]) < 0.8 * np.std(errors[False])


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
