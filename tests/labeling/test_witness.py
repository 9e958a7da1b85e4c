"""Simulated mentions whose probabilities hold, and judges of known rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from openmofi.labeling.witness import FEWEST, NO_ANSWER, NONE, NOT_ASKED, OTHER, YES, Rates, fit_rates

NO_INTERVALS = {"shown_interval": (0, 1), "absent_interval": (0, 1), "senses_interval": (0, 1), "certain": 1.0}


class World:
    """`mentions` of one to four senses; `shown` is the position of the one that is, or −1."""

    def __init__(self, seed, mentions=750, senses=(1, 2, 4)):
        self.draw = draw = np.random.default_rng(seed)
        self.count = draw.choice(senses, mentions)
        self.group = np.repeat(np.arange(mentions), self.count)
        self.position = np.arange(len(self.group)) - (np.cumsum(self.count) - self.count)[self.group]
        parts = [draw.dirichlet(np.ones(count)) * draw.beta(2, 2) for count in self.count]
        self.probability = np.concatenate(parts)
        self.shown = np.array([draw.choice(len(p) + 1, p=[*p, 1 - p.sum()]) for p in parts])
        self.shown[self.shown == self.count] = -1
        self.right = self.position == self.shown[self.group]

    def said(self, shown, absent, senses):
        """The answers of a judge, and those to a third as many decoys."""
        draw, size = self.draw, len(self.count)
        anything = draw.random(size) < np.where(self.shown >= 0, shown, absent)
        knows = (self.shown >= 0) & (draw.random(size) < senses)
        choice = np.where(anything, np.where(knows, self.shown, draw.integers(self.count)), -1)[self.group]
        return np.where(choice < 0, NONE, np.where(choice == self.position, YES, OTHER))

    def decoys(self, absent, count=250):
        some = int((self.draw.random(count) < absent).sum())
        return some, count - some

    def heard(self, shown, absent, senses, of_decoys=None):
        said = self.said(shown, absent, senses)
        rates = fit_rates(self.probability, self.group, said, self.decoys(absent if of_decoys is None else of_decoys))
        return rates, rates.weigh(self.probability, self.group, said)


def gap(probability, right, least=0.0):
    accepted = probability >= least
    return float(probability[accepted].mean() - right[accepted].mean())


@pytest.mark.parametrize(
    ("shown", "absent", "senses"),
    [
        pytest.param(0.95, 0.05, 0.95, marks=pytest.mark.slow),
        pytest.param(0.85, 0.15, 0.8, marks=pytest.mark.slow),
        (0.7, 0.4, 0.5),
    ],
    ids=["good", "fair", "poor"],
)
def test_probabilities_hold_with_the_answers_of_a_judge_whose_rates_nobody_told(shown, absent, senses):
    """Pooled over ten worlds, since one accepts few: what is accepted is right as often as it claims."""
    worlds = [World(seed) for seed in range(10)]
    rates, probabilities = zip(*(world.heard(shown, absent, senses) for world in worlds), strict=True)
    probability, right = np.concatenate(probabilities), np.concatenate([world.right for world in worlds])
    assert abs(gap(probability, right)) < 0.005
    assert abs(gap(probability, right, 0.8)) < 0.03
    for true, found in (
        (shown, [each.shown_interval for each in rates]),
        (absent, [each.absent_interval for each in rates]),
    ):
        assert sum(low <= true <= high for low, high in found) >= 8


def test_a_truthful_judge_finds_more_and_is_right_more_often():
    world = World(0)
    _, probability = world.heard(0.95, 0.05, 0.95)
    before, after = world.probability >= 0.8, probability >= 0.8
    assert after.sum() > 5 * before.sum()
    assert world.right[after].mean() > 0.95
    precisions = [average_precision_score(world.right, each) for each in (world.probability, probability)]
    assert precisions[1] > precisions[0] + 0.2


@pytest.mark.parametrize(
    ("shown", "absent"), [(1, 1), (0, 0), (0.5, 0.5), (0.1, 0.9)], ids=["yes", "none", "chance", "contrary"]
)
def test_a_judge_that_tells_nothing_apart_changes_nothing(shown, absent):
    world = World(1)
    rates, probability = world.heard(shown, absent, 0)
    assert rates.says_nothing
    assert np.array_equal(probability, world.probability)


def test_a_judge_that_always_names_something_may_still_tell_senses_apart():
    world = World(2)
    rates, probability = world.heard(1, 1, 0.9)
    assert rates.shown == rates.absent
    assert rates.senses > 0.7
    assert abs(gap(probability, world.right)) < 0.015
    assert abs(gap(probability, world.right, 0.8)) < 0.05


def test_decoys_that_are_easier_than_what_is_asked_are_no_reason_to_believe():
    """The judge takes two in five for what they are not, of the decoys one in ten."""
    worlds = [World(seed) for seed in range(10)]
    rates, probabilities = zip(*(world.heard(0.9, 0.4, 0.8, of_decoys=0.1) for world in worlds), strict=True)
    probability, right = np.concatenate(probabilities), np.concatenate([world.right for world in worlds])
    assert np.mean([each.absent for each in rates]) > 0.3
    assert abs(gap(probability, right)) < 0.01
    assert abs(gap(probability, right, 0.8)) < 0.03


@pytest.mark.parametrize(("questions", "decoys"), [(FEWEST - 1, 100), (100, FEWEST - 1), (0, 0)])
def test_of_few_answers_nothing_is_said(questions, decoys):
    world = World(0, 100)
    said = np.where(world.group < questions, world.said(0.9, 0.1, 1), NO_ANSWER)
    assert fit_rates(world.probability, world.group, said, (0, decoys)) is None


def test_twenty_answers_leave_more_doubt_than_two_thousand():
    widths = []
    for size in (30, 2000):
        world = World(3, size)
        rates = fit_rates(world.probability, world.group, world.said(0.9, 0.1, 1), world.decoys(0.1, size))
        widths.append(np.diff(rates.absent_interval)[0])
    assert widths[0] > 2 * widths[1]


@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
    st.floats(0.01, 0.99),
    *(st.floats(0.02, 0.98) for _ in range(3)),
    st.data(),
)
def test_weighing_is_bayes_rule(parts, some, shown, absent, senses, data):
    probability = np.array(parts) / sum(parts) * some
    count = len(probability)
    answer = data.draw(st.integers(-1, count - 1))

    def likelihood(state):
        if answer < 0:
            return 1 - (shown if state >= 0 else absent)
        if state < 0:
            return absent / count
        return shown * ((1 - senses) / count + senses * (answer == state))

    joint = np.array([p * likelihood(state) for state, p in enumerate(probability)])
    expected = joint / (joint.sum() + (1 - some) * likelihood(-1))
    said = np.array([NONE if answer < 0 else YES if answer == place else OTHER for place in range(count)])
    weighed = Rates(shown, absent, senses, **NO_INTERVALS).weigh(probability, np.zeros(count, np.int64), said)
    assert weighed == pytest.approx(expected)
    assert 0 <= weighed.sum() <= 1 + 1e-9


def test_what_was_not_asked_or_not_answered_stays():
    probability, group = np.array([0.3, 0.4, 0.5, 0.6]), np.array([0, 0, 1, 2])
    said = np.array([NOT_ASKED, NOT_ASKED, NO_ANSWER, YES])
    weighed = Rates(0.9, 0.1, 0.0, **NO_INTERVALS).weigh(probability, group, said)
    assert weighed[:3].tolist() == [0.3, 0.4, 0.5]
    assert weighed[3] == pytest.approx(0.6 * 0.9 / (0.6 * 0.9 + 0.4 * 0.1))
