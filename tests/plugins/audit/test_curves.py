import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve

from openmofi.plugins.audit.curves import CalibrationCurve, Figures, PrecisionRecallCurve

SCORED = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=80)


@settings(max_examples=200, deadline=None)
@given(SCORED.filter(lambda rows: any(correct for _, correct in rows)))
def test_curve_is_scikit_learns(rows):
    score = np.array([value / 20 for value, _ in rows], np.float32)
    correct = np.array([value for _, value in rows])
    curve = PrecisionRecallCurve.of(score, correct, correct, int(correct.sum()))
    precision, recall, thresholds = precision_recall_curve(correct, score)
    np.testing.assert_allclose(curve.precision, precision[:-1][::-1])
    np.testing.assert_allclose(curve.recall, recall[:-1][::-1])
    np.testing.assert_allclose(curve.thresholds, thresholds[::-1])
    assert curve.average_precision == pytest.approx(average_precision_score(correct, score))


@given(SCORED, st.floats(0, 1))
def test_precision_at_a_recall_is_at_the_highest_threshold_that_reaches_it(rows, recall):
    score = np.array([value / 20 for value, _ in rows], np.float32)
    correct = np.array([value for _, value in rows])
    wanted = int(correct.sum()) + 1
    found = PrecisionRecallCurve.of(score, correct, correct, wanted).at_recall(recall)
    plain = None
    for threshold in sorted(set(score.tolist()), reverse=True):
        accepted = score >= threshold
        if correct[accepted].sum() / wanted >= recall - 1e-12:
            plain = (correct[accepted].mean(), threshold)
            break
    assert (found is None) == (plain is None)
    assert found is None or found == pytest.approx(plain)


def test_a_long_curve_is_thinned_but_keeps_its_ends_and_its_average():
    generator = np.random.default_rng(0)
    correct = generator.random(5000) < 0.4
    curve = PrecisionRecallCurve.of(
        (correct + generator.normal(size=5000)).astype(np.float32), correct, correct, correct.sum()
    )
    thin = curve.shown()
    assert len(thin.recall) <= 201
    assert (thin.recall[0], thin.recall[-1]) == (curve.recall[0], curve.recall[-1])
    assert thin.average_precision == curve.average_precision


def test_an_empty_curve_reaches_nothing():
    empty = np.empty(0, bool)
    curve = PrecisionRecallCurve.of(np.empty(0, np.float32), empty, empty, 3)
    assert curve.at_recall(0.1) is None
    assert curve.average_precision == 0
    assert curve.as_dict()["precision"] == []


def test_calibration_is_scikit_learns():
    generator = np.random.default_rng(0)
    probability = np.r_[generator.random(2000), 0.0, 1.0].astype(np.float32)
    correct = generator.random(2002) < probability**2
    found = CalibrationCurve.of(probability, correct)
    observed, expected = calibration_curve(correct, probability, n_bins=10)
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.expected, expected, rtol=1e-6)
    assert found.counts.sum() == 2002
    assert found.error == pytest.approx(np.average(np.abs(observed - expected), weights=found.counts), rel=1e-5)


def test_figures_and_their_intervals_are_those_of_a_bootstrap_pair_by_pair():
    generator = np.random.default_rng(3)
    accepted = generator.integers(0, 3, 400)
    correct = np.minimum(accepted, generator.integers(0, 2, 400))
    named = generator.integers(0, 2, 400)
    counts = np.stack([accepted, correct, named, named & (correct > 0)], axis=1)
    found = Figures.of(counts, resamples=4000)
    draws = counts[generator.integers(400, size=(4000, 400))].sum(axis=1)
    assert found.precision == counts[:, 1].sum() / counts[:, 0].sum()
    assert found.recall == counts[:, 3].sum() / counts[:, 2].sum()
    for interval, part, whole in ((found.precision_interval, 1, 0), (found.recall_interval, 3, 2)):
        np.testing.assert_allclose(interval, np.quantile(draws[:, part] / draws[:, whole], [0.025, 0.975]), atol=0.01)
    assert found == Figures.of(counts, resamples=4000)


def test_figures_of_nothing_are_none():
    found = Figures.of(np.zeros((0, 4), np.int64))
    assert (found.precision, found.recall, found.precision_interval) == (None, None, None)
    silent = Figures.of(np.array([[0, 0, 1, 0]]))
    assert (silent.precision, silent.recall) == (None, 0.0)
