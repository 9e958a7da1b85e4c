import numpy as np

from openmofi.labeling.calibrate.decoys import MOST_DECOYS, Kinship, draw_decoys, draw_random, draw_rivals


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


def senses(pairs=300, seed=5):
    """Pairs of two mentions, the one of one candidate and the other of three, with what they share of 40 entities."""
    draw = np.random.default_rng(seed)
    pair, mention = np.repeat(np.arange(pairs), 4), np.repeat(np.arange(2 * pairs), np.tile([1, 3], pairs))
    entity = np.concatenate([draw.choice(40, 4, replace=False) for _ in range(pairs)])
    kinship = Kinship(unit(draw.standard_normal((40, 6))), unit(draw.standard_normal((40, 6))))
    return pair, entity, mention, kinship, draw.integers(0, 20, pairs)


def test_a_rival_is_another_sense_of_the_mention_which_the_decoys_text_does_not_name():
    pair, entity, mention, kinship, group = senses()
    candidate, other = draw_decoys(pair, entity, mention, kinship, group, seed=1)
    rival = draw_rivals(pair, entity, mention, candidate, other, seed=1)
    named = set(zip(pair.tolist(), entity.tolist(), strict=True))
    any_free = np.array(
        [
            any(s != c and (o, int(entity[s])) not in named for s in np.flatnonzero(mention == mention[c]))
            for c, o in zip(candidate.tolist(), other.tolist(), strict=True)
        ]
    )
    has = rival >= 0
    assert has.sum() > 400
    assert not (has & ~any_free).any()
    assert (rival[has] != candidate[has]).all()
    assert (mention[rival[has]] == mention[candidate[has]]).all()
    assert not named & set(zip(other[has].tolist(), entity[rival[has]].tolist(), strict=True))
    # Of the senses of a mention every other is drawn about as often, and the only sense of one has no rival.
    steps = np.bincount((rival[has] - candidate[has]) % 3, minlength=3)
    assert steps[0] == 0
    assert abs(steps[1] - steps[2]) < 4 * np.sqrt(has.sum())
    assert not has[np.bincount(mention)[mention[candidate]] == 1].any()
    # One is missing only where it was drawn and the decoy's text names it.
    missing = np.flatnonzero(~has & (np.bincount(mention)[mention[candidate]] > 1))
    for j in missing:
        siblings = np.flatnonzero(mention == mention[candidate[j]])
        assert any((int(other[j]), int(entity[s])) in named for s in siblings if s != candidate[j])
    assert draw_rivals(pair, entity, mention, candidate, other, seed=1).tolist() == rival.tolist()


def test_nothing_has_no_rivals():
    none = np.zeros(0, np.int64)
    assert len(draw_rivals(none, none, none, none, none, seed=0)) == 0


def test_no_more_candidates_than_may_have_decoys_and_they_are_of_all_pairs():
    draw, count = np.random.default_rng(0), MOST_DECOYS + 30_000
    pair, entity, mention = one_mention_a_pair(draw.integers(0, 50, count))
    kinship = Kinship(np.zeros((50, 4), np.float32), unit(draw.standard_normal((50, 4))))
    candidate, other = draw_decoys(pair, entity, mention, kinship, pair // 3, seed=0)
    distinct, often = np.unique(candidate, return_counts=True)
    # Of a few every draw names the entity, and is dropped.
    assert 0.9 * MOST_DECOYS < len(distinct) <= MOST_DECOYS
    assert often.max() <= 2
    share = np.histogram(distinct, 9, (0, count))[0] / (count / 9)
    np.testing.assert_allclose(share, len(distinct) / count, atol=0.03)
    # A decoy's image may be of any pair, also of one without decoys of its own.
    assert len(np.setdiff1d(other, distinct)) > 0.2 * len(np.unique(other))


def test_few_candidates_all_have_decoys():
    pair, entity, mention, kinship, group = senses()
    candidate, _ = draw_decoys(pair, entity, mention, kinship, group, seed=0)
    assert len(np.unique(candidate)) > 0.97 * len(pair)
