"""Probabilities of results: what they are fitted on, where a list ends, what is said where nothing is likely."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression

import openmofi
from openmofi.search import Example, Index, Query, Region, Verdict
from openmofi.search.rank.calibration import Ending, any_of, end_of, expected_precision, share_of, with_share
from openmofi.search.rank.fitting import (
    ImageLabels,
    TrialResults,
    _image_queries,
    _monotone,
    _seen,
    curve_of,
    recognition_results,
)
from openmofi.search.rank.recognition import candidates_of, likely_entities
from openmofi.search.rank.state import State
from openmofi.search.store.vectors import Exact


@pytest.fixture(scope="module")
def labelled_index(labelled, small_encoder, tmp_path_factory) -> Index:
    return openmofi.build_index(labelled, encoder=small_encoder, out=tmp_path_factory.mktemp("index") / "index")


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.01, 1))
def test_a_list_ends_where_no_longer_one_is_as_precise(probabilities, until):
    end = end_of(np.array(probabilities), until)
    # Nor is any result by itself likelier wrong than right, where no more than that is asked for.
    likely = [count for count in range(1, len(probabilities) + 1) if min(probabilities[:count]) >= min(0.5, until)]
    assert end == max(
        (count for count in likely if np.mean(probabilities[:count]) >= until - 1e-12),
        default=0,
    ) or (
        # Where the mean lies at the bound itself, rounding may decide.
        np.isclose(np.mean(probabilities[: end or 1]), until)
    )
    assert len(expected_precision(probabilities)) == len(probabilities)


def test_a_list_ends_before_what_is_likelier_wrong():
    """A mean of .9 has room for a tail of improbable results: ten sure ones would bring a result of .05 with them."""
    tail = np.array([1.0] * 10 + [0.6, 0.49, 0.05])
    assert (end_of(tail, 0.9), end_of(tail, 0.97)) == (11, 10)
    assert expected_precision(tail)[11] > 0.9
    assert (end_of(tail, 0.5), end_of(tail, 0.3)) == (11, 12)  # who asks for less takes less likely ones


@settings(max_examples=200, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_any_of_several_labels(probabilities, more):
    """Between the greatest and the sum, rising in each, and what drawing independently gives."""
    shown = any_of(probabilities)
    assert max(probabilities) - 1e-12 <= shown <= min(sum(probabilities), 1) + 1e-12
    assert any_of([*probabilities, more]) >= shown - 1e-12
    for place, probability in enumerate(probabilities):
        greater = [*probabilities[:place], max(probability, more), *probabilities[place + 1 :]]
        assert any_of(greater) >= shown - 1e-12
    # All outcomes of the labels, one by one.
    outcomes = product((False, True), repeat=len(probabilities))
    some = sum(
        np.prod([p if right else 1 - p for p, right in zip(probabilities, outcome, strict=True)])
        for outcome in outcomes
        if any(outcome)
    )
    assert shown == pytest.approx(some, abs=1e-12)


def _simulated(draw, count=60_000):
    """Results whose probability is known: the logistic of a feature."""
    feature = draw.normal(size=(count, 5))
    truth = 1 / (1 + np.exp(-(2.5 * feature[:, 0] - 1.0 * feature[:, 1] - 3)))
    return feature, truth


def test_probabilities_are_those_that_results_were_drawn_with():
    draw = np.random.default_rng(0)
    features, truth = _simulated(draw)
    right = (draw.random(len(truth)) < truth).astype(float)
    # Of a third nothing is known, of another third only half, whatever is right.
    weight = draw.choice([0.0, 0.5, 1.0], len(truth))
    curve = curve_of(TrialResults(features, right, weight))
    fresh, expected = _simulated(np.random.default_rng(1))
    found = curve(fresh)
    assert np.abs(found - expected).mean() < 0.01
    assert found.mean() == pytest.approx(expected.mean(), abs=0.004)
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.01)):
        chosen = (found >= low) & (found < high)
        assert found[chosen].mean() == pytest.approx(expected[chosen].mean(), abs=0.02)


def test_the_curve_is_isotonic_regression():
    draw = np.random.default_rng(0)
    score, weight = draw.normal(size=3000), draw.random(3000)
    right = draw.random(3000) < 1 / (1 + np.exp(-score))
    centres, probabilities = _monotone(score, right.astype(float), weight)
    whole = IsotonicRegression().fit(score, right, sample_weight=weight)
    assert (np.diff(probabilities) >= 0).all()
    assert np.abs(probabilities - whole.predict(centres)).mean() < 0.05


def test_too_little_to_know_is_no_probability(index):
    assert not index.info().calibrated
    (hit, *_) = (results := index.search(Query(text="red"))).hits
    assert (hit.probability, hit.expected, results.end, results.expected_right) == (None, None, None, None)


def test_labels_that_are_surely_wrong_ask_nothing():
    known = ImageLabels({0: {0: 0.0}}, {0: [0]}, np.zeros(1), {})
    assert _image_queries(None, known, np.random.default_rng(0)) == []


def test_what_is_not_known_of_an_image_counts_for_nothing(labelled_index):
    state = labelled_index.state
    known = ImageLabels.read(state, labelled_index.connection)
    sun = state.entity_numbers["e:sun"]
    right, weight = known.right(sun, np.arange(len(state.images)))
    judged = np.array([position in known.judged for position in range(len(state.images))])
    assert (weight[~judged] == 0).all()
    assert (right[weight == 0] == 0).all()
    shown = [
        (record, label)
        for record in labelled_index.images(state.images.tolist())
        for label in record.labels
        if label.entity == "e:sun"
    ]
    assert shown
    for image, label in shown:
        (position,) = state.positions(np.array([image.id]))
        # The label job has judged it: it is known, to this probability, and nothing of it is left open.
        assert (right[position], weight[position]) == (pytest.approx(label.probability, abs=1e-6), 1)
    others = {
        image.id: sum(label.probability for label in image.labels)
        for image in labelled_index.images(state.images.tolist())
        if image.labels and "e:sun" not in {label.entity for label in image.labels}
    }
    positions = state.positions(np.array(list(others)))
    assert (right[positions] == 0).all()
    assert weight[positions] == pytest.approx(np.minimum(list(others.values()), 1), abs=1e-6)


def test_marks_leave_what_the_labels_say_of_an_entity(labelled_index):
    asked = Query(entity="e:sun", limit=30, fold=False)
    before = {hit.image.id: hit.probability for hit in labelled_index.search(asked).hits}
    first, second, *_ = before
    for unlike in ((second,), ()):  # what was kept for one query answers no other
        refined = labelled_index.search(replace(asked, like=(first,), unlike=unlike))
        after = {hit.image.id: hit.probability for hit in refined.hits}
        assert after[first] == 1
        assert (after.get(second, 0) == 0) == bool(unlike)
        judged = {
            image for image in before if any(label.entity == "e:sun" for label in labelled_index.image(image).labels)
        } - {first, *unlike}
        assert len(judged) > 3
        assert {image: after[image] for image in judged} == {image: before[image] for image in judged}


def test_lists_end_where_they_say(labelled_index, small_world):
    assert labelled_index.info().calibrated
    right, expected = [], []
    for entity in ("e:sun", "e:brick", "e:lawn", "e:peak", "e:tent", "e:moon"):
        results = labelled_index.search(Query(entity=entity, until=0.9, limit=300, fold=False))
        assert results.end == len(results.hits)
        assert results.expected_right == pytest.approx(sum(hit.probability for hit in results.hits))
        assert results.hits[-1].expected >= 0.9
        assert [hit.probability for hit in results.hits] == sorted(
            (hit.probability for hit in results.hits), reverse=True
        )
        right += [small_world.truth[hit.image.shard, hit.image.key] == entity for hit in results.hits]
        expected += [hit.probability for hit in results.hits]
    assert len(right) > 100
    assert np.mean(right) == pytest.approx(np.mean(expected), abs=0.1)


def test_an_entity_is_searched_by_what_the_label_job_said(labelled_index, labelled):
    frame = openmofi.Labels.open(labelled).to_pandas()
    said: dict[tuple[str, str], float] = {}
    for row in frame.itertuples():
        for each in row.entities:
            if each["entity"] == "e:moon":
                key = row.shard, row.key
                said[key] = max(said.get(key, 0.0), each["probability"])
    hits = labelled_index.search(Query(entity="e:moon", limit=400, fold=False)).hits
    judged = {
        (hit.image.shard, hit.image.key): hit.probability for hit in hits if (hit.image.shard, hit.image.key) in said
    }
    assert len(judged) > 10
    assert judged == pytest.approx({key: said[key] for key in judged}, abs=1e-6)
    assert [hit.probability for hit in hits] == sorted((hit.probability for hit in hits), reverse=True)
    wrong, *_, right = (hit.image for hit in hits if (hit.image.shard, hit.image.key) in said)
    kept = labelled_index.add_verdicts(
        [
            Verdict(wrong.shard, wrong.key, "e:moon", "n", who="ann"),
            Verdict(right.shard, right.key, "e:moon", "y", who="ann"),
        ]
    )
    try:
        again = labelled_index.search(Query(entity="e:moon", limit=400, fold=False)).hits
        corrected = {hit.image.id: hit.probability for hit in again}
        assert (corrected[wrong.id], corrected[right.id]) == (0, 1)
    finally:
        for each in kept:
            labelled_index.undo_verdict(each.id)
    # With a text or an image beside it, another question is asked.
    beside = labelled_index.search(Query(text="a moon", entity="e:moon", keywords=False, limit=400, fold=False)).hits
    assert any(
        hit.probability != pytest.approx(said[hit.image.shard, hit.image.key], abs=1e-6)
        for hit in beside
        if (hit.image.shard, hit.image.key) in said
    )


def test_a_calibration_is_what_was_kept(labelled_index):
    ending = labelled_index.state.ending
    assert Ending.of_json(ending.to_json()) == ending
    # One of an earlier version has curves of other features: the next build fits it again.
    assert (
        Ending.of_json(
            json.dumps({key: value for key, value in json.loads(ending.to_json()).items() if key != "version"})
        )
        is None
    )


def test_recognition_names_what_is_shown_with_evidence(labelled_index, small_world):
    right, probabilities = [], []
    records = labelled_index.search(Query(limit=400, fold=False)).hits
    for hit in records[::7]:
        if hit.image.status != "ok":
            continue
        recognition = labelled_index.recognise(hit.image.id, limit=3)
        best = recognition.entities[0]
        right.append(best.entity.id == small_world.truth[hit.image.shard, hit.image.key])
        probabilities.append(best.probability if best.probability is not None else best.similarity)
        for image, cosine in best.evidence:
            assert image.id != hit.image.id
            assert best.entity.id in {label.entity for label in image.labels if label.accepted}
            assert -1 <= cosine <= 1.001
        assert best.entity.id not in {sibling.id for sibling in best.siblings}
    assert np.mean(right) > 0.7
    assert np.mean(right) == pytest.approx(np.mean(probabilities), abs=0.15)


def test_an_image_shows_what_it_shows(labelled_index):
    """The same file is right whatever its cosine says of files in general; it is so for no other query of it."""
    some = labelled_index.search(Query(text="red", limit=1)).hits[0].image.id
    data = labelled_index.image_bytes(some)
    for example in (Example(some), Example(data)):
        hits = labelled_index.search(Query((example,), limit=30, fold=False)).hits
        same = {hit.image.id for hit in hits if labelled_index.image_bytes(hit.image.id) == data}
        assert some in same
        assert {hit.image.id for hit in hits if hit.probability == 1} == same
    # The second has the same pixels, and so the same vector.
    others = [Query((Example(data, region=Region(0, 0, 0.5, 1)),)), Query((Example(data + b"0"),))]
    for query in (*others, Query((Example(data),), text="blue")):
        assert max(hit.probability for hit in labelled_index.search(query).hits) < 1


def test_an_image_outside_of_all_that_is_known(labelled_index):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    results = labelled_index.search(Query((Example(noise),), limit=5))
    assert len(results.hits) == 5


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_a_share_is_found_from_probabilities_at_even_odds(share):
    """Scores of two normal distributions, whose probability at even odds is the logistic of the difference."""
    draw = np.random.default_rng(0)
    so = draw.random(20_000) < share
    score = draw.normal(np.where(so, 1.0, -1.0))
    even = 1 / (1 + np.exp(-2 * score))
    assert share_of(even, 200) == pytest.approx(share, abs=0.02)
    its, others = share * norm.pdf(score, 1.0), (1 - share) * norm.pdf(score, -1.0)
    assert with_share(even, share) == pytest.approx(its / (its + others))


def test_shares_at_their_ends():
    even = np.array([0.0, 0.2, 1.0])
    assert with_share(even, 0.5) == pytest.approx(even)
    assert with_share(even[:2], 0.0).tolist() == [0, 0]
    assert share_of(np.zeros(0)) == share_of(np.zeros(9)) == 0.001
    assert share_of(np.ones(9)) == 0.999


def _clustered(draw, named: int, unnamed: int, each: int, dim: int = 32) -> tuple[State, ImageLabels, np.ndarray]:
    """An index of clusters, one an entity; of the unnamed ones no image is labelled, of the others most are."""
    entities = draw.normal(size=(named + unnamed, dim))
    cluster = np.repeat(np.arange(named + unnamed), each)
    vectors = 2 * entities[cluster] + draw.normal(size=(len(cluster), dim))
    vectors, entities = (
        np.asarray(each / np.linalg.norm(each, axis=1, keepdims=True), np.float32) for each in (vectors, entities)
    )
    exact = Exact([vectors])
    state = State(
        1,
        {},
        (),
        exact,
        np.arange(len(cluster)),
        draw.integers(0, 2**63, len(cluster)).astype(np.uint64),
        exact,
        entities[:named],
        tuple(f"e:{number}" for number in range(named)),
    )
    labelled = np.flatnonzero((cluster < named) & (draw.random(len(cluster)) < 0.8))
    judged = {place: {int(cluster[place]): 0.95} for place in labelled.tolist()}
    images = {entity: [place for place in judged if cluster[place] == entity] for entity in range(named)}
    mass = np.zeros(len(cluster))
    mass[labelled] = 0.95
    return state, ImageLabels(judged, images, mass, {}), cluster


class _Labels:
    """The labels of images, as a connection answers for them."""

    def __init__(self, known: ImageLabels) -> None:
        self.known = known

    def execute(self, _: str, images: list[int]) -> list[tuple[int, str]]:
        return [(image, f"e:{entity}") for image in images for entity in self.known.judged.get(image, {})]


def test_images_that_show_what_no_label_names_are_told_from_others():
    draw = np.random.default_rng(0)
    state, known, cluster = _clustered(draw, named=28, unnamed=10, each=12)
    ending = Ending(None, None, None, tuple(range(0, 456, 5)), tuple(range(28)), 20.0)
    around = state.around(ending)
    entity, unnamed = map(curve_of, recognition_results(state, known, around, np.random.default_rng(0)))
    found = {
        place: unnamed(candidates_of(vector, state.entities, around, near).unnamed_features())[0]
        for place, vector, near in _seen(state, known, np.arange(456))
    }
    probabilities = np.array([found[place] for place in range(456)])
    assert probabilities[cluster >= 28].mean() > 0.9
    assert probabilities[cluster < 28].mean() < 0.1
    assert share_of(probabilities) == pytest.approx(10 / 38, abs=0.08)
    assert entity is not None
    # What is said of an image leaves room for the chance that no label names it, and follows the share that is stated.
    connection = _Labels(known)
    state = replace(state, meta={"ending": replace(ending, entity=entity, unnamed=unnamed).to_json()})
    vectors = state.exact.rows(np.arange(0, 456, 20))
    few, many = (likely_entities(state, connection, vectors, 3, unnamed=share) for share in (0.02, 0.6))
    for one, other in zip(few, many, strict=True):
        assert one.even == other.even
        assert 0 <= one.unnamed <= other.unnamed <= 1
        assert one.best <= 1 - one.unnamed + 1e-9
        assert other.best * (1 - one.unnamed) == pytest.approx(one.best * (1 - other.unnamed))
