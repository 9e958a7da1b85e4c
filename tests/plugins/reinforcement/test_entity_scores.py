"""A teacher's likeliest entities are those of a plain softmax over all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from small_stores import directions, write_labels

from openmofi.encoders import open_encoder
from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.texts import entity_text
from openmofi.pairs import read_pairs
from openmofi.plugins.reinforcement import Knowledge, ReinforceSettings, TeacherSpec, reinforce
from openmofi.plugins.reinforcement.teachers import top_entities

TEACHER = (TeacherSpec("sample", 20.0),)


@given(st.integers(0, 5), st.integers(1, 40), st.integers(1, 8), st.integers(0, 1000))
def test_the_top_is_that_of_a_plain_softmax(images, entities, count, seed):
    count = min(count, entities)
    first, second = directions((images, 6), seed), directions((entities, 6), seed + 1)
    ids, shares = top_entities(first, second, 25.0, count)
    assert (ids.dtype, shares.dtype) == (np.int32, np.float16)
    assert ids.shape == shares.shape == (images, count)
    for row in range(images):
        expected = softmax(25.0 * second.astype(float) @ first[row].astype(float))
        order = sorted(range(entities), key=lambda entity, expected=expected: -expected[entity])[:count]
        np.testing.assert_allclose(shares[row], expected[order], rtol=2e-3, atol=1e-7)
        np.testing.assert_allclose(expected[ids[row]], expected[order], rtol=1e-4)
        assert len(set(ids[row].tolist())) == count


def test_among_equals_the_first_comes_first():
    ids, shares = top_entities(np.ones((1, 1), np.float32), np.ones((5, 1), np.float32), 10.0, 5)
    assert ids.tolist() == [[0, 1, 2, 3, 4]]
    np.testing.assert_allclose(shares, 0.2, rtol=1e-3)


@pytest.mark.slow
def test_the_jobs_scores_are_of_what_the_teacher_embedded(shards, labelled, small_world, small_encoder, tmp_path):
    settings = ReinforceSettings(
        (TeacherSpec(small_encoder, 30.0),), augmentations=2, captions=0, size=64, entity_scores=3
    )
    reinforce(shards[:1], labelled, tmp_path, settings, kb=small_world.kb)
    knowledge, kb, encoder = Knowledge.open(tmp_path), KnowledgeBase.open(small_world.kb), open_encoder(small_encoder)
    entities = knowledge.entities()
    assert 3 <= len(entities) <= 8
    texts = encoder.embed_texts([entity_text(kb, kb.row(entity), "{name}: {description}") for entity in entities])
    keys = [pair.key for pair in read_pairs(shards[0])]
    found = knowledge.take([shards[0].name] * len(keys), keys, np.ones(len(keys), int), np.zeros(len(keys), int))
    name = knowledge.teachers[0].name
    assert found.known.sum() > 70
    assert (found.entity_ids[name][~found.known] == -1).all()
    for row in np.flatnonzero(found.known):
        # Of the embeddings as stored, in half precision.
        expected = softmax(30.0 * texts.astype(float) @ found.image[name][row].astype(float))
        np.testing.assert_allclose(found.entity_scores[name][row], expected[found.entity_ids[name][row]], atol=1e-2)
        np.testing.assert_allclose(found.entity_scores[name][row], np.sort(expected)[::-1][:3], atol=1e-2)


@pytest.mark.slow
def test_scores_that_cannot_be_had_are_refused(shards, small_world, tmp_path):
    labels = write_labels(tmp_path / "labels", shards[:1], [[]], kb=KnowledgeBase.open(small_world.kb).fingerprint)
    scored = ReinforceSettings(TEACHER, entity_scores=3)
    with pytest.raises(UsageError, match="need a knowledge base"):
        reinforce(shards[:1], labels, tmp_path / "out", scored)
    with pytest.raises(UsageError, match="accepts 0 entities, fewer than --entity-scores 3"):
        reinforce(shards[:1], labels, tmp_path / "out", scored, kb=small_world.kb)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="entity_scores is -1"):
        ReinforceSettings(TEACHER, entity_scores=-1)
