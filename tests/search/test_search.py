"""Queries: images, text, entity, marks, filters, regions, keywords; hostile ones too."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from search_world import COLOURS, ColourEncoder, colour_encoder, coloured, write_images, write_table_of

from openmofi.errors import OpenMofiError, UnknownEntityError, UsageError
from openmofi.search import Example, Filters, Index, Query, Region, build
from openmofi.search.rank.ranking import fused
from small_world import write_kb_source

ON_BOTH_BACKENDS = True


def _colours(results, count=5):
    return [hit.image.key.partition("-")[0] for hit in results.hits[:count]]


def test_by_image_text_and_entity(index, images):
    assert set(_colours(index.search(Query((Example(images / "blue-1.png"),))))) == {"blue"}
    assert set(_colours(index.search(Query(text="green", keywords=False)))) == {"green"}
    assert set(_colours(index.search(Query(entity="c:yellow")))) == {"yellow"}


def test_a_text_is_a_query_and_its_results_a_data_frame(index):
    results = index.search("green")
    assert results.hits == index.search(Query(text="green")).hits
    frame = results.limit(2).to_pandas()
    assert frame["rank"].tolist() == [1, 2]
    assert frame["key"].tolist() == [hit.image.key for hit in results.hits[:2]]
    assert frame["cosine"].tolist() == [hit.cosine for hit in results.hits[:2]]
    assert all(name.partition("-")[0] == "green" for name in frame["key"])
    assert len(results.limit(0).to_pandas()) == 0


def test_cosines_are_those_of_the_vectors(index, images):
    results = index.search(Query((Example(images / "blue-1.png"),), limit=30, fold=False))
    vector = index.encoder.embed_images(images / "blue-1.png")[0]
    ids, vectors = index.vectors()
    exact = dict(zip(ids.tolist(), (vectors @ vector).tolist(), strict=True))
    assert len(results.hits) == 30
    for hit in results.hits:
        assert hit.cosine == pytest.approx(exact[hit.image.id], abs=1e-5)
    assert [hit.cosine for hit in results.hits] == sorted((hit.cosine for hit in results.hits), reverse=True)


def test_images_are_added_and_taken_off(index, images):
    both = coloured("red", 3, other="blue")
    only_red = index.search(Query((Example(both), Example(images / "blue-0.png", -1.0))))
    assert set(_colours(only_red)) == {"red"}


def test_an_image_of_the_index_is_a_query_by_its_id(index):
    some = index.search(Query(text="grey", limit=1)).hits[0].image
    assert index.search(Query((Example(some.id),), limit=1)).hits[0].cosine == pytest.approx(1, abs=1e-3)
    with pytest.raises(OpenMofiError, match="no image 999"):
        index.search(Query((Example(999),)))


def test_a_region_is_what_is_searched_by(index):
    half = coloured("red", 1, other="green")
    assert set(_colours(index.search(Query((Example(half, region=Region(0.6, 0, 1, 1)),))))) == {"green"}
    assert set(_colours(index.search(Query((Example(half, region=Region(0, 0, 0.4, 1)),))))) == {"red"}
    tiny = io.BytesIO()
    Image.new("RGB", (1, 1), COLOURS["blue"]).save(tiny, "PNG")
    assert set(_colours(index.search(Query((Example(tiny.getvalue(), region=Region(0.999, 0.999, 1, 1)),))))) == {
        "blue"
    }


@pytest.mark.parametrize("text", ["0.5,0,0.4,1", "0,0,1,2", "a,b", "0,0,1", "nan,0,1,1", "-.1,0,1,1"])
def test_regions_outside_of_the_image_are_refused(text):
    with pytest.raises(UsageError, match="region"):
        Region.parse(text)


def test_marks_refine(index):
    ids = {hit.image.key: hit.image.id for hit in index.search(Query(limit=30)).hits}
    liked = index.search(Query(like=(ids["red-0"], ids["yellow-1"]), unlike=(ids["green-0"], ids["white-1"])))
    assert set(_colours(liked, 10)) == {"red", "yellow"}
    for asked in (Query(limit=30), Query(text="red", limit=30)):  # one that is marked wrong alone comes last
        first, *others = (hit.image.id for hit in index.search(asked).hits)
        assert [hit.image.id for hit in index.search(replace(asked, unlike=(first,))).hits] == [*others, first]


def test_filters(tmp_path, place):
    folder = write_images(tmp_path / "images", 2, ("red", "blue"))
    write_table_of(
        folder,
        [
            {
                "file_name": f"{colour}-{number}.png",
                "text": f"{colour} {number}",
                "licence": ["CC-BY-4.0", "CC0"][number],
                "date": f"2024-0{number + 1}-15T10:00:00",
                "author": "Doe [x]?",
            }
            for colour in ("red", "blue")
            for number in range(2)
        ],
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other/green.png").write_bytes(coloured("green"))
    build([str(folder), str(tmp_path / "other")], colour_encoder(), place)
    index = Index.open(place, ColourEncoder())

    def found(**filters):
        return sorted(hit.image.text or hit.image.key for hit in index.search(Query(filters=Filters(**filters))).hits)

    assert found(licence="cc-by*") == found(licence="cc-by-4.0") == ["blue 0", "red 0"]
    assert found(since="2024-02-01") == found(since="2024-02-15", until="2024-02-15") == ["blue 1", "red 1"]
    assert found(folder=str(tmp_path / "other")) == found(folder=f"{tmp_path}/other/") == ["green"]
    assert found(folder=str(tmp_path / "oth")) == []
    assert len(found(columns={"author": "doe [x]?"})) == 4
    assert found(columns={"no \"such'": "x"}) == []
    assert [hit.image.text for hit in index.search(Query(text="red", filters=Filters(licence="cc0"))).hits] == [
        "red 1",
        "blue 1",
    ]
    with pytest.raises(UsageError, match="not a day"):
        Filters(since="yesterday")


@pytest.mark.parametrize("stored", ["2024-05-01", "20240501", "2024-05-01T10:00:00Z", "2024:05:01 10:00:00", 20240501])
@pytest.mark.parametrize("asked", ["2024-05-01", "20240501", "2024-W18-3"])
def test_days_are_the_same_day_however_they_are_spelt(tmp_path, place, stored, asked):
    folder = write_images(tmp_path / "images", 1, ("red", "blue"))
    write_table_of(
        folder,
        [
            {"file_name": "red-0.png", "text": "red", "date": stored},
            {"file_name": "blue-0.png", "text": "blue", "date": "2024-04-30"},
        ],
    )
    build([str(folder)], colour_encoder(), place)
    index = Index.open(place, colour_encoder())
    for filters in (Filters(since=asked), Filters(since=asked, until=asked)):
        assert [hit.image.text for hit in index.search(Query(filters=filters)).hits] == ["red"]
    index.close()


@pytest.mark.parametrize("day", ["2024-5-1", "1.5.2024", "2024-05-01T10:00", "20240532", "2024", "202405", " 20240501"])
def test_what_is_no_day_is_refused(day):
    with pytest.raises(UsageError, match="not a day"):
        Filters(until=day)


def test_columns_of_all_kinds(tmp_path, place):
    folder = write_images(tmp_path / "images", 1, ("red", "blue"))
    write_table_of(
        folder,
        [
            {"file_name": "red-0.png", "text": "one", "free": True, "views": 3, "ratio": 1.5, "note": "100%_sure!"},
            {
                "file_name": "blue-0.png",
                "text": "two",
                "free": False,
                "views": 30,
                "ratio": 15,
                "note": "a\x00b",
                "it's": 1,
            },
        ],
    )
    build([str(folder)], colour_encoder(), place)
    index = Index.open(place, ColourEncoder())

    def found(**columns):
        return {hit.image.key[:-4] for hit in index.search(Query(filters=Filters(columns=columns))).hits}

    for columns, keys in (
        ({"free": "1"}, {"red-0"}),
        ({"free": "0"}, {"blue-0"}),
        ({"views": "3"}, {"red-0"}),
        ({"views": "3*"}, {"red-0", "blue-0"}),
        ({"ratio": "1.5"}, {"red-0"}),
        ({"note": "100%_S*"}, {"red-0"}),
        ({"note": "100_*"}, set()),
        ({"note": "*!"}, {"red-0"}),
        ({"note": "a?b"}, set()),
        ({"it's": "1"}, {"blue-0"}),
        ({'no"ne': "*"}, set()),
    ):
        assert found(**columns) == keys, columns


def test_labels_filter_with_subtypes(small_world, labelled, small_encoder, tmp_path, place):
    import pyarrow as pa

    import openmofi
    from openmofi.schema import RELATIONS
    from openmofi.storage import write_table

    source = write_kb_source(tmp_path / "source")
    write_table(
        source / "relations.parquet",
        pa.Table.from_pylist(
            [
                {"head": "e:sun", "relation": "hypernym", "tail": "e:moon"},
                {"head": "e:moon", "relation": "hypernym", "tail": "e:sun"},
                {"head": "e:tent", "relation": "near", "tail": "e:moon"},
            ],
            RELATIONS,
        ),
    )
    index = openmofi.build_index(
        labelled, encoder=small_encoder, out=place, kb=openmofi.build_kb("table", source, tmp_path / "kb")
    )
    results = index.search(Query(filters=Filters(entity="e:moon"), limit=500, fold=False))
    labels = [{label.entity for label in hit.image.labels if label.accepted} for hit in results.hits]
    assert labels
    assert all(each & {"e:sun", "e:moon"} for each in labels)
    assert any("e:sun" in each for each in labels)
    boxes = index.search(Query(filters=Filters(type="box", min_probability=0.9), limit=500, fold=False))
    assert boxes.hits
    for hit in boxes.hits:
        assert any(label.entity in ("e:brick", "e:lawn") and label.probability >= 0.9 for label in hit.image.labels)


def test_pages_of_results_are_the_whole_list(index):
    whole = index.search(Query(text="red square", limit=30)).hits
    pages = [
        hit
        for offset in (0, 7, 14, 21, 28)
        for hit in index.search(Query(text="red square", limit=7, offset=offset)).hits
    ]
    assert [(hit.image.id, hit.rank) for hit in pages] == [(hit.image.id, hit.rank) for hit in whole]


def test_near_duplicates_are_folded(tmp_path, place):
    folder = write_images(tmp_path / "images", 2)
    image = Image.open(folder / "red-0.png").convert("RGB")
    image.save(folder / "red-again.jpg", quality=80)
    (folder / "copy.png").write_bytes((folder / "red-0.png").read_bytes())
    build([str(folder)], colour_encoder(), place)
    index = Index.open(place, ColourEncoder())
    folded = index.search(Query(text="red", keywords=False, limit=30))
    keys = {hit.image.key: [index.image(other).key for other in hit.duplicates] for hit in folded.hits}
    together = next({key, *others} for key, others in keys.items() if key in ("red-0", "red-again", "copy"))
    assert together == {"red-0", "red-again", "copy"}
    assert len(index.search(Query(text="red", keywords=False, limit=30, fold=False)).hits) == 14


@pytest.fixture(scope="module")
def shared_index(tmp_path_factory):
    root = tmp_path_factory.mktemp("shared")
    build([str(write_images(root / "images", 1))], colour_encoder(), root / "index")
    return Index.open(root / "index", ColourEncoder())


@settings(max_examples=150, derandomize=True)
@given(st.text(max_size=60))
def test_no_query_is_syntax(shared_index, text):
    results = shared_index.search(Query(text=text, limit=3))
    assert (results.total, len(results.hits)) == (6, 3)  # every image has a vector: words only order them
    assert shared_index.complete(text) == []  # an index of images alone knows no entities


@pytest.mark.parametrize(
    "text",
    [
        '"',
        "'",
        "red AND",
        "NOT red",
        "NEAR(red blue",
        "text:red",
        "red*",
        "^red",
        "(",
        "a OR",
        "{red}",
        "\0",
        "- red",
        "red; DROP TABLE images",
        "⁂",
        "x" * 100_000,
        "red " * 5000,
    ],
)
def test_hostile_queries(shared_index, text):
    assert shared_index.search(Query(text=text)).total == 6


def test_completion_and_names(index):
    assert [each.id for each in index.complete("gre")] == ["c:green", "c:grey"]
    assert [index.complete(typo)[0].id for typo in ("grene", "crmison", "yelow")] == ["c:green", "c:red", "c:yellow"]
    assert index.complete("zxcv") == []
    assert index.complete("crim")[0].id == index.find_entity("Crimson").id == index.find_entity("c:red").id == "c:red"


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("gren", "green (c:green)"),
        ("YELOW", "yellow (c:yellow)"),
        ("crmison", "crimson (c:red)"),
        ("gre", "grey (c:grey)"),
        ("c:gren", "green (c:green)"),
        ("wihte", "white (c:white)"),
        ("x" * 100_000, ""),
        ('"*^', ""),
        ("", ""),
        ("ü", ""),
    ],
)
def test_an_unknown_entity_is_answered_with_those_spelt_alike(index, given, near):
    for ask in (
        index.find_entity,
        index.entity,
        lambda entity: index.search(Query(entity=entity)),
        lambda entity: index.search(Query(filters=Filters(entity))),
    ):
        if not given and ask not in (index.find_entity, index.entity):
            continue
        with pytest.raises(UnknownEntityError, match="knows no entity") as raised:
            ask(given)
        assert raised.value.hint.startswith(f"Did you mean {near}" if near else "Search by text")


def test_reciprocal_rank_fusion():
    # 1/61 + 1/62 of one, 1/62 + 1/61 of another, 1/63 of a third.
    assert fused([[1, 2, 3], [2, 1]]) == [1, 2, 3]
    assert fused([[5, 6], [6]]) == [6, 5]
    assert fused([[], []]) == []


def test_queries_go_through_the_encoder_together(index, images):
    queries = [Query(text="red"), Query((Example(images / "blue-1.png"),)), Query(), Query(text="green")]
    vectors = index.vectors_of(queries)
    assert vectors[2] is None
    for query, vector in zip(queries, vectors, strict=True):
        if vector is not None:
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
            assert index.search(query, vector).hits == index.search(query).hits


def test_verdicts_are_kept_and_taken_back(index):
    from openmofi.search import Verdict

    one = index.add_verdict(Verdict("images", "red-1", "c:red", "y", who="ann"))
    two = index.add_verdict(Verdict("images", "red-1", "c:red", "n", instead="c:blue", who="bob"))
    assert [each.id for each in index.verdicts()] == [two.id, one.id]
    assert index.undo_verdict(two.id)
    assert not index.undo_verdict(two.id)
    assert index.verdicts("c:red") == [one]
    assert one.when.endswith("Z")
