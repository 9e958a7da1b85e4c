"""The rounds of a calibration on corpora of known truth whose images have features."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from openmofi.labeling.calibrate.calibration import MINIMUM, Calibration
from openmofi.labeling.calibrate.evidence import Evidence
from openmofi.labeling.calibrate.naming import Naming
from openmofi.labeling.calibrate.neighbours import Gallery, Space
from openmofi.labeling.calibrate.rounds import CalibrationSample, estimated, fit_rounds, judged_by

pytestmark = pytest.mark.slow

ENTITIES, DIM = 40, 16


def corpus(pairs=3000, separation=1.5, share=0.6, look=3.0, seed=0):
    """Each text names one entity, shown with probability `share`; images of an entity look alike by `look` SD."""
    draw = np.random.default_rng(seed)
    named, shown = draw.integers(0, ENTITIES, pairs), draw.random(pairs) < share
    depicted = np.where(shown, named, draw.integers(0, ENTITIES, pairs))
    shown = depicted == named
    features = look * draw.standard_normal((ENTITIES, DIM))[depicted] + draw.standard_normal((pairs, DIM))
    other = draw.integers(0, pairs, pairs)
    candidate = np.flatnonzero(named[other] != named)
    other = other[candidate]
    real = draw.standard_normal(pairs) + separation * shown
    decoys = draw.standard_normal(len(candidate)) + separation * (depicted[other] == named[candidate])
    number, texts = np.arange(pairs), [f"w{number}a w{number}b w{number}c" for number in range(pairs)]
    evidence = Evidence(
        real.astype(np.float32),
        decoys.astype(np.float32),
        np.full(pairs, 0.9, np.float32),
        number,
        number,
        named,
        candidate,
        other,
        draw.standard_normal(4 * pairs).astype(np.float32),
        np.tile(named, 4),
        np.zeros(pairs, np.int64),
        np.full(len(candidate), -1),
        np.full(len(candidate), np.nan, np.float32),
    )
    ids = [f"e{number}" for number in range(ENTITIES)]
    space = Space.of(features)
    images = space.project(features).astype(np.float16)
    gallery = Gallery.of(space, images, texts, ids, number, named, evidence.link_score)
    sample = CalibrationSample(
        evidence,
        ids,
        np.zeros(ENTITIES, np.float32),
        ids,
        named,
        number,
        number.astype(np.uint64),
        gallery,
        gallery.nearest(images, gallery.words, number),
    )
    return sample, shown


def right(fitted, shown, threshold=0.8):
    accepted = fitted.probability >= threshold
    return shown[accepted].sum(), shown[accepted].mean(), fitted.probability[accepted].mean()


def test_votes_find_more_and_claim_no_more_than_they_reach():
    sample, shown = corpus()
    alone, voted = (fit_rounds(each) for each in (replace(sample, gallery=None, nearest=None), sample))
    found = [right(each, shown) for each in (alone, voted)]
    assert found[1][0] > 1.5 * found[0][0]
    assert found[1][1] > 0.95
    assert found[1][2] - found[1][1] < 0.03
    assert (alone.calibration.votes, alone.gallery) == (0.0, None)
    assert voted.calibration.votes > 0


def test_votes_of_images_that_say_nothing_do_no_harm():
    sample, shown = corpus(separation=3.0, look=0.0)
    alone, voted = (right(fit_rounds(each), shown) for each in (replace(sample, gallery=None, nearest=None), sample))
    assert voted[0] > 0.9 * alone[0]
    assert voted[2] - voted[1] < 0.04


def test_what_is_fitted_judges_the_same_pairs_alike(tmp_path):
    sample, _ = corpus(1500)
    fitted = fit_rounds(sample)
    fitted.calibration.save(tmp_path / "calibration.json")
    again = judged_by(sample, Calibration.load(tmp_path / "calibration.json"), fitted.gallery)
    np.testing.assert_allclose(again.probability, fitted.probability, atol=1e-9)


def test_rescue_is_kept_only_where_the_evidence_becomes_likelier():
    sample, _ = corpus()
    rounds = fit_rounds(sample, rescue=2).calibration.report["rounds"]
    assert [each["step"] for each in rounds[:2]] == ["votes", "naming"]
    assert rounds[2]["step"] == "rescue 1"
    for before, after in pairwise(rounds[1:]):
        assert after["kept"] == (after["log_likelihood"] > before["log_likelihood"])
    assert len(fit_rounds(sample, rescue=0).calibration.report["rounds"]) == 2


def test_offsets_are_taken_off_where_entities_differ():
    sample, shown = corpus(separation=3.0)
    offset = 2.0 * np.random.default_rng(5).standard_normal(ENTITIES).astype(np.float32)
    part = sample.evidence
    shifted = replace(
        part,
        real=part.real + offset[part.entity],
        decoys=part.decoys + offset[part.decoy_entity],
        random=part.random + offset[part.random_entity],
    )
    fitted = fit_rounds(replace(sample, evidence=shifted, gallery=None, nearest=None))
    values = np.array([fitted.calibration.offsets[name] for name in sample.ids])
    assert np.corrcoef(values, offset)[0, 1] > 0.99
    assert right(fitted, shown)[1] > 0.95
    assert (
        not fit_rounds(replace(sample, gallery=None, nearest=None)).calibration.offsets
        or np.abs(list(fit_rounds(replace(sample, gallery=None, nearest=None)).calibration.offsets.values())).max()
        < 0.3
    )


def test_few_pairs_keep_the_stored_calibration():
    sample, _ = corpus(MINIMUM - 10)
    stored = Calibration((-5.0, 5.0), (-5.0, 5.0), 0.5, 1.0, 10, naming=Naming({"e1": 0.5}, groups={0: 0.1}))
    fitted = estimated(sample, stored)
    # Its groups are of another corpus.
    assert fitted.calibration == replace(stored, source="stored", naming=Naming({"e1": 0.5}))
    assert len(fitted.probability) == len(sample.evidence.real)
    assert estimated(corpus(600)[0], stored).calibration.source == "blended"


@pytest.mark.parametrize("pairs", [250, 400])
def test_small_corpora_have_finite_probabilities(pairs):
    fitted = fit_rounds(corpus(pairs)[0])
    assert ((fitted.probability >= 0) & (fitted.probability <= 1)).all()
