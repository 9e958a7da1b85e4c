"""Building: what comes in, what is embedded again, what is counted with a status."""

import json
import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from search_world import ColourEncoder, colour_encoder, coloured, write_images, write_table_of

import openmofi
from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import Record, write_tar
from openmofi.schema import Pair, PairStatus
from openmofi.search import Example, Index, Query, build, remove

ON_BOTH_BACKENDS = True


def _embedded(index, inputs, encoder):
    return build([str(each) for each in inputs], encoder, index)


def test_unchanged_images_are_not_embedded_again(images, index):
    again = _embedded(index.path, [images], index.encoder)
    assert (again.added, again.changed, again.unchanged, again.embedded) == (0, 0, 30, 0)


def test_a_file_that_was_touched_is_hashed_and_not_embedded(images, index):
    os.utime(images / "red-1.png", ns=(1, 1))
    assert _embedded(index.path, [images], index.encoder).embedded == 0


def test_a_changed_image_is_embedded_and_its_old_vector_is_dead(images, index):
    (images / "red-1.png").write_bytes(coloured("blue", 99))
    changes = _embedded(index.path, [images], index.encoder)
    assert (changes.changed, changes.embedded, changes.unchanged) == (1, 1, 29)
    assert index.info().dead == 1
    assert {hit.image.key for hit in index.search(Query(entity="c:blue", limit=6)).hits} == {
        "red-1",
        *(f"blue-{number}" for number in range(5)),
    }


def test_removed_files_go_and_come_back_only_with_their_source(images, index):
    (images / "red-1.png").unlink()
    (images / "red-1.txt").unlink()
    assert _embedded(index.path, [images], index.encoder).removed == 1
    assert index.info().images == 29
    assert remove(index.path, [str(images / "red-2.png")]).removed == 1
    assert _embedded(index.path, [images], index.encoder).added == 1


def test_a_moved_image_keeps_its_vector(images, index):
    (images / "red-1.png").rename(images / "moved.png")
    changes = _embedded(index.path, [images], index.encoder)
    assert (changes.added, changes.embedded) == (1, 0)


def test_a_changed_text_is_found_by_its_new_words_alone(images, index):
    (images / "red-1.txt").write_text("a vermilion thing")
    _embedded(index.path, [images], index.encoder)
    assert [hit.image.key for hit in index.search(Query(text="vermilion", limit=1)).hits] == ["red-1"]
    record = index.image(index.search(Query(text="vermilion", limit=1)).hits[0].image.id)
    assert record.text == "a vermilion thing"
    assert all(hit.keyword is None or hit.image.key != "red-1" for hit in index.search(Query(text="square")).hits)


def test_what_cannot_be_decoded_is_counted_with_its_status(tmp_path, place):
    folder = write_images(tmp_path / "images", 1)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    (folder / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "alone.txt").write_text("a text without an image")
    changes = build([str(folder)], colour_encoder(), place)
    assert changes.statuses == {"ok": 6, "image_broken": 2, "image_unsupported_format": 1, "image_missing": 1}
    info = Index.open(place, ColourEncoder()).info()
    assert (info.images, info.vectors, info.statuses) == (10, 6, changes.statuses)


def test_rows_in_are_rows_out_of_a_tar_with_repeated_keys(tmp_path, place):
    write_tar(
        tmp_path / "00.tar",
        [
            Record("a", coloured("red"), "one"),
            Record("b", coloured("blue"), "two"),
            Pair("a", coloured("grey"), "three", PairStatus.DUPLICATE_KEY),
        ],
    )
    build([str(tmp_path / "00.tar")], colour_encoder(), place)
    records = Index.open(place, ColourEncoder()).search(Query()).hits
    assert Counter((hit.image.key, hit.image.status) for hit in records) == {
        ("a", "ok"): 1,
        ("b", "ok"): 1,
        ("a", "duplicate_key"): 1,
    }


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_images_of_shards_are_read_from_where_they_lie(tmp_path, ending, place):
    write_tar(tmp_path / "00.tar", [Record("a", coloured("red"), "one"), Record("b", coloured("blue"), "two")])
    if ending == "tar.gz":
        import gzip

        (tmp_path / "00.tar.gz").write_bytes(gzip.compress((tmp_path / "00.tar").read_bytes()))
    build([str(tmp_path / f"00.{ending}")], colour_encoder(), place)
    index = Index.open(place, ColourEncoder())
    by_key = {hit.image.key: hit.image.id for hit in index.search(Query()).hits}
    assert index.image_bytes(by_key["b"]) == coloured("blue")


@pytest.mark.parametrize(
    ("path", "change", "match"),
    [
        ("00.tar", "size = 4611686018427387904", "has changed"),
        ("00.tar", "size = -1", "has changed"),
        ("00.tar", '"offset" = 4611686018427387904', "has changed"),
        ("pipe", "size = 9", "not a regular file"),
        ("/dev/zero", "size = 9", "not a regular file"),
    ],
)
def test_of_a_shard_no_more_is_read_than_a_file_has(tmp_path, path, change, match):
    write_tar(tmp_path / "00.tar", [Record("a", coloured("red"), "one")])
    os.mkfifo(tmp_path / "pipe")
    build([str(tmp_path / "00.tar")], colour_encoder(), tmp_path / "index")
    index = Index.open(tmp_path / "index", ColourEncoder())
    assert index.image_bytes(1) == coloured("red")
    index.connection.execute(f"UPDATE images SET {change}")
    index.connection.execute("UPDATE sources SET path = ?", (str(tmp_path / path),))
    with pytest.raises(OpenMofiError, match=match):
        index.image_bytes(1)


@pytest.mark.parametrize("name", ["zażółć gęślą.png", "日本 [1] {2} #%.png", 'emoji 🦊\'s "x".png', "a\nb.png"])
def test_unicode_file_names(tmp_path, name, place):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / name).write_bytes(coloured("red"))
    build([str(folder)], colour_encoder(), place)
    index = Index.open(place, ColourEncoder())
    (hit,) = index.search(Query(text="red", keywords=False)).hits
    assert hit.image.path == str(folder / name)
    assert index.image_bytes(hit.image.id) == coloured("red")
    assert remove(index.path, [str(folder / name)]).removed == 1


def test_a_name_that_is_no_utf8(tmp_path, place):
    folder = tmp_path / "images"
    folder.mkdir()
    path = os.fsencode(folder) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write(coloured("red"))
    build([str(folder)], colour_encoder(), place)
    index = Index.open(place, ColourEncoder())
    (hit,) = index.search(Query(text="red", keywords=False)).hits
    assert index.image_bytes(hit.image.id) == coloured("red")


def test_metadata_of_a_table(tmp_path, place):
    folder = write_images(tmp_path / "images", 1, ("red", "blue"))
    write_table_of(
        folder,
        [
            {"file_name": "red-0.png", "text": "red one", "licence": "CC-BY-4.0", "date": "2024-05-01", "views": 3},
            {"file_name": "blue-0.png", "text": "blue one", "licence": "CC0", "date": "2023-01-31", "odd": [1, 2]},
        ],
    )
    build([str(folder)], colour_encoder(), place)
    index = Index.open(place, ColourEncoder())
    assert {hit.image.text: dict(hit.image.columns) for hit in index.search(Query()).hits} == {
        "red one": {"licence": "CC-BY-4.0", "date": "2024-05-01", "views": 3},
        "blue one": {"licence": "CC0", "date": "2023-01-31"},
    }
    assert index.info().columns == ("date", "licence", "views")


def test_vectors_of_full_precision(images, colour_kb, place):
    encoder = colour_encoder()
    build([str(images)], encoder, place, kb=KnowledgeBase.open(colour_kb), dtype="float32")
    index = Index.open(place, encoder)
    (hit,) = index.search(Query(text="red", limit=1)).hits
    vector = encoder.embed_texts(["red"])[0]
    ids, vectors = index.vectors()
    assert np.array_equal(vectors[ids == hit.image.id][0], encoder.embed_images([hit.image.path])[0])
    assert hit.cosine == pytest.approx(float(vectors[ids == hit.image.id][0] @ vector), abs=1e-6)
    assert index.search(Query(entity="c:red")).hits
    assert not any(index.verify().values())
    index.remove([hit.image.path])
    index.compact()
    assert (index.info().dtype, index.info().vectors) == ("float32", 29)
    assert not any(index.verify().values())
    assert index.add([str(images)]).added == 1


def test_an_index_goes_on_with_the_dtype_and_template_that_it_was_built_with(images, colour_kb, place):
    build([str(images)], colour_encoder(), place, dtype="float32", template="a {name}")
    for dtype, template in (("float16", "a {name}"), ("float32", "{name}")):
        with pytest.raises(UsageError, match="was built with") as raised:
            build([str(images)], colour_encoder(), place, dtype=dtype, template=template)
        named = ("'float32'", "'float16'") if dtype == "float16" else ("'a {name}'", "'{name}'")
        assert all(each in raised.value.message for each in named)
    assert build([str(images)], colour_encoder(), place, dtype="float32", template="a {name}").unchanged == 30


def test_a_large_base_without_labels_is_said_to_be_left_out(tmp_path, colour_kb, monkeypatch, caplog):
    monkeypatch.setattr("openmofi.search.building._ALL", 3)
    images, kb = write_images(tmp_path / "images", 1, ("red",)), KnowledgeBase.open(colour_kb)
    build([str(images)], colour_encoder(), tmp_path / "index", kb=kb)
    assert "has 6, more than the 3 that an index takes of itself: it knows none now." in caplog.text
    caplog.clear()
    build([str(images)], colour_encoder(), tmp_path / "index", kb=kb, entities="all")
    assert caplog.text == ""
    assert Index.open(tmp_path / "index", colour_encoder()).info().entities == 6


def test_an_encoder_without_texts(images, colour_kb, place, monkeypatch):
    encoder = colour_encoder()
    monkeypatch.setattr(type(encoder), "has_texts", False)
    build([str(images)], encoder, place, kb=KnowledgeBase.open(colour_kb))
    index = Index.open(place, encoder)
    assert index.info().entities == 6
    found = index.search(Query((Example(images / "blue-1.png"),), limit=5)).hits
    assert {hit.image.key[:4] for hit in found} == {"blue"}
    assert not any(index.verify().values())


def test_no_images_at_all(images, index):
    remove(index.path, [str(images)])
    info = index.info()
    assert (info.images, info.vectors, info.sources) == (0, 0, ())
    for query in (Query(), Query(text="red"), Query(entity="c:red"), Query(text="red", keywords=False)):
        results = index.search(query)
        assert (results.hits, results.total) == ((), 0)
        assert results.note
    assert index.recognise(images / "red-1.png", limit=1).entities[0].entity.id == "c:red"
    with pytest.raises(UsageError, match="matches nothing"):
        build([str(images.parent / "nothing")], index.encoder, index.path)


def test_another_encoder_is_refused(images, index):
    class Other(ColourEncoder):
        fingerprint = "colours-2"

    for use in (
        lambda: Index.open(index.path, Other()),
        lambda: build([str(images)], openmofi.encoders.as_encoder(Other()), index.path),
    ):
        with pytest.raises(OpenMofiError, match="vectors cannot be compared"):
            use()


def test_thumbnails_are_webp_and_small(tmp_path, place):
    import io

    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (2000, 1000), (200, 20, 20)).save(folder / "large.jpg")
    build([str(folder)], colour_encoder(), place)
    index = Index.open(place, ColourEncoder())
    (hit,) = index.search(Query()).hits
    small = Image.open(io.BytesIO(index.thumbnail(hit.image.id)))
    assert (small.format, small.size) == ("WEBP", (256, 128))
    (folder / "large.jpg").unlink()
    assert index.thumbnail(hit.image.id)
    with pytest.raises(OpenMofiError, match=r"cannot be read|has changed|does not exist"):
        index.image_bytes(hit.image.id)


def test_labels_come_in_with_their_entities(small_world, labelled, small_encoder, tmp_path, place):
    index = openmofi.build_index(labelled, encoder=small_encoder, out=place)
    info, labels = index.info(), openmofi.Labels.open(labelled)
    # Two mentions of a text may mean the same entity, which the image shows once.
    distinct = {(row["shard"], row["key"], row["entity"]) for row in labels.accepted().to_pylist()}
    assert (info.images, info.labels) == (labels.summary["rows_in"], len(distinct))
    hits = index.search(Query(entity="e:sun", limit=10)).hits
    shown = [small_world.truth[hit.image.shard, hit.image.key] for hit in hits]
    assert shown.count("e:sun") >= 8
    sun = index.find_entity("Sun")
    assert (sun.id, sun.types) == ("e:sun", ("circle",))
    images = index.entity_images("e:sun", accepted=True)
    assert sun.images == len(images) > 5
    assert [each.probability for each in images] == sorted((each.probability for each in images), reverse=True)
    assert json.dumps(info.statuses)
