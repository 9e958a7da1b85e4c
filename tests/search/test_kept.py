"""What is kept between queries: bounded, never of another commit or verdict, the same as computed anew."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_world import ColourEncoder, colour_encoder, coloured, write_images

from openmofi.encoders import as_encoder
from openmofi.search import Example, Filters, Index, Query, Region, Verdict, build, remove
from openmofi.search.rank import ranking
from openmofi.search.rank.state import LRUCache


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 5))), st.integers(1, 12))
def test_the_last_ones_within_the_bound(steps, most):
    kept, model = LRUCache[int](most, lambda value: value), dict[int, int]()
    for key, value in steps:
        assert kept.get(key) == model.get(key)
        if key in model:
            model[key] = model.pop(key)
        assert kept.put(key, value) == value
        model.pop(key, None)
        model[key] = value
        while len(model) > 1 and sum(model.values()) > most:
            model.pop(next(iter(model)))
        assert len(kept) == len(model)
    assert {key: kept.get(key) for key in model} == model


class Counted(ColourEncoder):
    """Counts texts, too."""

    texts = 0

    def embed_texts(self, texts):
        self.texts += len(texts)
        return super().embed_texts(texts)


@pytest.fixture
def lists(monkeypatch):
    """Depths of the lists that were computed."""
    depths, compute = [], ranking._listed

    def listed(*arguments):
        depths.append(arguments[-1])
        return compute(*arguments)

    monkeypatch.setattr(ranking, "_listed", listed)
    return depths


def _keys(results):
    return [(hit.rank, hit.image.key, hit.cosine, hit.duplicates) for hit in results.hits]


def test_pages_share_a_list_and_are_parts_of_it(index, lists):
    query = Query(text="a red square", limit=30)
    whole = _keys(index.search(query))
    pages = [_keys(index.search(replace(query, limit=7, offset=offset))) for offset in range(0, 30, 7)]
    assert [hit for page in pages for hit in page] == whole
    index.search(replace(query, offset=200))
    assert lists == [1200]
    index.search(replace(query, limit=1201))
    assert lists == [1200]  # it has all images


@pytest.mark.parametrize(
    "other",
    [
        {"text": "a blue square"},
        {"keywords": False},
        {"fold": False},
        {"filters": Filters(folder="/nowhere")},
        {"filters": Filters(columns={"author": "ann"})},
        {"entity": "c:red"},
        {"like": (1,)},
        {"examples": (Example(1),)},
    ],
)
def test_another_query_has_another_list(index, lists, other):
    query = Query(text="a red square")
    index.search(query)
    changed = _keys(index.search(replace(query, **other)))
    assert len(lists) == 2
    assert changed == _keys(Index.open(index.path, index.encoder).search(replace(query, **other)))


@pytest.mark.parametrize("backend", ["folder", "postgres"], indirect=True)
def test_commits_of_others_and_verdicts_count_at_once(images, index, lists):
    query = Query(entity="c:red", limit=100, fold=False)
    before = index.search(query)
    assert before.total == 30
    remove(index.path, [str(images / "red-1.png")])
    assert index.search(query).total == 29
    write_images(images, 6)
    build([str(images)], index.encoder, index.path)
    assert index.search(query).total == 36
    assert {hit.probability for hit in index.search(query).hits} == {None}
    hit = index.search(query).hits[-1]
    index.connection.execute("INSERT INTO labels VALUES (?, 'c:red', .4, 0, .5)", (hit.image.id,))
    given = index.add_verdict(Verdict(hit.image.shard, hit.image.key, "c:red", "y", who="ann"))
    assert {each.image.id: each.probability for each in index.search(query).hits}[hit.image.id] == 1.0
    assert index.undo_verdict(given.id)
    assert {each.image.id: each.probability for each in index.search(query).hits}[hit.image.id] == 0.4
    assert len(lists) == 5


def test_what_was_embedded_is_not_embedded_again(images, index):
    counted = Counted()
    opened = Index.open(index.path, as_encoder(counted))
    data, pixels = coloured("blue", 9), np.full((20, 30, 3), 200, np.uint8)
    queries = [
        Query(text="red"),
        Query((Example(data),)),
        Query((Example(data, region=Region(0, 0, 0.5, 1)),)),
        Query((Example(pixels),)),
        Query((Example(pixels.reshape(30, 20, 3)),)),
        Query((Example(pixels[:10]),)),
        Query(text="red", examples=(Example(data),)),
    ]
    counted.images = counted.texts = 0
    first = opened.vectors_of(queries)
    assert (counted.images, counted.texts) == (6, 1)  # the last query's image came in the same batch
    again = [vector for query in queries for vector in opened.vectors_of([query])]
    assert (counted.images, counted.texts) == (6, 1)
    fresh = [vector for query in queries for vector in Index.open(index.path, colour_encoder()).vectors_of([query])]
    for kept, computed, anew in zip(first, again, fresh, strict=True):
        np.testing.assert_array_equal(kept, computed)
        np.testing.assert_allclose(kept, anew, atol=1e-6)


def test_a_file_that_changes_is_read_again(tmp_path, index):
    path = tmp_path / "query.png"
    shown = []
    for colour in ("red", "blue"):
        path.write_bytes(coloured(colour))
        shown.append(index.search(Query((Example(path),))).hits[0].image.key.partition("-")[0])
    assert shown == ["red", "blue"]
