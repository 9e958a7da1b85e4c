"""How many labels of each stratum to look at, and what a draw in batches estimates, against a known truth."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from openmofi.review.precision import EDGES, allocation, precision_by, range_name, ranges, stratum_name
from openmofi.review.verdicts import KIND, Stratum, Verdict, Verdicts


def variance(labels, expected, judged):
    return sum(
        count**2 * max(mean * (1 - mean), 0.02) / number
        for count, mean, number in zip(labels, expected, judged, strict=True)
    )


@settings(max_examples=50, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(6, 500), st.floats(0, 1), st.integers(2, 4)), min_size=1, max_size=3),
    st.integers(1, 6),
)
def test_the_allocation_has_the_least_variance_of_all(parts, count):
    labels, expected, judged = zip(*parts, strict=True)
    after = np.add(judged, allocation(labels, expected, count, judged))
    rooms = np.subtract(labels, judged)
    others = [
        np.add(judged, each)
        for each in itertools.product(*(range(min(count, room) + 1) for room in rooms))
        if sum(each) == min(count, sum(rooms))
    ]
    assert variance(labels, expected, after) == pytest.approx(
        min(variance(labels, expected, each) for each in others), rel=1e-9
    )


def test_places_go_by_labels_and_spread():
    labels, expected = (1000, 1000, 3), (0.5, 0.99, 2 / 3)
    places = allocation(labels, expected, 100)
    assert places.sum() == 100
    assert places[0] > 2 * places[1] > 10
    assert places[2] == 2
    assert allocation(labels, expected, 5).tolist() == [3, 1, 1]
    assert allocation(labels, expected, 5000).tolist() == [1000, 1000, 3]


def test_each_stratum_is_looked_at_once_before_any_twice():
    labels, expected = (10_000, 3, 0), (0.5, 0.99, 0.0)
    assert allocation(labels, expected, 2).tolist() == [1, 1, 0]
    assert allocation(labels, expected, 1_000)[1] <= 3
    assert allocation(labels, expected, 10**4).sum() == 10**4
    assert allocation(labels, expected, 1, (1, 0, 0)).tolist() == [0, 1, 0]
    assert allocation((), (), 5).tolist() == []


def test_ranges_have_names():
    assert ranges([0.0, 0.05, 0.1, 0.9, 0.99, 1.0]).tolist() == [0, 0, 1, 6, 8, 8]
    assert range_name(8) == "0.99–1.00"
    assert stratum_name(False, 1) == "below the threshold, 0.10–0.30"
    assert stratum_name(True, -1, "bird") == "accepted, bird"


@pytest.mark.parametrize(("shift", "slope"), [(0, 1), (-1, 1), (-0.5, 0.5), (5, 1), (1.5, 0)])
@pytest.mark.parametrize("batches", [(20,), (20, 20), (20,) * 6])
def test_a_review_in_batches_is_unbiased_and_its_interval_covers(shift, slope, batches):
    """Against a known truth. An allocation that looks at the verdicts so far is too high by .02 in the same worlds."""
    generator = np.random.default_rng(0)
    errors, covered = [], []
    for _ in range(150):
        probability = generator.beta(8, 1, 2000)
        right = generator.random(2000) < expit(shift + slope * logit(probability))
        stratum = np.unique(ranges(probability), return_inverse=True)[1]
        labels = np.bincount(stratum)
        expected, drawn = np.bincount(stratum, probability) / labels, np.zeros(len(labels), int)
        for batch in batches:
            drawn += allocation(labels, expected, batch, drawn)
        rows = np.concatenate(
            [
                generator.choice(np.flatnonzero(stratum == number), count, replace=False)
                for number, count in enumerate(drawn)
            ]
        )
        said = tuple(
            Verdict("a", str(row), "e", "y" if right[row] else "n", float(probability[row]), int(stratum[row]))
            for row in rows
        )
        strata = tuple(Stratum(str(number), True, int(count)) for number, count in enumerate(labels))
        verdicts = Verdicts(KIND, 1, "", "", "", "", (), 0, len(said), strata, said)
        result = precision_by(verdicts, 2000, float(probability.mean()), [True] * len(said))
        low, high = result.interval
        errors.append(result.corrected - right.mean())
        covered.append(low <= right.mean() <= high)
    assert abs(np.mean(errors)) < 0.003 + 2.6 * np.std(errors) / np.sqrt(len(errors))
    assert np.mean(covered) >= 0.9


def test_the_ranges_cover_all_probabilities():
    assert EDGES[0] == 0
    assert list(EDGES) == sorted(EDGES)
