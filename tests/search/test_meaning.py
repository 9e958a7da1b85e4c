"""What a text means: names of entities whatever their spelling, what was judged of them, else words of the texts."""

from dataclasses import replace

import numpy as np
import pytest
from search_world import colour_encoder
from served_world import PROBABILITIES, labelled_index

from openmofi.search import Filters, Query, Verdict
from openmofi.search.rank import ranking
from openmofi.search.rank.calibration import NAMES as VECTORS
from openmofi.search.rank.calibration import Curve, Ending
from openmofi.search.rank.queries import Meaning, as_entity, entities_named, images_by_text, meaning_of


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return labelled_index(tmp_path_factory.mktemp("colours"), encoder=colour_encoder())


@pytest.mark.parametrize("text", ["red", "Red", "REDS", " crimson ", "Crimson"])
def test_names_and_aliases_however_they_are_spelt(index, text):
    assert entities_named(index.connection, text) == ["c:red"]


@pytest.mark.parametrize("text", ["", "a red square", "redd", "NOT red", '"red', "red*", "\x00"])
def test_other_texts_are_no_names(index, text):
    assert entities_named(index.connection, text) == (["c:red"] if text in ('"red', "red*") else [])


def test_completion_begins_with_what_has_images(index):
    assert [each.id for each in index.complete("gre")] == ["c:green", "c:grey"]
    index.connection.execute("UPDATE labels SET accepted = 0 WHERE entity = 'c:green'")
    try:
        assert [each.id for each in index.complete("gre")] == ["c:grey", "c:green"]
        index.connection.execute("UPDATE labels SET accepted = 0 WHERE entity = 'c:grey'")
        index.connection.execute("INSERT INTO supertypes VALUES ('c:blue', 'c:grey')")  # what is blue is grey
        assert [each.id for each in index.complete("gre")] == ["c:grey", "c:green"]
        index.connection.execute("UPDATE supertypes SET above = 'c:green'")
        assert [each.id for each in index.complete("gre")] == ["c:green", "c:grey"]
    finally:
        index.connection.execute("UPDATE labels SET accepted = 1 WHERE probability > 0.8")
        index.connection.execute("DELETE FROM supertypes")


def test_what_was_judged_is_known_of_a_name(index):
    meaning = meaning_of(index.connection, "red", [1])
    records = {image.id: image for image in index.images(list(meaning.judged))}
    expected = {
        record.id: label.probability
        for record in records.values()
        for label in record.labels
        if label.entity == "c:red"
    }
    assert meaning.judged == pytest.approx(expected)
    assert sorted(set(np.round(list(meaning.judged.values()), 3))) == sorted({0.1, *PROBABILITIES})
    assert (bool(meaning.entities), set(meaning.words)) == (True, set())
    assert meaning.features([1, 2]).tolist() == [[1, 0], [1, 0]]


def test_a_persons_word_counts(index):
    image = index.images(list(meaning_of(index.connection, "red", []).judged))[0]
    kept = index.add_verdict(Verdict(image.shard, image.key, "c:red", "n", who="ann"))
    assert meaning_of(index.connection, "red", []).judged[image.id] == 0
    index.undo_verdict(kept.id)


def test_a_persons_word_on_what_was_no_label_counts_until_it_is_taken_back(index):
    labelled = set(meaning_of(index.connection, "red", []).judged)
    image = next(each for each in index.images(range(1, 100)) if each.id not in labelled)
    said = [index.add_verdict(Verdict(image.shard, image.key, "c:red", value, who="ann")) for value in "yny"]
    assert meaning_of(index.connection, "red", []).judged[image.id] == 1
    index.undo_verdict(said[2].id)
    assert set(meaning_of(index.connection, "red", []).judged) == labelled
    index.undo_verdict(said[1].id)
    assert meaning_of(index.connection, "red", []).judged[image.id] == 1
    index.undo_verdict(said[0].id)
    assert set(meaning_of(index.connection, "red", []).judged) == labelled


def test_any_other_text_is_looked_for_in_the_texts(index):
    words = images_by_text(index.connection, "red square number 3", 100, every=True)
    assert [image.key for image in index.images(words)] == ["red-3"]
    assert len(images_by_text(index.connection, "red square number 3", 100)) > 1
    meaning = meaning_of(index.connection, "red square number 3", words)
    assert meaning.features([words[0], words[0] + 1]).tolist() == [[0, 1], [0, 0]]
    assert not Meaning().features([1, 2]).any()


@pytest.mark.parametrize("text", ["red", "a Red", "the reds", "Photo of a rêd", "some pictures of crimson"])
def test_a_text_that_is_a_name_asks_for_the_entity(index, text):
    """Whatever precedes the name; its labels count, as where the entity is asked for by itself."""
    results, asked = index.search(Query(text=text, limit=30)), index.search(Query(entity="c:red", limit=30))
    assert (results.entity, results.hits) == ("c:red", asked.hits)
    assert [each.id for each in results.meant] == ["c:red"]
    words = index.search(Query(text=text, limit=30, named=False))
    assert (words.entity, words.meant, {hit.probability for hit in words.hits}) == ("", (), {None})


@pytest.mark.parametrize("text", ["", "not red", "a red square", "photo of", "red of", "zxcv"])
def test_any_other_text_is_not_taken_for_an_entity(index, text):
    assert as_entity(index.state, index.connection, Query(text=text)) == (Query(text=text), [])


def test_a_name_without_images_is_searched_as_text(index):
    index.connection.execute("UPDATE labels SET accepted = 0 WHERE entity = 'c:blue'")
    query = Query(text="blue", limit=30)
    try:
        assert as_entity(index.state, index.connection, query) == (query, ["c:blue"])
        results = index.search(query)
        assert (results.entity, [each.id for each in results.meant]) == ("", ["c:blue"])
    finally:
        index.connection.execute("UPDATE labels SET accepted = 1 WHERE entity = 'c:blue' AND probability > 0.8")


def test_pages_are_of_one_list_that_has_all_likely_images(index, monkeypatch):
    """However few images a list looks at first; what lies beyond it is found by a longer one."""
    monkeypatch.setattr(ranking, "DEPTH", 2)
    monkeypatch.setattr(index, "_state", replace(index.state))  # whose lists are other ones
    red = [index.search(Query(text="red", limit=1, offset=offset, fold=False)) for offset in range(4)]
    assert [results.hits[0].probability for results in red] == sorted(PROBABILITIES[:4], reverse=True)
    assert {(results.total, results.end) for results in red} == {(red[0].total, 4)}
    assert red[0].total < 30
    pages = [index.search(Query(text="a square", limit=2, offset=offset, fold=False)) for offset in range(0, 30, 2)]
    assert pages[0].total < pages[-1].total == 30
    assert len(pages[-1].hits) == 2


def test_words_that_no_text_has_are_said(index):
    note = "None of these images has any of the words in its text"
    assert index.search(Query(text="zxcv qwerty")).note.startswith(note)
    assert [index.search(Query(text=text)).note for text in ("red", "a zxcv square")] == ["", ""]
    assert index.search(Query(text="zxcv", keywords=False)).note == ""


def test_whether_any_image_has_a_text_is_asked_once_a_commit(index, monkeypatch):
    """Where none has, the database looks at all of them."""
    monkeypatch.setattr(index, "_state", replace(index.state))
    asked = []
    index.connection.set_trace_callback(asked.append)
    try:
        notes = {index.search(Query(text=f"zxcv{number} qwerty")).note for number in range(3)}
    finally:
        index.connection.set_trace_callback(None)
    assert [note[:13] for note in notes] == ["None of these"]
    assert sum("WHERE text <> ''" in statement for statement in asked) == 1


def test_a_name_of_two_entities_means_either(index):
    index.connection.execute("INSERT INTO aliases VALUES ('c:green', 'crimson')")
    index.connection.execute("DELETE FROM names_fts WHERE rowid = (SELECT number FROM entities WHERE id = 'c:green')")
    index.connection.execute(
        "INSERT INTO names_fts (rowid, name, aliases) SELECT number, 'green', 'crimson' "
        "FROM entities WHERE id = 'c:green'"
    )
    both = meaning_of(index.connection, "crimson", [])
    red, green = (meaning_of(index.connection, name, []).judged for name in ("red", "green"))
    assert both.judged == pytest.approx(
        {image: (red.get(image, 0) + green.get(image, 0)) / 2 for image in {*red, *green}}
    )
    # Red has most images where one of green's is no label: it is asked for, and green is offered.
    index.connection.execute("UPDATE labels SET accepted = 0 WHERE entity = 'c:green' AND probability > 0.99")
    assert [each.id for each in index.search(Query(text="crimson")).meant] == ["c:red", "c:green"]
    index.connection.execute("UPDATE labels SET accepted = 1 WHERE entity = 'c:green' AND probability > 0.8")


def _curve() -> Curve:
    """A text whose words an image's text has is likely; nothing else is."""
    count = len(VECTORS) + Meaning().features([]).shape[1]
    return Curve((0.0,) * count, (1.0,) * count, (0.0,) * (count - 1) + (3.0, -2.0), (-9.0, 9.0), (0.0, 1.0))


def test_results_are_in_the_order_of_their_probabilities(index, monkeypatch):
    images = tuple(index.state.images[index.state.alive].tolist())
    ending = Ending(_curve(), None, None, images, (0, 1, 2), 20.0)
    monkeypatch.setattr(index, "_state", replace(index.state, meta=index.state.meta | {"ending": ending.to_json()}))
    hits = index.search(Query(text="blue square number 2", limit=30, fold=False)).hits
    assert hits[0].image.key == "blue-2"
    assert hits[0].probability == pytest.approx((1 + 9) / 18)
    assert [hit.probability for hit in hits[1:]] == pytest.approx([(-2 + 9) / 18] * 29)
    judged = meaning_of(index.connection, "blue", []).judged
    hits = index.search(Query(text="blue", limit=30, fold=False)).hits
    assert [hit.probability for hit in hits] == sorted((hit.probability for hit in hits), reverse=True)
    assert {hit.image.id for hit in hits} >= set(judged)
    assert {hit.image.id: hit.probability for hit in hits if hit.image.id in judged} == pytest.approx(judged)
    # What was judged for a filter's images alone, and nothing of it without keywords.
    within = Query(text="blue", filters=Filters(entity="c:green", min_probability=0.05), limit=30, fold=False)
    assert 0 < len(index.search(within).hits) < 30
    plain = index.search(Query(text="blue", keywords=False, limit=30, fold=False)).hits
    assert [hit.probability for hit in plain] == pytest.approx([(-2 + 9) / 18] * 30)
