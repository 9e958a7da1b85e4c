"""Corpora of `benchmarks/base_size.py`: bases grow around the same pages, and the cut into shards changes nothing."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from base_size import label
from base_worlds import BaseWorld, simulate


def words(block):
    return [set(text.split()) for text in block.table["text"].to_pylist()]


@pytest.mark.parametrize("senses", [1, 2])
def test_no_page_depends_on_the_base(senses):
    small, large = (simulate(BaseWorld(300, senses, base, 3.0)) for base in (5_000, 5_000_000))
    (few,), (many,) = small.job.read, large.job.read
    np.testing.assert_array_equal(few.features.values, many.features.values)
    np.testing.assert_array_equal(small.right >= 0, large.right >= 0)
    np.testing.assert_array_equal(shown_texts(small), shown_texts(large))
    assert all(before <= after for before, after in zip(words(few), words(many), strict=True))
    assert len(large.name) > 3 * len(small.name)
    assert len(many.links) > 2 * len(few.links)


def shown_texts(simulated):
    """Text vectors of what is named and shown."""
    entities, (block,) = simulated.job.entities, simulated.job.read
    shown = simulated.right[simulated.right >= 0]
    return entities.features[entities.places(block.links.entity_ids.take(shown))]


def test_what_is_shown_lies_as_far_above_the_rest_as_asked():
    simulated = simulate(BaseWorld(2_000, 1, 5_000, 3.0, missing=0.0))
    images, texts = simulated.job.read[0].features.values[simulated.right >= 0], shown_texts(simulated)
    other = np.random.default_rng(0).permutation(len(texts))
    is_other = (texts != texts[other]).any(axis=1)
    own, beside = ((images * each).sum(axis=1) for each in (texts, texts[other]))
    assert (own.mean() - beside[is_other].mean()) / beside[is_other].std() == pytest.approx(3.0, abs=0.5)


def test_the_cut_into_shards_changes_no_label():
    whole, cut = (label(BaseWorld(400, 2, 50_000, 4.0), shards) for shards in (1, 7))
    assert (whole.probability >= 0.8).sum() > 50
    np.testing.assert_array_equal(whole.page, cut.page)
    np.testing.assert_array_equal(whole.entity, cut.entity)
    np.testing.assert_allclose(whole.probability, cut.probability, atol=1e-4)
