"""Calibration on worlds of known truth, drawn by `benchmarks/calibration.py`: no more is claimed than is reached."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from openmofi.labeling.calibrate.calibration import fit_calibration, threshold_for_precision
from openmofi.labeling.calibrate.rounds import fit_rounds
from plain_evidence import plain_evidence

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from calibration import World, simulate


@cache
def fitted(world, seed):
    corpus = simulate(world, seed)
    found = fit_rounds(corpus.sample)
    return corpus, found.calibration, found.probability


def figures(world, seeds=3, target=0.95):
    """Pooled found precision less expected, and recall beside the oracle's."""
    accepted, expected, right, best = 0, 0.0, 0, 0
    for seed in range(seeds):
        corpus, _, probability = fitted(world, seed)
        chosen = probability >= threshold_for_precision(probability, target)
        accepted, expected = accepted + int(chosen.sum()), expected + float(probability[chosen].sum())
        right += int(corpus.truth[chosen].sum())
        best += int(corpus.truth[corpus.oracle >= threshold_for_precision(corpus.oracle, target)].sum())
    return (right - expected) / max(accepted, 1), right / max(best, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        World(10_000, 0.7, 4.0),
        World(10_000, 0.1, 4.0),
        World(10_000, 0.9, 2.0),
        World(10_000, 0.5, 3.0, several=0.5),
        World(10_000, 0.7, 4.0, offsets=1.5),
    ],
    ids=["common", "rare", "blurred", "several", "offsets"],
)
def test_expected_precision_is_reached_at_nearly_the_oracles_recall(world):
    gap, recall = figures(world)
    assert abs(gap) <= 0.03
    assert recall >= 0.85


@pytest.mark.slow
def test_what_boilerplate_names_is_not_taken_for_what_is_shown():
    world = World(10_000, 0.7, 3.0, boilerplate=0.5)
    corpus, calibration, _ = fitted(world, 0)
    repeated = set(corpus.sample.groups[np.bincount(corpus.sample.pair_group) > 1].tolist())
    assert set(calibration.naming.groups) == repeated
    shown = np.bincount(corpus.sample.evidence.pair, corpus.truth) > 0
    assert calibration.report["share"] == pytest.approx(shown.mean(), abs=0.03)
    gap, recall = figures(world)
    assert gap >= -0.02
    assert recall >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("companions", ["pairs", "mentions", "all"])
@pytest.mark.parametrize(("share", "separation", "shift"), [(0.7, 4.0, 1.0), (0.7, 4.0, 2.0), (0.3, 3.0, 2.0)])
def test_shifted_companions_are_not_taken_for_what_is_shown(companions, share, separation, shift):
    gap, _ = figures(World(10_000, share, separation, companions, shift), seeds=2)
    assert gap >= -0.05


def test_a_small_corpus_claims_no_more_than_it_reaches():
    gap, recall = figures(World(1_000, 0.5, 3.0), seeds=12)
    assert gap >= -0.03
    assert recall >= 0.75


def test_the_oracle_is_calibrated():
    for world in (World(20_000, 0.5, 2.0, "pairs", 1.0, several=0.5), World(20_000, 0.5, 2.0, "mentions", 1.0)):
        corpus = simulate(world, 0)
        bins = np.minimum((corpus.oracle * 10).astype(int), 9)
        for number in range(10):
            inside = bins == number
            assert corpus.truth[inside].mean() == pytest.approx(corpus.oracle[inside].mean(), abs=0.05)


@pytest.mark.parametrize(
    ("world", "status"),
    [
        pytest.param(World(10_000, 0.7, 4.0), "passed", marks=pytest.mark.slow),
        (World(10_000, 0.3, 3.0), "passed"),
        (World(10_000, 0.7, 4.0, "pairs", 1.0), "failed"),
        pytest.param(World(10_000, 0.7, 4.0, "all", 1.0), "failed", marks=pytest.mark.slow),
    ],
)
def test_exchangeability_is_tested_on_losing_senses(world, status):
    corpus, calibration, _ = fitted(world, 0)
    report = calibration.report["exchangeability"]
    assert report["status"] == status
    # Of truth: how far the losing senses lie above the decoys.
    part = corpus.sample.evidence
    losing = ~corpus.truth & (np.bincount(part.mention, corpus.truth)[part.mention] > 0)
    shift = (part.real[losing].mean() - part.decoys.mean()) / part.decoys.std()
    assert report["shift"] == pytest.approx(shift, abs=0.15)


def test_mentions_of_one_candidate_leave_exchangeability_untested():
    draw = np.random.default_rng(0)
    pair = np.arange(3000)
    evidence = draw.standard_normal(3000) + 3.0 * (draw.random(3000) < 0.5)
    link = np.full(3000, 0.9)
    report = fit_calibration(plain_evidence(evidence, draw.standard_normal(3000), link, pair, pair), link).report
    assert report["exchangeability"]["status"] == "untested"


def test_the_report_says_what_was_found():
    corpus, calibration, _ = fitted(World(10_000, 0.4, 3.0), 0)
    pairs = np.bincount(corpus.sample.evidence.pair, corpus.truth) > 0
    assert calibration.report["share"] == pytest.approx(pairs.mean(), abs=0.05)
    assert calibration.report["separation"] == pytest.approx(3.0, abs=0.3)
    assert calibration.report["best_precision"] > 0.95
    blind = fitted(World(4_000, 0.1, 1.0), 0)[1].report
    assert blind["best_precision"] < 0.9
