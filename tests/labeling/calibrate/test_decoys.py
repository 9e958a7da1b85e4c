import numpy as np

from openmofi.labeling.calibrate.evidence import Kinship, draw_decoys, draw_random


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def one_mention_a_pair(entities):
    pairs = np.arange(len(entities))
    return pairs, np.asarray(entities, np.int64), pairs


def test_entities_without_relations_do_not_share_a_few_images():
    draw = np.random.default_rng(0)
    pair, entity, mention = one_mention_a_pair(np.arange(1000))
    same = Kinship(np.zeros((1000, 8), np.float32), np.ones((1000, 1), np.float32))
    own = Kinship(np.zeros((1000, 8), np.float32), unit(draw.standard_normal((1000, 32))))
    for kinship in (same, own):
        _, other = draw_decoys(pair, entity, mention, kinship, pair, seed=0)
        assert len(np.unique(other)) > 500


def test_without_relations_the_texts_say_what_is_near():
    text = unit(np.repeat(np.eye(4), 25, axis=0) + 0.01 * np.random.default_rng(0).standard_normal((100, 4)))
    pair, entity, mention = one_mention_a_pair(np.arange(100))
    candidate, other = draw_decoys(pair, entity, mention, Kinship(np.zeros((100, 3), np.float32), text), pair, seed=0)
    assert (candidate // 25 == other // 25).all()


def test_relations_go_before_texts():
    graph, text = unit(np.repeat(np.eye(4), 25, axis=0)), unit(np.tile(np.eye(4), (25, 1)))
    pair, entity, mention = one_mention_a_pair(np.arange(100))
    candidate, other = draw_decoys(pair, entity, mention, Kinship(graph, text), pair, seed=0)
    assert (candidate // 25 == other // 25).all()
    graph[:25] = 0
    candidate, other = draw_decoys(pair, entity, mention, Kinship(graph, text), pair, seed=0)
    unrelated = candidate < 25
    assert (candidate[unrelated] % 4 == other[unrelated] % 4).all()
    assert (candidate[~unrelated] // 25 == other[~unrelated] // 25).all()


def test_a_second_decoy_is_of_the_pairs_own_group():
    pair, entity, mention = one_mention_a_pair(np.arange(60) % 20)
    kinship = Kinship(np.zeros((20, 2), np.float32), unit(np.random.default_rng(0).standard_normal((20, 4))))
    source = np.append(np.arange(59) // 10, 99)
    alone = draw_decoys(pair, entity, mention, kinship, pair, seed=0)
    candidate, other = draw_decoys(pair, entity, mention, kinship, source, seed=0)
    count = len(alone[0])
    np.testing.assert_array_equal(candidate[:count], alone[0])
    assert (source[candidate[count:]] == source[other[count:]]).all()
    assert len(candidate) - count > 40
    assert 59 not in candidate[count:]


def test_no_decoys_text_names_the_entity():
    draw = np.random.default_rng(2)
    pair = np.repeat(np.arange(200), 3)
    entity, mention = draw.integers(0, 30, 600), np.arange(600)
    kinship = Kinship(unit(draw.standard_normal((30, 4))), unit(draw.standard_normal((30, 4))))
    candidate, other = draw_decoys(pair, entity, mention, kinship, draw.integers(0, 5, 200), seed=3)
    named = {(int(p), int(e)) for p, e in zip(pair, entity, strict=True)}
    assert len(candidate) > 600
    assert not any((int(p), int(e)) in named for p, e in zip(other, entity[candidate], strict=True))


def test_nothing_is_drawn_of_nothing():
    none = np.zeros(0, np.int64)
    candidate, other = draw_decoys(none, none, none, Kinship(np.zeros((0, 2)), np.zeros((0, 2))), none, seed=0)
    assert len(candidate) == len(other) == 0


def test_random_images_are_of_any_pair_that_does_not_name_the_entity():
    draw = np.random.default_rng(3)
    pair = np.repeat(np.arange(100), 3)
    entity = draw.integers(0, 10, 300)
    candidate, other = draw_random(pair, entity, 4, seed=0)
    named = set(zip(pair.tolist(), entity.tolist(), strict=True))
    assert not named & set(zip(other.tolist(), entity[candidate].tolist(), strict=True))
    assert np.bincount(candidate, minlength=300).max() <= 4
    assert len(candidate) > 600
    assert len(np.unique(other)) > 90
    assert draw_random(pair, entity, 4, seed=0)[1].tolist() == other.tolist()
