import numpy as np
import pytest
from scipy.special import expit, logit

from openmofi.labeling.calibrate.calibration import threshold_for_precision
from openmofi.labeling.correction import Recalibration


def threshold_by_verdicts(probability, judged, right, weights, target):
    return Recalibration.of(judged, right, weights).threshold_for(probability, target)


def world(generator, shift, slope, size=20_000):
    probability = generator.beta(2, 1, size)
    return probability, generator.random(size) < expit(shift + slope * logit(probability))


@pytest.mark.parametrize(("shift", "slope"), [(0, 1), (-1, 1), (-1, 0.6), (1, 1)])
@pytest.mark.parametrize("target", [0.9, 0.95])
def test_two_hundred_verdicts_reach_the_target(shift, slope, target):
    generator = np.random.default_rng(0)
    reached, uncorrected = [], []
    for _ in range(40):
        probability, right = world(generator, shift, slope)
        rows = generator.choice(np.flatnonzero(probability > 0.5), 200, replace=False)
        threshold = threshold_by_verdicts(probability, probability[rows], right[rows], np.ones(200), target)
        if (probability >= threshold).any():
            reached.append(right[probability >= threshold].mean())
        uncorrected.append(right[probability >= threshold_for_precision(probability, target)].mean())
    assert len(reached) >= 35
    assert np.mean(reached) == pytest.approx(target, abs=0.02)
    assert abs(np.mean(reached) - target) <= abs(np.mean(uncorrected) - target) + 0.01


def test_few_verdicts_hardly_move_the_calibration():
    probability = world(np.random.default_rng(0), 0, 1)[0]
    kept = threshold_for_precision(probability, 0.9)
    two = threshold_by_verdicts(probability, np.array([0.9, 0.8]), np.array([True, True]), np.ones(2), 0.9)
    assert kept - 0.1 < two <= kept


def test_the_order_stays_and_weights_decide_what_counts():
    judged, right = np.repeat([0.6, 0.9], 50), np.repeat([False, True], 50)
    heavy_wrong = Recalibration.of(judged, right, np.repeat([9.0, 1.0], 50))
    heavy_right = Recalibration.of(judged, right, np.repeat([1.0, 9.0], 50))
    points = np.linspace(0, 1, 50)
    assert (np.diff(heavy_wrong(points)) > 0).all()
    assert heavy_wrong(np.array([0.6]))[0] < heavy_right(np.array([0.6]))[0]
    backwards = Recalibration.of(judged, ~right, np.ones(100))
    assert (np.diff(backwards(points)) > 0).all()


def test_no_threshold_reaches_a_target_where_all_is_wrong():
    probability = np.linspace(0.5, 0.99, 500)
    assert threshold_by_verdicts(probability, probability, np.zeros(500, bool), np.ones(500), 0.95) == 1.0
    assert threshold_by_verdicts(np.empty(0), probability, np.zeros(500, bool), np.ones(500), 0.95) == 1.0
