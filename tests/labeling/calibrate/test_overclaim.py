"""Claims are held against what is not shown, in worlds whose truth is known."""

import numpy as np
import pytest
from scipy.special import expit, logit

from openmofi.labeling.calibrate.calibration import Calibration, humbled
from openmofi.labeling.calibrate.overclaim import JudgedSample, excesses, humility


def world(pairs=20_000, separation=3.0, share=0.4, boast=0.0, seed=0):
    """One candidate a pair; the log ratio is right, and the log odds too high by `boast`."""
    draw = np.random.default_rng(seed)
    shown = draw.random(pairs) < share
    evidence = draw.standard_normal(pairs) + separation * shown
    decoys = draw.standard_normal(pairs)
    ratio = [separation * values - separation**2 / 2 for values in (evidence, decoys)]
    number = np.arange(pairs)
    probability = expit(ratio[0] + logit(share) + boast)
    return JudgedSample(probability, ratio[0], number, number, ratio[1], 0.8, {}), shown


def test_fair_probabilities_are_left_alone():
    judged, shown = world()
    assert shown[judged.accepted].mean() == pytest.approx(judged.probability[judged.accepted].mean(), abs=0.01)
    assert humility(judged) < 0.1


@pytest.mark.parametrize("boast", [0.7, 1.5])
def test_probabilities_that_boast_are_taken_back_half_way_or_more(boast):
    """The excess is measured with the boast in the prior of what is not shown, so that not all of it is seen."""
    judged, shown = world(boast=boast)
    modest = humbled(judged.probability, humility(judged))
    accepted = modest >= 0.8
    before = judged.probability[judged.accepted].mean() - shown[judged.accepted].mean()
    assert before > 0.02
    assert modest[accepted].mean() - shown[accepted].mean() < before


def test_more_wrong_labels_are_found_where_decoys_lie_higher():
    judged, _ = world()
    higher = JudgedSample(
        judged.probability, judged.log_ratio, judged.mention, judged.pair, judged.decoys + 1.0, 0.8, {}
    )
    found = [dict(excesses(each, 0.0))["decoys"] for each in (judged, higher)]
    assert abs(found[0]) < 0.02 * judged.accepted.sum() < found[1]
    assert humility(higher) > 0.3


def test_decoys_of_the_own_group_are_a_kind_of_their_own():
    judged, _ = world(2_000)
    source = np.arange(2_000) // 10
    near = np.arange(2_000) % 2 == 0
    decoys = judged.decoys + 2.0 * near
    grouped = JudgedSample(
        judged.probability, judged.log_ratio, judged.mention, judged.pair, decoys, 0.8, {}, source, near
    )
    found = dict(excesses(grouped, 0.0))
    assert found["decoys of the same group"] > found["decoys"]
    assert humility(grouped) > humility(judged)


def test_few_decoys_say_nothing():
    judged, _ = world(25)
    assert list(excesses(judged, 0.0)) == []
    assert humility(judged) == 0.0


def test_humility_is_taken_off_log_odds():
    probability = np.array([0.0, 0.2, 0.9, 1.0])
    np.testing.assert_allclose(humbled(probability, 0.7)[1:3], expit(logit(probability[1:3]) - 0.7))
    assert humbled(probability, 0.7)[[0, 3]].tolist() == [0.0, 1.0]
    number = np.arange(4)
    plain = Calibration((-20.0, 20.0), (-20.0, 20.0), 0.5, 1.0, 100)
    modest = Calibration((-20.0, 20.0), (-20.0, 20.0), 0.5, 1.0, 100, humility=0.7)
    evidence, link = np.array([-2.0, 0.0, 1.0, 3.0]), np.full(4, 0.5)
    np.testing.assert_allclose(
        logit(modest.probability(evidence, link, number, number)),
        logit(plain.probability(evidence, link, number, number)) - 0.7,
    )
