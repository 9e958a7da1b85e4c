"""Student's t over seeds and groups, against SciPy and against simulated recipes."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from openmofi.bootstrap import paired_bootstrap
from openmofi.errors import OpenMofiError
from openmofi.plugins.benchmarks.by_t import difference_by_t, interval_by_t


def test_one_seed_whose_items_are_the_groups_is_scipys_paired_test():
    draw = np.random.default_rng(0)
    ours, theirs = draw.random(19) + 0.1, draw.random(19) + 1
    found, expected = difference_by_t(ours, theirs, range(19)), stats.ttest_rel(ours, theirs)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.difference_interval == pytest.approx(tuple(expected.confidence_interval()))
    assert (found.ours, found.theirs, found.seeds) == (pytest.approx(ours.mean()), pytest.approx(theirs.mean()), 1)
    alone = stats.ttest_1samp(ours, 0.0).confidence_interval(0.9)
    assert interval_by_t(ours, range(19), level=0.9) == pytest.approx(tuple(alone))


def test_seeds_on_items_that_are_all_alike_are_welchs_test():
    draw = np.random.default_rng(1)
    ours, theirs = draw.random((3, 1)) + 0.3, 0.2 * draw.random((5, 1))
    found = difference_by_t(np.tile(ours, 8), np.tile(theirs, 8), np.arange(8) // 2)
    expected = stats.ttest_ind(ours[:, 0], theirs[:, 0], equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.difference_interval == pytest.approx(tuple(expected.confidence_interval()))
    assert found.seeds == 5


def recipes(
    draw: np.random.Generator, spread: float, seeds: int, better: float = 0.0, others: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Right answers on 300 items by two recipes, whose seeds differ in skill by `spread`."""
    easy = draw.beta(2, 2, 300)

    def runs(skill: float, seeds: int) -> np.ndarray:
        skills = skill + spread * draw.standard_normal((seeds, 1))
        return (draw.random((seeds, 300)) < np.clip(easy + skills, 0, 1)).astype(float)

    return runs(better, seeds), runs(0.0, others or seeds)


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.06])
@pytest.mark.parametrize(("seeds", "others"), [(3, 3), (3, 1), (1, 4)])
def test_equal_recipes_seldom_differ_however_much_their_seeds_do(spread, seeds, others):
    draw = np.random.default_rng(2)
    found = [
        difference_by_t(*recipes(draw, spread, seeds, others=others), np.arange(300) // 3).p_value for _ in range(400)
    ]
    assert np.mean(np.less(found, 0.05)) <= 0.07


def test_what_one_run_of_each_cannot_know():
    """The bootstrap of single runs takes chance of the training for skill; that is what a caution is printed for."""
    draw = np.random.default_rng(3)
    tested = [paired_bootstrap(*np.concatenate(recipes(draw, 0.06, 1)), np.arange(300)).p_value for _ in range(100)]
    assert np.mean(np.less(tested, 0.05)) > 0.2


def test_a_better_recipe_is_found():
    draw = np.random.default_rng(4)
    found = [difference_by_t(*recipes(draw, 0.02, 5, better=0.12), np.arange(300)) for _ in range(100)]
    assert np.mean([one.p_value < 0.05 for one in found]) > 0.9
    covered = [one.difference_interval[0] <= 0.11 <= one.difference_interval[1] for one in found]
    assert np.mean(covered) > 0.9


def test_a_single_run_is_taken_to_vary_as_the_others_do():
    draw = np.random.default_rng(5)
    ours, theirs = recipes(draw, 0.06, 3)
    alone = difference_by_t(ours, theirs[:1], np.arange(300))
    assert alone.seeds == 3
    together, fixed = (
        difference_by_t(ours, theirs, np.arange(300)),
        difference_by_t(ours.mean(axis=0), theirs[0], np.arange(300)),
    )
    width = np.ptp(alone.difference_interval)
    assert width > np.ptp(fixed.difference_interval)
    assert width > np.ptp(together.difference_interval)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4), st.integers(2, 9))
def test_swapping_swaps_the_signs_and_the_gain_has_the_signs_of_the_difference(seed, mine, other, groups):
    draw = np.random.default_rng(seed)
    ours, theirs, of = draw.random((mine, 20)) + 0.5, draw.random((other, 20)) + 0.5, draw.integers(0, groups, 20)
    one, swapped = difference_by_t(ours, theirs, of), difference_by_t(theirs, ours, of)
    assert one.difference == pytest.approx(-swapped.difference)
    assert one.p_value == pytest.approx(swapped.p_value)
    np.testing.assert_allclose(one.difference_interval, np.negative(swapped.difference_interval)[::-1])
    inside = one.difference_interval[0] < 0 < one.difference_interval[1]
    assert inside == (one.p_value > 0.05)
    assert one.gain == pytest.approx(one.ours / one.theirs - 1)
    assert one.gain_interval[0] <= one.gain <= one.gain_interval[1]


def test_rows_that_one_seed_lacks_are_left_out_of_all():
    draw = np.random.default_rng(6)
    values, of = draw.random((3, 30)), np.arange(30) // 3
    holes = values.copy()
    holes[1, ::4] = np.nan
    kept = ~np.isnan(holes).any(axis=0)
    assert interval_by_t(holes, of) == interval_by_t(values[:, kept], of[kept])
    assert difference_by_t(holes, values, of) == difference_by_t(values[:, kept], values[:, kept], of[kept])


def test_what_says_nothing_of_its_spread_has_no_interval():
    low, high = interval_by_t([0.3, 0.4], ["one", "one"])
    assert np.isnan([low, high]).all()
    found = difference_by_t([1.0, 1.0], [0.0, 0.0], [0, 0])
    assert found.p_value == 1.0
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["difference_interval"] == [None, None]
    with pytest.raises(OpenMofiError, match="no values to average"):
        interval_by_t([np.nan], [0])
    with pytest.raises(OpenMofiError, match="do not fit groups"):
        difference_by_t([1.0, 2.0], [1.0], [0, 1])
