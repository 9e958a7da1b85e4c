from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.naming import Named, Naming, capped, learned_naming, type_factor

IDS = ["animal", "car", "subject"]
NAMES = ["jaguar", "subject"]


def corpus(pairs=3000, seed=0):
    """Texts that say "jaguar", which is the car here, and "subject", which nothing shows; no pair is in a group."""
    draw = np.random.default_rng(seed)
    entity = np.tile([0, 1, 2], pairs)
    name = np.tile([0, 0, 1], pairs)
    link = np.tile([0.5, 0.5, 0.9], pairs)
    shown = np.where(entity == 1, draw.random(len(entity)) < 0.8, 0.0).astype(float)
    return named(entity, name, group=np.repeat(np.arange(pairs) + 1000, 3)), link, shown


def named(entity, name, place=0, group=0):
    """Candidates of types that are shown readily; one place and one group, or (n,) of them."""
    entity = np.array(entity, np.int64)
    place = np.broadcast_to(np.array(place, np.int64), entity.shape)
    group = np.broadcast_to(np.array(group, np.uint64), entity.shape)
    return Named(IDS, np.full(3, 1.5), entity, NAMES, np.array(name, np.int64), place, group)


def learned():
    candidates, link, shown = corpus()
    return learned_naming(candidates, link, shown, np.ones(len(link)))


def test_senses_and_entities_that_are_shown_gain():
    factors = learned().factors(named([0, 1, 2], [0, 0, 1]))
    assert factors[1] > 1.5
    assert max(factors[0], factors[2]) < 0.05


def test_a_factor_is_found_by_expected_shrunk():
    candidates, link, shown = corpus()
    entity, expected = candidates.entity, link * shown.sum() / link.sum()
    by_hand = (shown[entity == 1].sum() + 10) / (expected[entity == 1].sum() + 10)
    assert learned().entities["car"] == pytest.approx(by_hand)


def test_pairs_of_a_group_count_as_one():
    candidates, link, shown = corpus(200)
    one = learned_naming(candidates, link, shown, np.full(len(link), 1 / 200))
    every = learned_naming(candidates, link, shown, np.ones(len(link)))
    assert 1.0 < one.entities.get("car", 1.01) < 1.1 < every.entities["car"]


def test_a_place_whose_names_are_shown_less_counts_less():
    candidates, link, shown = corpus()
    tail = np.arange(len(link)) % 2 == 0
    shown = shown * np.where(tail, 0.2, 1.0)
    there = replace(candidates, place=np.where(tail, 6, 0))
    places = learned_naming(there, link, shown, np.ones(len(link))).places
    assert places[0] == 1.0 == max(places)
    assert places[6] == pytest.approx(0.2, abs=0.03)


def with_group(size, shown_there, number=7):
    """Learn on the corpus and on a group of so many pairs that say "jaguar", of whose images a part shows the car."""
    candidates, link, shown = corpus()
    draw = np.random.default_rng(1)
    group = named(np.tile([0, 1], size), np.zeros(2 * size), group=number)
    there = np.where(group.entity == 1, draw.random(2 * size) < shown_there, 0.0)
    both = named(*(np.append(getattr(candidates, each), getattr(group, each)) for each in ("entity", "name", "place")))
    both = replace(both, group=np.append(candidates.group, group.group))
    weight = np.append(np.ones(len(link)), np.full(2 * size, 1 / size))
    return learned_naming(both, np.append(link, np.full(2 * size, 0.5)), np.append(shown, there), weight)


def test_boilerplate_is_shown_less_than_the_same_names_elsewhere():
    naming = with_group(300, shown_there=0.0)
    assert list(naming.groups) == [7]
    boilerplate, elsewhere = naming.factors(named([1, 1], [0, 0], group=[7, 8]))
    assert boilerplate < 0.1 * elsewhere
    # Without the group's factor: entities and senses hardly count it.
    assert replace(naming, groups={}).factors(named([1], [0]))[0] == pytest.approx(
        learned().factors(named([1], [0]))[0], rel=0.01
    )


@pytest.mark.parametrize(("size", "shown_there"), [(300, 1.0), (4, 0.0)], ids=["shows what it names", "is small"])
def test_other_groups_have_no_factor(size, shown_there):
    assert with_group(size, shown_there).groups == {}


def test_a_groups_factor_is_kept_in_a_calibrations_file(tmp_path):
    number = 2**64 - 1
    naming = with_group(300, 0.0, number)
    Calibration((0.0, 1.0), (0.0, 1.0), 0.5, 1.0, 10, naming=naming).save(tmp_path / "calibration.json")
    candidates = named([1], [0], group=number)
    assert Calibration.load(tmp_path / "calibration.json").naming.factors(candidates) == naming.factors(candidates)


def test_what_is_not_known_changes_nothing():
    assert Naming().factors(named([0, 2], [0, 1], [0, 7])).tolist() == [1.0, 1.0]
    nothing = np.zeros(0, np.int64)
    assert (
        Naming().factors(Named([], np.zeros(0), nothing, [], nothing, nothing, np.zeros(0, np.uint64))).tolist() == []
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
