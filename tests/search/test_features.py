"""Features of results against their definitions, by SciPy."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from openmofi.search.rank.calibration import NAMES, SAME, Surroundings
from openmofi.search.rank.recognition import NAMES as OF_CANDIDATES
from openmofi.search.rank.recognition import candidates_of


def unit(draw, count: int, dim: int = 24) -> np.ndarray:
    vectors = draw.normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("scale", [14.0, 100.0])
@pytest.mark.parametrize("known", [False, True])
def test_margin_and_agreement_are_those_of_their_definitions(scale, known):
    draw = np.random.default_rng(int(scale))
    reference, images = unit(draw, 60), unit(draw, 40)
    query = reference[7] if known else unit(draw, 1)[0]
    images[:5] = reference[7]
    around = Surroundings(unit(draw, 50), reference, scale)
    cosines = images @ query
    found = around.features(query, images, cosines)
    wide = reference.astype(np.float64)
    scores, own = scale * images @ wide.T, scale * wide @ query
    others = own < scale * SAME
    assert (~others).sum() == known
    assert found[:, NAMES.index("margin")] == pytest.approx(
        scale * cosines.astype(np.float64) - logsumexp(scores[:, others], axis=1), abs=1e-4
    )
    agreement = np.log(softmax(scores, axis=1) @ softmax(own))
    assert found[:, NAMES.index("agreement")] == pytest.approx(np.maximum(agreement, -20), abs=1e-4)


def test_a_reference_that_means_the_query_is_no_other():
    draw = np.random.default_rng(0)
    entity, images = unit(draw, 1), unit(draw, 3)
    alone = Surroundings(unit(draw, 50), entity, 30.0)
    cosines = images @ entity[0]
    assert alone.features(entity[0], images, cosines)[:, NAMES.index("margin")] == pytest.approx(30 * cosines, abs=1e-5)
    assert not Surroundings(images, entity[:0], 30.0).features(entity[0], images, cosines)[:, 2].any()


def test_margins_of_candidates_are_over_the_references_that_are_others():
    draw = np.random.default_rng(1)
    entities, image = unit(draw, 30), unit(draw, 1)[0]
    around = Surroundings(unit(draw, 50), entities[:12], 100.0)
    found = candidates_of(image, entities, around, [(0.9, [3]), (0.8, [20])])
    scores = 100.0 * entities[:12].astype(np.float64) @ image
    for entity, margin in zip(found.entities.tolist(), found.features[:, 1], strict=True):
        others = np.arange(12) != entity
        assert margin == pytest.approx(100.0 * (entities[entity] @ image) - logsumexp(scores[others]), abs=1e-4)


def test_what_the_nearest_images_say_of_a_candidate():
    draw = np.random.default_rng(2)
    entities, image = unit(draw, 30), unit(draw, 1)[0]
    around = Surroundings(unit(draw, 50), entities[:12], 100.0)
    near = [(0.9, []), (0.8, [3]), (0.75, []), (0.7, [20, 3]), (0.6, [])]
    found = candidates_of(image, entities, around, near)
    of = dict(zip(found.entities.tolist(), found.features.tolist(), strict=True))
    names = OF_CANDIDATES.index
    weights = np.exp(20 * (np.array([0.9, 0.8, 0.75, 0.7, 0.6]) - 0.9))
    assert {3, 20} < set(of)
    for entity, nearest, votes in ((3, 0.8, weights[[1, 3]].sum()), (20, 0.7, weights[3])):
        assert of[entity][names("behind")] == pytest.approx(nearest - 0.9)
        assert of[entity][names("behind ten")] == pytest.approx(nearest - 0.75)
        assert np.exp(of[entity][names("votes of all")]) == pytest.approx(votes / weights.sum() + 0.02)
    unseen = next(entity for entity in of if entity not in (3, 20))
    assert of[unseen][names("behind")] == pytest.approx(0.7 - 0.9)
    assert {row[names("labelled of 50")] for row in of.values()} == {0.4}
    assert found.unnamed_features()[0, -1] == 0.4
    assert candidates_of(image, entities, around, []).features[:, names("behind") :].max() == 0


def test_an_entity_that_is_left_out_is_no_candidate_and_no_witness():
    draw = np.random.default_rng(3)
    entities, image = unit(draw, 30), unit(draw, 1)[0]
    around = Surroundings(unit(draw, 50), entities[:12], 100.0)
    near = [(0.9, [3]), (0.8, [3, 20]), (0.7, [])]
    least = candidates_of(image, entities, around, near, {3})
    alone = candidates_of(image, entities, around, [(0.9, []), (0.8, [20]), (0.7, [])])
    assert 3 not in least.entities
    kept = alone.entities != 3
    both = np.isin(least.entities, alone.entities)
    assert least.entities[both].tolist() == alone.entities[kept].tolist()
    lead = OF_CANDIDATES.index("lead")
    assert (
        np.delete(least.features[both], lead, axis=1)
        == pytest.approx(np.delete(alone.features[kept], lead, axis=1), abs=1e-6)
        or 3 in alone.entities
    )
    assert len(candidates_of(image, entities[:5], around, near[2:], range(5)).entities) == 0
