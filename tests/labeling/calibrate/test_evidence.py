"""The evidence of candidates: of blocks that are joined, and of the first mentions."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.encoders.companions import Companions
from openmofi.features.entity_table import EntityEmbeddings, EntityFeatures
from openmofi.labeling.calibrate.evidence import (
    Candidates,
    ImageEvidence,
    View,
    gather_evidence,
    joined,
    judged_once,
)
from openmofi.labeling.tables import link_arrays
from openmofi.schema import LINK

ENTITIES, SCALE = 12, 10.0


class Plain:
    """Stands for an encoder whose embeddings are given."""

    spec, dim, companions = "plain", 4, Companions()

    def project_images(self, features):
        return features

    def project_texts(self, features):
        return features


def directions(draw, rows):
    values = draw.standard_normal((rows, 4)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def links_of(pairs):
    """Each pair is a list of (entity, mention), mentions ascending."""
    rows = [[{"entity": f"e{e:02d}", "mention": m, "prior": 0.5, "link_score": 0.3} for e, m in pair] for pair in pairs]
    return link_arrays(pa.array(rows, pa.list_(LINK)), 8)


def candidates_of(pairs):
    links = links_of(pairs)
    rows = np.array([int(name[1:]) for name in links.entity_ids.to_pylist()], np.int64)
    return Candidates.of(links, judged_once(links, np.ones(len(pairs), bool)), rows)


PAIRS = st.lists(
    st.lists(st.tuples(st.integers(0, ENTITIES - 1), st.integers(0, 2)), min_size=1, max_size=5, unique=True).map(
        lambda pair: sorted(pair, key=lambda link: link[1])
    ),
    min_size=1,
    max_size=12,
)


def rows_of(candidates):
    columns = (candidates.pair, candidates.mention, candidates.entity, candidates.link_score, candidates.place)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@settings(max_examples=60)
@given(PAIRS, st.lists(st.integers(0, 12), max_size=4))
def test_joined_blocks_are_the_candidates_of_all_pairs(pairs, cuts):
    edges = sorted({0, len(pairs), *(min(cut, len(pairs)) for cut in cuts)})
    parts = [candidates_of(pairs[start:end]) for start, end in pairwise(edges)]
    assert rows_of(joined(parts)) == rows_of(candidates_of(pairs))


def test_blocks_without_candidates_join_too():
    none, some = candidates_of([[], []]), candidates_of([[(1, 0)], [(2, 0), (3, 0)]])
    assert rows_of(joined([none, some, none])) == rows_of(some)


def gathered(seed=0):
    draw = np.random.default_rng(seed)
    pairs = [
        [(int(e), int(m)) for e, m in zip(draw.choice(ENTITIES, 5, replace=False), [0, 0, 0, 1, 1], strict=True)]
        for _ in range(80)
    ]
    embeddings = directions(draw, ENTITIES)
    features = EntityFeatures.of(pa.array([f"e{number:02d}" for number in range(ENTITIES)]), embeddings)
    view = View(Plain(), EntityEmbeddings(Plain(), features), embeddings[:6], SCALE)
    images = directions(draw, len(pairs))
    graph, group = directions(draw, ENTITIES), draw.integers(0, 9, len(pairs))

    def gather(count):
        seen = ImageEvidence((view,), np.zeros(count, np.int64), images[:count])
        return gather_evidence(candidates_of(pairs[:count]), seen, graph, group[:count], seed=3)

    def score(image, entity):
        reference = np.exp(SCALE * images @ embeddings[:6].T).mean(axis=1)
        return SCALE * np.einsum("nd,nd->n", images[image], embeddings[entity]) - np.log(reference)[image]

    return gather, score


def test_evidence_is_the_score_of_what_was_drawn():
    gather, score = gathered()
    found = gather(80)
    np.testing.assert_allclose(found.real, score(found.pair, found.entity), atol=1e-4)
    np.testing.assert_allclose(found.decoys, score(found.other, found.entity[found.candidate]), atol=1e-4)
    has = found.rival >= 0
    assert has.sum() > 50
    np.testing.assert_allclose(found.rivals[has], score(found.other, found.entity[found.rival])[has], atol=1e-4)
    assert np.isnan(found.rivals[~has]).all()


def test_the_first_is_what_the_first_mentions_give():
    gather, _ = gathered()
    whole, of_first = gather(80), gather(30)
    count = len(of_first.real)
    found = whole.first(count)
    for name in ("real", "link_score", "mention", "pair", "entity", "place"):
        np.testing.assert_allclose(getattr(found, name), getattr(of_first, name), atol=1e-5)
    assert (found.mentions, found.pairs) == (of_first.mentions, of_first.pairs)
    # Their decoys are all that the whole has for them, and images of all pairs.
    names = ("candidate", "other", "decoys", "rival", "rivals")
    rows = [tuple(row) for row in zip(*(getattr(whole, name).tolist() for name in names), strict=True)]
    assert repr([row for row in rows if row[0] < count]) == repr(
        [tuple(row) for row in zip(*(getattr(found, name).tolist() for name in names), strict=True)]
    )
    assert found.other.max() >= 30
    assert found.rival.max() < count


def test_the_first_of_all_is_all():
    gather, _ = gathered()
    whole = gather(40)
    found = whole.first(len(whole.real))
    for name in ("real", "mention", "candidate", "other", "decoys", "rival", "rivals"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_offsets_are_taken_off_by_entity_from_all_that_is_its_own():
    gather, _ = gathered()
    whole, offset = gather(80), np.arange(ENTITIES) / 10.0
    found = whole.less(offset)
    np.testing.assert_allclose(whole.real - found.real, offset[whole.entity], atol=1e-5)
    np.testing.assert_allclose(whole.decoys - found.decoys, offset[whole.entity[whole.candidate]], atol=1e-5)
    has = whole.rival >= 0
    np.testing.assert_allclose((whole.rivals - found.rivals)[has], offset[whole.entity[whole.rival[has]]], atol=1e-5)
    assert np.isnan(found.rivals[~has]).all()
