"""Features of results against their definitions, by SciPy."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from openmofi.search.rank.candidates import candidates_of
from openmofi.search.rank.features import NAMES, SAME, Surroundings


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
        scale * cosines.astype(np.float64) - logsumexp(scores[:, others], axis=1), abs=1e-4)
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
