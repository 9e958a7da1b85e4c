"""The feature store: one key for all rooms, every row kept, refused images as zeros with their status."""

import errno
import io
import json
from dataclasses import replace

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from openmofi.encoders import as_encoder
from openmofi.errors import OpenMofiError
from openmofi.features import store as store_module
from openmofi.features.images import file_sources
from openmofi.features.store import FeatureStore, PreparedImage
from openmofi.pairs import ReadSettings
from openmofi.pairs.images import formats
from openmofi.schema import Pair, PairStatus
from openmofi.storage import table_files as blocks


def encoded(width=40, height=30, kind="PNG", seed=0) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def means(images) -> np.ndarray:
    return np.stack([np.asarray(image, np.float32).mean((0, 1)) for image in images])


def texts(captions) -> np.ndarray:
    return np.stack([np.array([len(caption), 1.0, 2.0], np.float32) for caption in captions])


@pytest.fixture
def store(tmp_path) -> FeatureStore:
    return FeatureStore(str(tmp_path), as_encoder((means, texts)))


def test_every_row_is_kept_with_what_decoding_gave(store):
    pairs = [
        Pair("a", encoded(), ""),
        Pair("b", b"broken", ""),
        Pair("c", None, ""),
        Pair("d", None, "", PairStatus.TEXT_MISSING),
        Pair("e", encoded(seed=1), ""),
    ]
    images = [store.prepare(pair) for pair in pairs]
    features = store.embed(images)
    with store.writing("shard", "stamp") as add:
        add(images[:3], features[:3])
        add(images[3:], features[3:])
    stored = store.open("shard", "stamp")
    assert stored.table["key"].to_pylist() == ["a", "b", "c", "d", "e"]
    assert stored.table["status"].to_pylist() == ["ok", "image_broken", "image_missing", "text_missing", "ok"]
    assert stored.usable.tolist() == [True, False, False, False, True]
    assert (stored.table["width"][0].as_py(), stored.table["height"][0].as_py()) == (40, 30)
    assert len(set(stored.table["content"].to_pylist())) == 4
    np.testing.assert_array_equal(stored.values, features.astype(np.float16))
    np.testing.assert_array_equal(stored.values[1:4], 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": 32},
        {"max_pixels": 100},
        {"full_size": True},
        {"hashes": False},
        {"dtype": "float32"},
        {"read": ReadSettings(on_damage="keep")},
    ],
)
def test_all_that_decides_a_feature_is_in_its_key(store, changed):
    assert replace(store, **changed).folder != store.folder
    assert replace(store).folder == store.folder


def test_a_shard_of_another_content_is_another_file(store):
    with store.writing("shard", "one"):
        pass
    assert store.has("shard", "one")
    assert not store.has("shard", "two")
    assert store.open("shard", "one").values.shape == (0, 3)
    with pytest.raises(OpenMofiError, match="cannot be read"):
        store.open("shard", "two")


def test_a_damaged_file_is_one_sentence(store):
    with store.writing("shard", "one") as add:
        add([PreparedImage("a", PairStatus.OK)], np.ones((1, 3), np.float32))
    with open(store.path("shard", "one"), "r+b") as handle:
        handle.truncate(60)
    with pytest.raises(OpenMofiError, match="cannot be read"):
        store.open("shard", "one").values  # noqa: B018


def test_a_shard_of_many_rows_is_several_blocks_and_reads_as_one(store, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4)
    features = np.arange(30, dtype=np.float32).reshape(10, 3)
    with store.writing("shard", "one") as add:
        for start in range(0, 10, 3):
            part = features[start : start + 3]
            add([PreparedImage(str(start + row), PairStatus.OK) for row in range(len(part))], part)
    parts = list(store.blocks("shard", "one"))
    assert [len(part.table) for part in parts] == [4, 4, 2]
    whole = store.open("shard", "one")
    np.testing.assert_array_equal(whole.values, features)
    np.testing.assert_array_equal(np.concatenate([part.values for part in parts]), features)
    assert whole.table["key"].to_pylist() == list("0123456789")


def test_models_without_antialias_see_jpegs_at_full_size(store):
    jpeg = encoded(1200, 900, "JPEG")
    small = replace(store.encoder.preprocessing, size=32)
    sizes = {}
    for antialias in (True, False):
        encoder = replace(store.encoder, preprocessing=replace(small, antialias=antialias))
        sizes[antialias] = replace(store, encoder=encoder).prepare(Pair("a", jpeg, "")).pixels.size
    assert sizes[False] == (1200, 900)
    assert sizes[True][0] < 1200
    assert store.prepare(Pair("a", jpeg, "")).width == 1200


def test_formats_that_were_not_read_are_counted_and_heic_is_tried_again(store, monkeypatch):
    monkeypatch.setattr(formats, "heic_readable", lambda: False)
    monkeypatch.setattr(store_module, "heic_readable", lambda: False)
    pillow_heif.register_heif_opener()
    pairs = [
        Pair("a", encoded(), ""),
        Pair("b", encoded(kind="HEIF"), ""),
        Pair("c", b"<svg/>", ""),
        Pair("d", encoded(kind="HEIF", seed=2), ""),
    ]
    images = [store.prepare(pair) for pair in pairs]
    for name, written in (("shard", images), ("plain", images[:1])):
        with store.writing(name, "stamp") as add:
            add(written, store.embed(written))
    unread = "image_unsupported_format"
    assert store.open("shard", "stamp").table["status"].to_pylist() == ["ok", unread, unread, unread]
    assert store.unread_formats("shard", "stamp") == {"HEIC": 2, "SVG": 1}
    assert store.unread_formats("plain", "stamp") == {}
    assert store.open("plain", "stamp").table.schema.metadata is None
    assert store.has("shard", "stamp")
    monkeypatch.undo()
    assert not store.has("shard", "stamp")
    assert store.has("plain", "stamp")
    images = [store.prepare(pair) for pair in pairs]
    assert [str(image.status) for image in images] == ["ok", "ok", unread, "ok"]
    for written in (images, [image for image in images if image.status == PairStatus.OK]):
        with store.writing("shard", "stamp") as add:
            add(written, store.embed(written))
        assert store.has("shard", "stamp")
    assert store.unread_formats("shard", "stamp") == {}


@pytest.mark.parametrize("error", [MemoryError("no room"), OSError(errno.EMFILE, "Too many open files")])
def test_a_shortage_is_no_status_of_an_image(store, monkeypatch, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "convert", fail)
    monkeypatch.setattr(Image.Image, "copy", fail)
    with pytest.raises(type(error)):
        store.prepare(Pair("a", encoded(), ""))


def test_a_file_that_cannot_be_opened_now_is_not_missing(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(encoded())
    source = file_sources(tmp_path, ["a.png", "gone.png"])[0]
    loads = dict(source.read())
    assert (loads["a.png"]().status, loads["gone.png"]().status) == (PairStatus.OK, PairStatus.IMAGE_MISSING)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(OSError, match="Too many open files"):
        loads["a.png"]()


@pytest.mark.parametrize("stamp", ["../../x", "a/b", "a.b", "", "..", "a\\b", "a\0"])
def test_a_stamp_of_others_leads_nowhere(store, stamp):
    for asked in (store.has, store.open):
        with pytest.raises(OpenMofiError, match="is no fingerprint of the shard pairs"):
            asked("pairs", stamp)


def test_features_are_written_nowhere_that_a_note_of_others_names(store, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path / "own"))
    store.note(tmp_path)
    note = tmp_path / "features.json"
    for place in (tmp_path / "theirs", "a\0b"):
        note.write_text(json.dumps(json.loads(note.read_text()) | {"cache": str(place)}))
        noted = FeatureStore.noted(tmp_path, store.encoder)
        assert noted is not None
        assert noted.cache == str(tmp_path / "own")
    (tmp_path / "theirs" / "features").mkdir(parents=True)
    note.write_text(json.dumps(json.loads(note.read_text()) | {"cache": str(tmp_path / "theirs")}))
    assert FeatureStore.noted(tmp_path, store.encoder).cache == str(tmp_path / "theirs")
