import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.labeling.calibrate.naming import Naming, capped, learned_naming, type_factor

IDS = ["animal", "car", "subject"]
NAMES = ["jaguar", "subject"]


def corpus(pairs=3000, seed=0):
    """Texts that say "jaguar", which is the car here, and "subject", which nothing shows."""
    draw = np.random.default_rng(seed)
    entity = np.tile([0, 1, 2], pairs)
    name = np.tile([0, 0, 1], pairs)
    link = np.tile([0.5, 0.5, 0.9], pairs)
    shown = np.where(entity == 1, draw.random(len(entity)) < 0.8, 0.0).astype(float)
    return link, shown, entity, name


def learned(weight=None, places=None):
    link, shown, entity, name = corpus()
    weight = np.ones(len(link)) if weight is None else weight
    place = np.zeros(len(link), np.int64) if places is None else places
    return learned_naming(link, shown, weight, IDS, entity, NAMES, name, place)


def test_senses_and_entities_that_are_shown_gain():
    factors = learned().factors(
        IDS, np.array([0, 1, 2]), NAMES, np.array([0, 0, 1]), np.zeros(3, np.int64), np.full(3, 1.5)
    )
    assert factors[1] > 1.5
    assert max(factors[0], factors[2]) < 0.05


def test_a_factor_is_found_by_expected_shrunk():
    link, shown, entity, _ = corpus()
    expected = link * shown.sum() / link.sum()
    by_hand = (shown[entity == 1].sum() + 10) / (expected[entity == 1].sum() + 10)
    assert learned().entities["car"] == pytest.approx(by_hand)


def test_pairs_of_a_group_count_as_one():
    link, shown, entity, name = corpus(200)
    one = learned_naming(link, shown, np.full(len(link), 1 / 200), IDS, entity, NAMES, name, np.zeros(600, np.int64))
    every = learned_naming(link, shown, np.ones(len(link)), IDS, entity, NAMES, name, np.zeros(600, np.int64))
    assert 1.0 < one.entities.get("car", 1.01) < 1.1 < every.entities["car"]


def test_a_place_whose_names_are_shown_less_counts_less():
    link, shown, entity, name = corpus()
    tail = np.arange(len(link)) % 2 == 0
    shown = shown * np.where(tail, 0.2, 1.0)
    places = learned_naming(link, shown, np.ones(len(link)), IDS, entity, NAMES, name, np.where(tail, 6, 0)).places
    assert places[0] == 1.0 == max(places)
    assert places[6] == pytest.approx(0.2, abs=0.03)


def test_what_is_not_known_changes_nothing():
    factors = Naming().factors(IDS, np.array([0, 2]), NAMES, np.array([0, 1]), np.array([0, 7]), np.full(3, 1.5))
    assert factors.tolist() == [1.0, 1.0]
    assert (
        Naming({}, {}, ())
        .factors([], np.zeros(0, np.int64), [], np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        .tolist()
        == []
    )


def test_types_are_a_prior_and_no_gate():
    factor = type_factor(np.array([1.5, 0.0, -2.0, 9.0]))
    assert factor[0] == factor[3] == 1.0
    assert 1.0 > factor[1] > factor[2] > 0.3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 3, width=32)), max_size=30))
def test_a_mention_means_no_more_than_one_thing(rows):
    rows.sort(key=lambda row: row[0])
    group = np.unique([row[0] for row in rows], return_inverse=True)[1].astype(np.int64)
    link = np.array([row[1] for row in rows], float)
    found = capped(link, group)
    sums = np.bincount(group, found) if len(group) else np.zeros(0)
    assert (sums <= 1 + 1e-9).all()
    free = np.bincount(group, link)[group] <= 1 if len(group) else np.zeros(0, bool)
    np.testing.assert_array_equal(found[free], link[free])
