import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from openmofi.errors import OpenMofiError
from openmofi.labeling.calibrate.calibration import (
    TOGETHER,
    Calibration,
    blindness,
    by_sense,
    fit_calibration,
    threshold_for_precision,
)
from openmofi.labeling.calibrate.mixture import Mixture, Prior
from plain_evidence import plain_evidence


def fit(evidence, link, group, pair, decoys):
    return fit_calibration(plain_evidence(evidence, decoys, link, group, pair), link)


def two_groups(mentions: int, shown: float, separation: float, seed: int = 0):
    """Mentions with 1–4 candidates; the true one, if shown, has evidence shifted by `separation`."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 5, mentions)
    group = np.repeat(np.arange(mentions), sizes)
    link = draw.random(len(group))
    link /= np.bincount(group, link)[group]
    link *= 0.95
    start = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    pick = np.array(
        [
            draw.choice(size, p=link[s : s + size] / link[s : s + size].sum())
            for s, size in zip(start, sizes, strict=True)
        ]
    )
    truth = np.zeros(len(group), bool)
    is_shown = draw.random(mentions) < shown * 0.95
    truth[(start + pick)[is_shown]] = True
    evidence = draw.standard_normal(len(group)) + separation * truth
    return evidence, link, group, draw.standard_normal(len(group)), truth


@pytest.mark.slow
@pytest.mark.parametrize("shown", [0.2, 0.5, 0.8])
def test_share_and_probabilities_are_recovered_without_labels(shown):
    evidence, link, group, decoys, truth = two_groups(8000, shown, 3.0)
    fitted = fit(evidence, link, group, group, decoys)
    assert fitted.shown == pytest.approx(shown, abs=0.06)
    probability = fitted.probability(evidence, link, group, group)
    bins = np.clip((probability * 10).astype(int), 0, 9)
    for number in range(10):
        inside = bins == number
        if inside.sum() > 300:
            assert truth[inside].mean() == pytest.approx(probability[inside].mean(), abs=0.11)


@pytest.mark.slow
@pytest.mark.parametrize("shown", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("separation", [1.5, 2.0, 3.0])
def test_expected_precision_is_the_observed_one(shown, separation):
    evidence, link, group, decoys, truth = two_groups(8000, shown, separation)
    probability = fit(evidence, link, group, group, decoys).probability(evidence, link, group, group)
    accepted = probability > 0.5
    tolerance = 0.05 if separation >= 2 else 0.1
    assert probability[accepted].mean() == pytest.approx(truth[accepted].mean(), abs=tolerance)


@pytest.mark.slow
def test_ratio_is_that_of_the_two_densities():
    evidence, link, group, decoys, _ = two_groups(20000, 0.5, 2.0, seed=1)
    fitted = fit(evidence, link, group, group, decoys)
    for at in (1.0, 2.0, 3.0):
        expected = norm.logpdf(at, 2.0) - norm.logpdf(at)
        assert np.interp(at, fitted.centres, fitted.log_ratio) == pytest.approx(expected, abs=0.5)
    assert (np.diff(fitted.log_ratio) >= 0).all()


def test_an_encoder_that_sees_nothing_accepts_nothing_with_confidence():
    evidence, link, group, decoys, _ = two_groups(4000, 0.5, 0.0)
    fitted = fit(evidence, link, group, group, decoys)
    ratio = np.exp(np.interp(evidence, fitted.centres, fitted.log_ratio))
    assert np.quantile(ratio, 0.95) < 3.0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-5, 5), st.floats(0, 1)), min_size=1, max_size=30))
def test_probabilities_of_a_mention_never_exceed_one(rows):
    rows = sorted(rows)
    group = np.unique([row[0] for row in rows], return_inverse=True)[1]
    link = np.array([row[2] for row in rows])
    link = link / np.maximum(np.bincount(group, link)[group], 1.0)
    calibration = Calibration((-1.0, 0.0, 1.0), (-3.0, 0.0, 4.0), 0.6, 0.1, 10)
    probability = calibration.probability(np.array([row[1] for row in rows]), link, group, np.zeros_like(group))
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (np.bincount(group, probability) <= 1 + 1e-9).all()


def test_one_candidate_is_bayes_rule():
    calibration = Calibration((0.0, 1.0), (0.0, np.log(9.0)), 0.5, 0.1, 10)
    found = calibration.probability(np.array([1.0]), np.array([0.8]), np.array([0]), np.array([0]))
    assert found[0] == pytest.approx(0.4 * 9 / (0.4 * 9 + 0.6))


def test_too_little_data_is_one_sentence():
    with pytest.raises(OpenMofiError, match="too few to calibrate"):
        fit(np.zeros(10), np.zeros(10), np.arange(10), np.arange(10), np.zeros(10))


def test_constant_scores_are_refused():
    flat = np.zeros(500)
    with pytest.raises(OpenMofiError, match="scores every image and entity alike"):
        fit(flat, flat, np.arange(500), np.arange(500), flat)


def test_saved_and_loaded_is_equal(tmp_path):
    calibration = Calibration((0.0, 1.0), (-1.0, 2.0), 0.4, 0.1, 7, "abc", ("a", "b"))
    calibration.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == calibration


@pytest.mark.parametrize("content", ["", "{}", '{"centres": 3}', "[1"])
def test_a_damaged_file_is_one_sentence(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(OpenMofiError, match="is not a calibration"):
        Calibration.load(tmp_path / "c.json")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0.05, 0.95))
def test_threshold_is_the_lowest_that_keeps_the_precision(values, target):
    probability = np.array(values)
    found = threshold_for_precision(probability, target)
    choices = [t for t in probability if probability[probability >= t].mean() >= target]
    if found < 1.0 or choices:
        assert probability[probability >= found].mean() >= target - 1e-9


def by_enumeration(mixture, log_ratio, log_companion, prior, correlation):
    """Sum one pair's states and sets of shown candidates one by one.

    Returns:
        (3, n) P(shown), P(another sense is shown), P(companion) and the likelihood beside that of decoys.
    """
    size, group = len(mixture.link), mixture.group.tolist()
    # n senses of the correlation ρ are worth n / (1 + (n − 1)·ρ) independent ones, in equal parts.
    worth = [1 / (1 + (group.count(mention) - 1) * correlation) for mention in group]
    ratio, companion = np.exp(log_ratio), np.exp(log_companion) ** np.array(worth)
    # Some mention means an entity at all unless none does; the more do, the more probably something is shown.
    none_meant = np.prod([1 - sum(mixture.link[c] for c in range(size) if group[c] == m) for m in set(group)])
    meant = 1 - none_meant
    pi = meant * (1 - (1 - prior.shown) ** ((mixture.link.sum() / meant) ** prior.breadth))
    sets = [
        chosen
        for count in range(1, size + 1)
        for chosen in combinations(range(size), count)
        if len({group[c] for c in chosen}) == count
    ]
    before = np.array([prior.together ** (len(chosen) - 1) * np.prod(mixture.link[list(chosen)]) for chosen in sets])
    shown, sibling, beside = np.zeros((3, size))
    total = (1 - pi) * (1 - prior.companions)
    of_subject = (1 - pi) * prior.companions * np.prod(companion)
    total += of_subject
    beside += of_subject
    for chosen, weight in zip(sets, pi * before / before.sum(), strict=True):
        weight *= np.prod([ratio[c] if c in chosen else companion[c] for c in range(size)])
        total += weight
        mentions = {group[c] for c in chosen}
        for c in range(size):
            (shown if c in chosen else sibling if group[c] in mentions else beside)[c] += weight
    return np.stack([shown, sibling, beside]) / total, total


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(0.01, 0.3), st.floats(-4, 6), st.floats(-2, 2)), min_size=1, max_size=7
    ),
    st.sampled_from(TOGETHER),
    st.floats(0, 1),
    st.floats(0.01, 0.99),
    st.floats(0, 0.9),
)
def test_closed_marginals_are_those_of_all_sets(rows, together, breadth, companions, correlation):
    rows = sorted(rows)
    group = np.unique([row[0] for row in rows], return_inverse=True)[1]
    mixture = Mixture(np.array([row[1] for row in rows]) / 2.5, group, np.zeros_like(group))
    curves = np.array([row[2:] for row in rows]).T
    prior = Prior(0.5, together, breadth, companions)
    found = mixture.posterior(*curves, prior, correlation)
    expected, likelihood = by_enumeration(mixture, *curves, prior, correlation)
    np.testing.assert_allclose([found.shown, found.sibling, found.companion], expected, rtol=1e-7, atol=1e-12)
    assert found.log_likelihood == pytest.approx(np.log(likelihood), abs=1e-9)


def test_senses_that_are_alike_say_no_more_than_one():
    prior, group = Prior(0.5, 0.001, 0.0, 0.3), np.repeat([0, 1], [1, 4])
    alone = Mixture(np.array([0.4]), group[:1], group[:1]).posterior(np.array([3.0]), np.array([1.5]), prior, 1.0)
    alike = Mixture(np.full(4, 0.1), np.zeros(4, np.int64), np.zeros(4, np.int64))
    found = alike.posterior(np.full(4, 3.0), np.full(4, 1.5), prior, 1.0)
    # What is not shown lies as high, each by a fourth.
    assert found.pair_companion / (1 - found.pair_shown) == pytest.approx(alone.pair_companion / (1 - alone.pair_shown))
    independent = alike.posterior(np.full(4, 3.0), np.full(4, 1.5), prior, 0.0)
    assert independent.pair_companion[0] > found.pair_companion[0]


@pytest.mark.parametrize(("exclusive", "expected"), [(True, 0.01), (False, 1.0)])
def test_whether_entities_are_shown_together_is_learned(exclusive, expected):
    draw = np.random.default_rng(3)
    pair = np.repeat(np.arange(4000), 3)
    truth = draw.random(len(pair)) < 0.4
    if exclusive:
        truth &= np.arange(len(pair)) % 3 == draw.integers(0, 3, 4000)[pair]
    evidence = draw.standard_normal(len(pair)) + 3.0 * truth
    group = np.arange(len(pair))
    fitted = fit(evidence, np.full(len(pair), 0.9), group, pair, draw.standard_normal(len(pair)))
    assert fitted.together <= expected if exclusive else fitted.together >= 0.3


def test_a_text_of_a_thousand_names_stays_finite():
    group = np.arange(1000)
    mixture = Mixture(np.full(1000, 0.9), group, np.zeros(1000, np.int64))
    found = mixture.posterior(np.full(1000, np.log(1e5)), np.zeros(1000), Prior(0.5, 1.0), 0.0).shown
    assert np.isfinite(found).all()
    assert (found > 0.99).all()


@pytest.mark.parametrize(
    ("candidates", "decoys", "says"),
    [
        (201, 150, "201 linked candidates, but only 150 decoys .*at least 200 decoys"),
        (199, 500, "Only 199 linked candidates .*at least 200 linked candidates"),
    ],
)
def test_what_was_short_is_named(candidates, decoys, says):
    rows = np.arange(candidates)
    with pytest.raises(OpenMofiError, match=says):
        fit(np.zeros(candidates), np.zeros(candidates), rows, rows, np.zeros(decoys))


@pytest.mark.parametrize(
    "change",
    [
        {"centres": [0.0, "x"]},
        {"centres": [0.0]},
        {"log_ratio": [0.0, float("nan")]},
        {"shown": float("inf")},
        {"origin": 3},
    ],
)
def test_numbers_that_are_no_curve_are_refused(tmp_path, change):
    Calibration((0.0, 1.0), (-1.0, 2.0), 0.4, 0.1, 7, "abc", ("a", "b")).save(tmp_path / "c.json")
    (tmp_path / "c.json").write_text(json.dumps(json.loads((tmp_path / "c.json").read_text()) | change))
    with pytest.raises(OpenMofiError, match="is not a calibration"):
        Calibration.load(tmp_path / "c.json")


MENTIONS = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 0.2)), max_size=30)


@given(MENTIONS, st.floats(0, 1))
def test_divided_anew_a_mention_has_the_same_sum_and_order(rows, weight):
    rows.sort(key=lambda row: row[0])
    group, probability = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows])
    found = by_sense(probability, group, weight)
    assert found.shape == probability.shape
    assert (found >= 0).all()
    for mention in np.unique(group):
        before, after = probability[group == mention], found[group == mention]
        assert after.sum() == pytest.approx(before.sum(), rel=1e-9, abs=1e-12)
        order = np.argsort(before, kind="stable")
        assert (np.diff(after[order]) >= -1e-12).all()


@given(MENTIONS)
def test_divided_by_a_weight_of_1_nothing_changes_and_by_0_shares_are_equal(rows):
    rows.sort(key=lambda row: row[0])
    group, probability = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows])
    np.testing.assert_array_equal(by_sense(probability, group, 1.0), probability)
    for mention in np.unique(group):
        inside = by_sense(probability, group, 0.0)[group == mention]
        np.testing.assert_allclose(inside, probability[group == mention].mean(), atol=1e-12)


def test_shares_are_in_proportion_to_powers():
    found = by_sense(np.array([0.64, 0.16, 0.5]), np.array([3, 3, 8]), 0.5)
    # The square roots of .64 and .16 are as 2 to 1.
    np.testing.assert_allclose(found, [0.8 * 2 / 3, 0.8 / 3, 0.5])


def nothing_or_all(pairs, share, separation):
    """Pairs that name one entity, and what a pair that shows it is worth on average by the true densities, in nats."""
    draw = np.random.default_rng(0)
    pair, shown = np.arange(pairs), draw.random(pairs) < share
    evidence = draw.standard_normal(pairs) + separation * shown
    report = fit(evidence, np.full(pairs, 0.9), pair, pair, draw.standard_normal(pairs)).report
    z = np.linspace(-10, 15, 20_001)
    mixed = (1 - share) * norm.pdf(z) + share * norm.pdf(z - separation)
    return report, np.trapezoid(mixed * (np.log(mixed) - norm.logpdf(z)), z) / share


@pytest.mark.parametrize(("share", "separation"), [(0.45, 3.0), (0.27, 3.0)])
def test_information_is_that_of_the_densities(share, separation):
    report, worth = nothing_or_all(12_000, share, separation)
    assert report["information"] == pytest.approx(worth, rel=0.08)
    assert report["blind"] is False
    assert blindness(report) == ""


@pytest.mark.parametrize(("shown", "separation"), [(0.1, 2.5), (0.03, 2.5)])
def test_where_images_say_little_a_job_is_blind_however_far_apart_the_rest_lies(shown, separation):
    evidence, link, group, decoys, _ = two_groups(4000, shown, separation)
    report = fit(evidence, link, group, group, decoys).report
    assert report["separation"] >= 2
    assert report["information"] < 1
    assert report["blind"] is True
    times = f"{np.exp(report['information']):.1f}"
    assert blindness(report) == (
        f"This encoder can't tell these entities apart: an image speaks for what it shows by {times} to 1, and "
        "labels can be trusted from 2.7 to 1 on."
    )


def test_an_encoder_that_sees_nothing_says_nothing():
    evidence, link, group, decoys, _ = two_groups(4000, 0.5, 0.0)
    report = fit(evidence, link, group, group, decoys).report
    assert report["information"] < 0.1
    assert report["blind"] is True
    assert "SD above what is not, and labels can be trusted from 2 on." in blindness(report)


def test_the_correlation_is_that_of_decoys_and_their_rivals():
    evidence, link, group, _, _ = two_groups(4000, 0.5, 3.0)
    draw, count = np.random.default_rng(1), 6000
    for correlation in (0.0, 0.4, 0.8):
        pairs = draw.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], count)
        rivals = np.where(np.arange(count) % 3 == 0, np.nan, pairs[:, 1])
        rival = np.where(np.isfinite(rivals), 0, -1)
        whole = plain_evidence(evidence, pairs[:, 0], link, group, group, rival=rival, rivals=rivals)
        assert fit_calibration(whole, link).correlation == pytest.approx(correlation, abs=0.05)
    assert fit(evidence, link, group, group, draw.standard_normal(count)).correlation == 0.0
