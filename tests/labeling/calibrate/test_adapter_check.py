"""Worlds of normal evidence, whose probabilities are Bayes' rule itself: what is claimed is known to hold or not."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.evidence import Evidence
from openmofi.labeling.calibrate.overclaim import JudgedSample, check_adapter

PASSED = {"status": "passed", "shift": 0.02, "standard_error": 0.02}
PAIRS = 4000


def world(separation, *, seed=0, absent=0.0, share=0.5, claimed=0.5, pairs=PAIRS, threshold=0.8):
    """Pairs of one mention with two senses each; of a `share` of them the first is shown.

    What is not shown lies at `absent`, decoys at 0; probabilities are those of a share `claimed` and of no shift.
    """
    draw = np.random.default_rng(seed)
    shown = np.stack([draw.random(pairs) < share, np.zeros(pairs, bool)], axis=1)
    evidence = draw.standard_normal((pairs, 2)) + np.where(shown, separation, absent)
    log_ratio = log_ratio_of(evidence, separation)
    odds = np.exp(log_ratio) * claimed / (1 - claimed) * [0.9, 0.1]
    probability = odds / (1 + odds.sum(axis=1, keepdims=True))
    pair = np.repeat(np.arange(pairs), 2)
    decoys = log_ratio_of(draw.standard_normal(2 * pairs), separation)
    judged = JudgedSample(probability.ravel(), log_ratio.ravel(), pair, pair, decoys, threshold, PASSED)
    return judged, shown.ravel()


def log_ratio_of(evidence, separation):
    """Of two normal distributions of variance 1, at `separation` and at 0."""
    return separation * evidence - separation**2 / 2


def test_the_worlds_claim_what_they_reach():
    judged, shown = world(3.0)
    assert shown[judged.accepted].mean() == pytest.approx(judged.probability[judged.accepted].mean(), abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_a_better_encoder_is_used_and_figures_are_those_of_the_probabilities(seed):
    (plain, _), (adapted, _) = world(2.0, seed=seed), world(3.0, seed=seed)
    check = check_adapter(plain, adapted)
    assert check.used, check.why
    accepted = adapted.probability[adapted.probability >= 0.8]
    assert check.right_with == round(accepted.sum(), 1)
    assert check.expected_precision == round(accepted.mean(), 4)
    assert check.checked_precision >= check.expected_precision - 0.03
    assert f"{check.right_with:,.0f} labels are expected to be right with it" in check.why


@pytest.mark.parametrize("separation", [3.0, 2.8])
def test_what_gains_nothing_is_not_used(separation):
    (plain, _), (adapted, _) = world(3.0), world(separation, seed=1)
    check = check_adapter(plain, adapted)
    assert not check.used
    assert "no clear gain" in check.why


def test_pairs_of_one_group_count_as_one():
    (plain, _), (adapted, _) = world(2.0), world(2.3, seed=1)
    apart = check_adapter(plain, adapted)
    assert apart.used
    # Oracle: the same pairs eight times over have the standard error of the few, times eight.
    pair = np.tile(adapted.pair, 8) + np.repeat(np.arange(8) * PAIRS, len(adapted.pair))

    def often(judged):
        return replace(
            judged,
            log_ratio=np.tile(judged.log_ratio, 8),
            probability=np.tile(judged.probability, 8),
            mention=pair,
            pair=pair,
            pair_group=np.tile(np.arange(PAIRS), 8),
        )

    check = check_adapter(often(plain), often(adapted))
    assert check.right_with == pytest.approx(8 * apart.right_with, abs=1)
    assert 7 * apart.standard_error < check.standard_error < 8.1 * apart.standard_error


@pytest.mark.parametrize(
    ("plain_shift", "shift", "status", "used"),
    [
        (0.0, 0.3, "failed", False),
        (0.5, 0.9, "failed", False),
        (0.5, 0.55, "failed", True),
        (0.5, 0.2, "failed", True),
        (-0.6, 0.05, "passed", True),
        (0.0, 0.9, "untested", True),
    ],
)
def test_a_materially_larger_shift_is_a_reason_and_a_failed_test_of_both_is_none(plain_shift, shift, status, used):
    (plain, _), (adapted, _) = world(2.0), world(3.0)
    check = check_adapter(
        replace(plain, exchangeability=PASSED | {"shift": plain_shift}),
        replace(adapted, exchangeability=PASSED | {"shift": shift, "status": status}),
    )
    assert check.used == used
    assert used or f"{shift:.2f} SD above its decoys, and {plain_shift:.2f} without it" in check.why


def test_what_claims_more_than_decoys_bear_out_is_not_used():
    """Its log ratios are doubled: what a decoy seldom has then makes a label."""
    (plain, _), (fair, shown) = world(2.0), world(2.0, seed=1)
    odds = np.exp(2 * fair.log_ratio.reshape(-1, 2)) * [0.9, 0.1]
    probability = odds / (1 + odds.sum(axis=1, keepdims=True))
    adapted = replace(fair, probability=probability.ravel(), log_ratio=2 * fair.log_ratio, decoys=2 * fair.decoys)
    check = check_adapter(plain, adapted)
    assert check.expected_precision > shown[adapted.accepted].mean() + 0.05
    assert not check.used
    assert "by decoys reaches" in check.why


def test_decoys_of_the_same_group_show_what_was_learned_of_a_source():
    """What is not shown lies 1.5 SD above decoys of other groups: an adapter has learned the sources."""
    (plain, _), (adapted, shown) = world(1.5), world(3.0, absent=1.5, seed=1)
    near = np.arange(2 * PAIRS) % 2 == 0
    adapted = replace(adapted, decoys=adapted.decoys + 3.0 * 1.5 * near, near=near)
    check = check_adapter(plain, adapted)
    right = shown[adapted.accepted].mean()
    assert check.expected_precision > right + 0.05
    assert not check.used
    assert "by decoys of the same group" in check.why
    assert check.checked_precision == pytest.approx(right, abs=0.06)


def test_losing_senses_that_the_encoder_does_not_tell_apart_show_it():
    """Where the first sense is shown, the second's evidence is of the same distribution, and decoys know nothing of it.

    The calibration takes the first sense for hardly any likelier than the second.
    """
    draw, (plain, _), (fair, shown) = np.random.default_rng(5), world(1.5), world(3.0, seed=1)
    evidence = draw.standard_normal((PAIRS, 2)) + 3.0 * shown[::2, None]
    log_ratio = log_ratio_of(evidence, 3.0)
    odds = np.exp(log_ratio) * [0.55, 0.45]
    probability = odds / (1 + odds.sum(axis=1, keepdims=True))
    blind = replace(fair, log_ratio=log_ratio.ravel(), probability=probability.ravel())
    check = check_adapter(plain, blind)
    assert shown[blind.accepted].mean() < check.checked_precision < check.expected_precision - 0.1
    assert not check.used
    assert "by decoys reaches" in check.why


def test_too_little_to_check_is_a_reason_and_nothing_at_all_no_error():
    (plain, _), (adapted, _) = world(2.0), world(3.0)
    alone = {"mention": np.arange(2 * PAIRS), "decoys": np.zeros(5)}
    check = check_adapter(replace(plain, **alone), replace(adapted, **alone))
    assert not check.used
    assert "fewer than 30 decoys" in check.why
    none, number = np.zeros(0), np.zeros(0, np.int64)
    nothing = JudgedSample(none, none, number, number, none, 0.8, {})
    assert not check_adapter(nothing, nothing).used


def test_what_is_judged_are_log_ratios_at_the_evidence():
    number, none = np.array([0, 1]), np.zeros(0)
    evidence = Evidence(
        np.array([2.0, 3.0], np.float32),
        np.array([1.0], np.float32),
        np.ones(2, np.float32),
        np.array([0, 1]),
        np.array([0, 0]),
        np.array([1, 0]),
        np.array([1]),
        np.array([0]),
        none,
        number[:0],
        np.array([0, 0]),
        np.array([-1]),
        np.array([np.nan]),
    )
    calibration = Calibration((0.0, 9.0), (0.0, 18.0), 0.5, 1.0, 1, report={"exchangeability": PASSED})
    judged = JudgedSample.of(
        evidence, calibration, expit(np.array([1.0, 2.0])), np.array([1.5, 3.0]), np.array([0.5]), 0.8
    )
    assert (judged.log_ratio.tolist(), judged.decoys.tolist()) == ([3.0, 6.0], [1.0])
    assert (judged.mention.tolist(), judged.accepted.tolist()) == ([0, 1], [False, True])
    assert judged.exchangeability == PASSED
