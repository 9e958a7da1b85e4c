from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmofi.encoders.companions import FITTED, ClassVectors, Companions, Folds
from openmofi.errors import UsageError
from openmofi.features.entity_table import EntityEmbeddings, EntityFeatures
from openmofi.labeling.calibrate.calibration import Calibration
from openmofi.labeling.calibrate.evidence import (
    Candidates,
    ImageEvidence,
    Scorer,
    View,
    gather_evidence,
    judged_once,
    reference_entities,
)
from openmofi.labeling.judge import CorpusContext, Opinion, eligible, select
from openmofi.labeling.label_settings import LabelSettings, SelectionSettings
from openmofi.labeling.tables import first_of_each, link_arrays
from openmofi.schema import LINK, Reason


class FixedEncoder:
    """Stands for an encoder whose embeddings are given; only what `View` asks of one."""

    spec, dim, companions = "fixed", 2, Companions()

    def project_images(self, features):
        return features

    def project_texts(self, features):
        return features


def view_of(encoder, entities, reference, scale):
    features = EntityFeatures.of(pa.array([f"e{number:03d}" for number in range(len(entities))]), entities)
    return View(encoder, EntityEmbeddings(encoder, features), reference, scale)


def column(*pairs):
    """Each pair is a list of (entity, mention, link score)."""
    rows = [[{"entity": e, "mention": m, "prior": 0.5, "link_score": s} for e, m, s in pair] for pair in pairs]
    return pa.array(rows, pa.list_(LINK))


def unit(*angles):
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


ALWAYS = Calibration((-20.0, 20.0), (-20.0, 20.0), 0.5, 1.0, 100)
"""The log ratio is the evidence itself; mentions are independent."""


def alone(links, factor=1.0, votes=0.0):
    return CorpusContext(np.full(len(links), factor), np.full(len(links), votes))


def verdicts(pairs, images, entities, *, usable=None, max_candidates=8, threshold=0.5, **selection):
    links = link_arrays(column(*pairs), max_candidates)
    view = view_of(FixedEncoder(), entities, entities, 10.0)
    evidence = ImageEvidence((view,), np.zeros(len(pairs), np.int64), images)
    usable = np.ones(len(pairs), bool) if usable is None else usable
    positions = np.arange(len(links.entity_ids))
    found = select(
        links, usable, [Opinion(evidence, ALWAYS, alone(links))], positions, SelectionSettings(**selection), threshold
    )
    return links, found


def test_a_threshold_of_1_accepts_nothing_though_a_probability_is_rounded_to_1(monkeypatch):
    """A job that refuses, for a blind encoder or by verdicts, has this threshold."""
    monkeypatch.setattr(Calibration, "probability", lambda self, evidence, *_: np.ones(len(evidence)))
    pairs, images, entities = [[("a", 0, 1.0)]], unit(0.0), unit(0.0)
    for threshold, reason in ((0.999, Reason.ACCEPTED), (1.0, Reason.BELOW_THRESHOLD)):
        found = verdicts(pairs, images, entities, threshold=threshold)[1]
        assert (found.probability.tolist(), found.reason) == ([1.0], [reason])


def test_the_shown_entity_wins_its_mention():
    links, found = verdicts([[("a", 0, 0.6), ("b", 0, 0.4)]], unit(0.1), unit(0.0, 1.5))
    assert links.entity_ids.to_pylist() == ["a", "b"]
    assert found.reason == [Reason.ACCEPTED, Reason.BELOW_THRESHOLD]


def test_raw_scores_are_scale_times_cosine():
    _, found = verdicts([[("a", 0, 0.6), ("b", 0, 0.4)]], unit(0.1), unit(0.0, 1.5))
    np.testing.assert_allclose(found.image_score, 10 * np.cos([0.1, 1.4]), rtol=1e-5)


def test_an_unusable_pair_is_not_judged():
    pairs = [[("a", 0, 0.9)], [("a", 0, 0.9)]]
    _, found = verdicts(pairs, unit(0.0, 0.0), unit(0.0, 2.0)[:1], usable=np.array([False, True]))
    assert found.index.tolist() == [1]


def test_weak_candidates_are_not_judged():
    pairs = [[("a", 0, 0.5), ("b", 0, 0.3), ("c", 0, 0.1)]]
    _, found = verdicts(pairs, unit(0.1), unit(0.0, 1.0, 2.0), max_candidates=2)
    assert found.index.tolist() == [0, 1]


def test_an_entity_named_twice_is_one_candidate():
    once = verdicts([[("a", 0, 0.6)]], unit(0.1), unit(0.0, 1.5), threshold=0.4)[1]
    twice = verdicts([[("a", 0, 0.6), ("a", 1, 0.6)]], unit(0.1), unit(0.0, 1.5), threshold=0.4)[1]
    np.testing.assert_allclose(twice.probability, [once.probability[0]] * 2)
    assert twice.reason == [Reason.ACCEPTED, Reason.ACCEPTED]


def test_a_margin_keeps_undecided_siblings_out():
    pairs, images, entities = [[("a", 0, 0.5), ("b", 0, 0.5)]], unit(0.5), unit(0.4, 0.6)
    decided = verdicts(pairs, images, entities, threshold=0.1)[1]
    undecided = verdicts(pairs, images, entities, threshold=0.1, sibling_margin=0.5)[1]
    assert Reason.ACCEPTED in decided.reason
    assert undecided.reason == [Reason.SIBLING, Reason.SIBLING]


@settings(max_examples=60, derandomize=True)
@given(st.data())
def test_what_any_threshold_accepts_is_known_before_it_is_chosen(data):
    """A guarantee draws from it: see `openmofi.review.guarantee`."""
    names = st.lists(
        st.tuples(st.sampled_from("abcde"), st.integers(0, 2), st.sampled_from([0.1, 0.3, 0.6])), min_size=1, max_size=8
    )
    pairs = [sorted(pair, key=lambda each: each[1]) for pair in data.draw(st.lists(names, min_size=1, max_size=3))]
    pairs = [list({each[:2]: each for each in pair}.values()) for pair in pairs]
    images = unit(*np.linspace(0.1, 1.0, len(pairs)))
    entities = unit(*np.linspace(0.0, 1.5, len({each[0] for pair in pairs for each in pair})))
    chosen = {"top_k": data.draw(st.integers(1, 3)), "sibling_margin": data.draw(st.sampled_from([0.0, 0.05, 0.3]))}
    for threshold in (0.0, 0.2, 0.5, 0.8):
        links, found = verdicts(pairs, images, entities, threshold=threshold, **chosen)
        pair, entity = links.pair[found.index], links.entity[found.index]
        inside = eligible(pair, entity, links.group[found.index], found.probability, SelectionSettings(**chosen))
        labels = inside & (found.probability >= threshold)
        accepted = np.zeros(len(labels), bool)
        accepted[first_of_each(pair, entity)[0]] = True
        np.testing.assert_array_equal(labels, accepted & found.accepted)


def test_several_entities_of_an_image_may_be_accepted_up_to_top_k():
    pairs = [[("a", 0, 0.9), ("b", 1, 0.9), ("c", 2, 0.9)]]
    entities = unit(0.0, 0.05, 0.1, 3.0)
    links = link_arrays(column(*pairs), 8)
    view = view_of(FixedEncoder(), entities, entities[3:], 10.0)
    evidence = ImageEvidence((view,), np.zeros(1, np.int64), unit(0.0))
    found = select(
        links,
        np.ones(1, bool),
        [Opinion(evidence, ALWAYS, alone(links))],
        np.arange(3),
        SelectionSettings(top_k=2),
        0.5,
    )
    assert found.reason == [Reason.ACCEPTED, Reason.ACCEPTED, Reason.TOP_K]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 2)), max_size=6), min_size=1, max_size=5))
def test_link_arrays_hold_every_link(pairs):
    rows = [sorted(((e, m, 0.1) for e, m in pair), key=lambda row: row[1]) for pair in pairs]
    links = link_arrays(column(*rows), 2)
    back = [
        (int(p), links.entity_ids[int(e)].as_py(), int(m))
        for p, e, m in zip(links.pair, links.entity, links.mention, strict=True)
    ]
    assert back == [(p, e, m) for p, row in enumerate(rows) for e, m, _ in row]
    groups = {(p, m) for p, row in enumerate(rows) for _, m, _ in row}
    assert len(set(links.group.tolist())) == len(groups)
    assert links.judged.sum() == sum(min(2, sum(1 for _, n, _ in rows[p] if n == m)) for p, m in groups)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=30))
def test_first_of_each_is_the_first(items):
    pair, entity = (np.array([item[side] for item in items], np.int64) for side in (0, 1))
    first, twin = first_of_each(pair, entity)
    seen: dict[tuple[int, int], int] = {}
    for place, item in enumerate(items):
        seen.setdefault(item, place)
    assert first.tolist() == sorted(seen.values())
    assert [int(first[place]) for place in twin] == [seen[item] for item in items]


def test_background_is_the_log_mean_exp_of_scipy():
    from scipy.special import logsumexp

    entities, images = unit(0.0, 0.7, 2.0), unit(0.1, 1.0, 3.0)
    view = view_of(FixedEncoder(), entities, entities, 10.0)
    expected = logsumexp(10.0 * images @ entities.T, axis=1) - np.log(3)
    np.testing.assert_allclose(view.background(images), expected, rtol=1e-5)


def test_each_page_is_judged_by_its_own_view():
    first, second = unit(0.0, 1.0), unit(1.0, 0.0)
    views = tuple(view_of(FixedEncoder(), entities, entities, 10.0) for entities in (first, second))
    evidence = ImageEvidence(views, np.array([0, 1]), unit(0.0, 0.0))
    np.testing.assert_allclose(evidence.scores(np.array([0, 1]), np.array([0, 0])), [10.0, 10 * np.cos(1.0)], rtol=1e-5)


def test_decoys_never_show_an_entity_that_their_text_names():
    draw = np.random.default_rng(0)
    pairs = [[("abcdefgh"[i], 0, 0.9)] for i in draw.integers(0, 8, 60)]
    links = link_arrays(column(*pairs), 8)
    entities = unit(*np.linspace(0, 3, 8))
    view = view_of(FixedEncoder(), entities, entities, 10.0)
    # Every image shows exactly what its text names, so an honest decoy never reaches the cosine 1.
    images = entities[links.entity]
    evidence = ImageEvidence((view,), np.zeros(60, np.int64), images)
    candidates = Candidates.of(links, judged_once(links, np.ones(60, bool)), np.arange(8))
    found = gather_evidence(candidates, evidence, entities, np.arange(60), seed=1)
    scores = found.real + view.background(images)
    np.testing.assert_allclose(scores, 10.0, rtol=1e-5)
    assert len(found.decoys) > 30
    assert set(found.random_entity) <= set(found.entity)
    assert found.decoys.max() < 10.0 - view.background(images).min() - 0.01


def test_class_vectors_are_added_and_normalised_where_known(tmp_path):
    learned = ClassVectors(pa.array(["b", "d"]), np.array([[1.0, 0.0], [0.0, 2.0]], np.float32))
    learned.save(tmp_path)
    back = ClassVectors.beside(tmp_path)
    assert back is not None
    found = back.applied(pa.array(["a", "b", "d"]), np.array([[0.0, 1.0]] * 3, np.float32))
    np.testing.assert_allclose(found, [[0, 1], [np.sqrt(0.5), np.sqrt(0.5)], [0, 1]], atol=1e-6)
    assert ClassVectors.beside(tmp_path / "elsewhere") is None


class TurningEncoder(FixedEncoder):
    """Embeds an image as its angle plus the encoder's own."""

    def __init__(self, turn):
        self.turn = turn

    def project_images(self, features):
        return unit(*(features[:, 0] + self.turn))


def test_a_page_is_judged_by_the_fold_without_it_and_what_is_new_by_the_whole():
    entities = unit(0.0)
    views = tuple(view_of(TurningEncoder(turn), entities, entities, 1.0) for turn in (0.0, 0.1, 0.2))
    fitted = pa.Table.from_pylist(
        [
            {"shard": "s", "key": "b", "fold": 0},
            {"shard": "s", "key": "a", "fold": 1},
            {"shard": "other", "key": "new", "fold": 1},
        ],
        schema=FITTED,
    )
    scorer, features = Scorer(views, Folds(2, fitted)), np.zeros((3, 1), np.float16)
    seen = scorer.images(SimpleNamespace(fingerprint="s"), ["a", "b", "new"], features)
    np.testing.assert_allclose(seen.embeddings, unit(0.2, 0.1, 0.0), atol=1e-6)
    np.testing.assert_allclose(seen.scores(np.arange(3), np.zeros(3, int)), np.cos([0.2, 0.1, 0.0]), atol=1e-6)
    unseen = scorer.images(SimpleNamespace(fingerprint="t"), ["a", "b", "new"], features)
    np.testing.assert_allclose(unseen.embeddings, unit(0.0, 0.0, 0.0), atol=1e-6)
    none = Scorer(views[1:2]).images(SimpleNamespace(fingerprint="s"), ["a", "b", "new"], features)
    np.testing.assert_allclose(none.embeddings, unit(0.1, 0.1, 0.1), atol=1e-6)


def test_a_reference_is_seeded_sorted_and_bounded():
    ids = pa.array([f"e{number:05d}" for number in range(5000)])
    found = reference_entities(ids, 3)
    assert found == reference_entities(ids, 3) == sorted(found)
    assert len(found) == 2048
    assert reference_entities(ids[:10], 3) == ids[:10].to_pylist()


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 2.0},
        {"top_k": 0},
        {"target_precision": 1.0},
        {"template": "{nom}"},
        {"template": "{name.__class__}"},
        {"template": "{name"},
        {"template": "plain"},
        {"sibling_margin": -0.1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError):
        LabelSettings(selection=SelectionSettings(**wrong))


def test_the_corpus_adds_votes_and_weighs_links():
    links = link_arrays(column([("a", 0, 0.5)]), 8)
    entities = unit(0.0, 1.5)
    evidence = ImageEvidence((view_of(FixedEncoder(), entities, entities, 10.0),), np.zeros(1, np.int64), unit(0.75))
    calibration = replace(ALWAYS, votes=2.0)

    def probability(factor, votes):
        opinion = Opinion(evidence, calibration, alone(links, factor, votes))
        return float(select(links, np.ones(1, bool), [opinion], np.arange(1), SelectionSettings(), 0.5).probability[0])

    def odds(value):
        return value / (1 - value)

    assert odds(probability(1.0, 1.5)) / odds(probability(1.0, 0.5)) == pytest.approx(np.exp(2.0))
    # A mention cannot mean more than one thing: what exceeds 1 is cut.
    assert probability(0.2, 0.0) < probability(1.0, 0.0) < probability(2.0, 0.0) == probability(3.0, 0.0)


def test_two_judges_mean_is_the_probability_and_the_firsts_score_is_shown():
    links = link_arrays(column([("a", 0, 0.5), ("b", 1, 0.5)]), 8)
    views = [view_of(FixedEncoder(), unit(*angles), unit(0.0, 3.0), 10.0) for angles in ((0.1, 1.5), (1.2, 0.3))]
    opinions = [
        Opinion(ImageEvidence((view,), np.zeros(1, np.int64), unit(0.2)), ALWAYS, alone(links)) for view in views
    ]
    alone_found = [select(links, np.ones(1, bool), [each], np.arange(2), SelectionSettings(), 0.5) for each in opinions]
    both = select(links, np.ones(1, bool), opinions, np.arange(2), SelectionSettings(), 0.5)
    np.testing.assert_allclose(both.probability, (alone_found[0].probability + alone_found[1].probability) / 2)
    np.testing.assert_array_equal(both.image_score, alone_found[0].image_score)
