"""The encoder as an object: pickles, folds, companions, precisions, images in every form, users' own encoders."""

import io
import json
import pickle
import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from openmofi.encoders import ClassVectors, Encoder, Folds, Head, as_encoder, open_encoder, save_heads
from openmofi.encoders.companions import FITTED
from openmofi.engine import Quiet
from openmofi.engine.engines import ProcessEngine
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs import decode_image

from .conftest import TEXTS, drawn_image
from .custom_encoders import EmbedStage, Mine


@pytest.fixture(scope="module")
def base(clip_folder):
    return open_encoder(f"hf:{clip_folder}")


@pytest.fixture
def folder(base, tmp_path):
    """Heads with two folds and class vectors."""
    for seed, part in enumerate(("", "folds/0", "folds/1")):
        heads = [Head.initial(dim, 8, seed=seed + 5) for dim in (base.feature_dim, base.text_feature_dim)]
        save_heads(
            tmp_path / "run" / part, base=base, image_head=heads[0], text_head=heads[1], logit_scale=9.0, settings={}
        )
    return tmp_path / "run"


def encoded(seed):
    out = io.BytesIO()
    drawn_image(50, 40, seed).save(out, "PNG")
    return out.getvalue()


def test_workers_open_an_encoder_again(folder, forked_workers):
    encoder = open_encoder(f"run:{folder}")
    results = ProcessEngine(2).run(EmbedStage(encoder), ["apple", "two"], Quiet())
    assert [result["fingerprint"] for result in results] == [encoder.fingerprint] * 2
    np.testing.assert_allclose(
        [result["embedding"] for result in results], encoder.embed_texts(["apple", "two"]), atol=1e-6
    )


def test_a_worker_refuses_an_encoder_that_changed(folder, forked_workers):
    encoder = open_encoder(f"run:{folder}")
    raw = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps({**raw, "logit_scale": 3.0}))
    with pytest.raises(OpenMofiError, match="is not the same in this process"):
        ProcessEngine(1).run(EmbedStage(encoder), ["apple"], Quiet())


def test_folds_and_adapters_stand_on_the_base_that_is_open(base, folder, tmp_path):
    encoder = open_encoder(f"run:{folder}", bases=[base])
    folds = [encoder.fold(number) for number in range(2)]
    assert all(one.heads.base is base for one in (encoder, *folds))
    assert len({encoder.fingerprint, *(fold.fingerprint for fold in folds)}) == 3
    assert folds[1].fingerprint == open_encoder(f"run:{folder}/folds/1").fingerprint
    assert pickle.loads(pickle.dumps(folds[1])).fingerprint == folds[1].fingerprint
    for other in (base, as_encoder(Mine())):
        with pytest.raises(OpenMofiError, match="has no folds"):
            other.fold(0)
    with pytest.raises(OpenMofiError, match="is not an encoder"):
        encoder.fold(7)
    stranger = as_encoder(Mine())
    assert open_encoder(f"run:{folder}", bases=[stranger]).heads.base.fingerprint == base.fingerprint


def test_companions_are_what_lies_beside(base, folder):
    encoder = open_encoder(f"run:{folder}")
    assert encoder.companions.calibration is None
    ClassVectors(pa.array(["a"]), np.ones((1, 8), np.float32)).save(folder)
    Folds(2, FITTED.empty_table()).save(folder)
    (folder / "calibration.json").write_text("{}")
    assert encoder.companions.calibration == folder / "calibration.json"
    assert encoder.companions.class_vectors.ids.to_pylist() == ["a"]
    assert encoder.companions.folds == Folds(2, FITTED.empty_table())
    assert [path.name for path in encoder.companions.files] == [
        "calibration.json",
        "classes.parquet",
        "folds.parquet",
        "folds.json",
    ]
    assert encoder.companions.source_fingerprint == ""
    assert (base.companions.calibration, base.companions.class_vectors, base.companions.folds) == (None, None, None)


def test_images_in_every_form(base, tmp_path):
    images, data = [drawn_image(50, 40, seed) for seed in range(3)], [encoded(seed) for seed in range(3)]
    paths = [tmp_path / f"{seed}.png" for seed in range(3)]
    for path, content in zip(paths, data, strict=True):
        path.write_bytes(content)
    expected = base.project_images(base.image_features(np.stack([base.preprocess(image) for image in images])))
    arrays = [np.asarray(image) for image in images]
    for form in (
        images,
        data,
        paths,
        list(map(str, paths)),
        arrays,
        np.stack(arrays),
        iter(images),
        [images[0], data[1], paths[2]],
    ):
        np.testing.assert_allclose(base.embed_images(form, batch_size=2), expected, atol=1e-5)
    for image in (images[0], data[0], paths[0], str(paths[0]), arrays[0]):
        np.testing.assert_allclose(base.embed_images(image), expected[:1], atol=1e-5)
    assert base.embed_images([]).shape == (0, base.dim)
    with pytest.raises(UsageError, match="batch_size is 0"):
        base.embed_images(images, batch_size=0)


def test_texts_in_parts_are_the_same_in_any_order(base):
    texts = [*TEXTS, "", "crane", "two"]
    whole, parts = base.embed_texts(texts), base.embed_texts(iter(texts), batch_size=2)
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    np.testing.assert_array_equal(parts[::-1], base.embed_texts(texts[::-1], batch_size=2))
    np.testing.assert_allclose(np.linalg.norm(parts, axis=1), 1, atol=1e-5)
    assert base.embed_texts([]).shape == (0, base.dim)
    with pytest.raises(UsageError, match="batch_size is 0"):
        base.embed_texts(texts, batch_size=0)


def test_a_bar_is_drawn_where_it_is_asked_for(base, capsys):
    image = drawn_image(50, 40)
    quiet = [base.embed_images([image]), base.embed_texts(["apple"])]
    assert capsys.readouterr() == ("", "")
    drawn = [base.embed_images(iter([image]), progress=True), base.embed_texts(["apple"], progress=True)]
    out, err = capsys.readouterr()
    assert not out
    assert re.search(r"images .*\n.*texts .*100%", err, re.DOTALL), err
    for row, other in zip(quiet, drawn, strict=True):
        np.testing.assert_array_equal(row, other)
    with pytest.raises(OpenMofiError, match="Image 1 is a float"):
        base.embed_images([image, 1.5], progress=True)


@pytest.mark.parametrize("kind", ["transparent", "turned", "grey"])
def test_an_opened_image_is_what_its_file_is(base, tmp_path, kind):
    image, options = drawn_image(50, 40), {}
    if kind == "transparent":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    elif kind == "turned":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    else:
        image = Image.fromarray(np.linspace(0, 65535, 2000).reshape(40, 50).astype(np.uint16))
    path = tmp_path / "image.png"
    image.save(path, **options)
    plain = base.embed_images(np.asarray(Image.open(path).convert("RGB")))
    with Image.open(path) as opened:
        np.testing.assert_array_equal(base.embed_images(opened), base.embed_images(path))
        assert np.abs(base.embed_images(opened) - plain).max() > 1e-3


def test_texts_in_every_form(base):
    texts = ["a crane", "two cranes"]
    expected = base.project_texts(base.text_features(texts))
    for form in (texts, tuple(texts), iter(texts), np.array(texts), (text for text in texts)):
        np.testing.assert_array_equal(base.embed_texts(form), expected)
    np.testing.assert_allclose(base.embed_texts("a crane"), expected[:1], atol=1e-6)
    assert base.embed_texts([]).shape == (0, base.dim)
    with pytest.raises(OpenMofiError, match="Text 1 is a NoneType"):
        base.embed_texts(["a crane", None])


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (b"no image", "Image 1 is not a usable image"),
        ("nowhere.png", "nowhere.png cannot be read"),
        (np.zeros((4, 4), np.uint8), "array of uint8"),
        (np.zeros((4, 4, 3), np.float32), "array of float32"),
        (7, "Image 1 is a int"),
    ],
)
def test_what_is_no_image_is_one_sentence(base, image, says):
    with pytest.raises(OpenMofiError, match=says):
        base.embed_images([drawn_image(8, 8), image])


@pytest.mark.slow
def test_precision(base, folder):
    exact, rounded = open_encoder(f"run:{folder}"), open_encoder(f"run:{folder}", precision="bf16")
    assert (exact.precision, rounded.precision) == ("fp32", "bf16")
    assert exact.feature_fingerprint != rounded.feature_fingerprint
    image, expected = rounded.embed_images(drawn_image(40, 40)), exact.embed_images(drawn_image(40, 40))
    assert image.dtype == np.float32
    assert 1e-6 < np.abs(image - expected).max() < 0.05
    assert rounded.fold(0).precision == "bf16"
    again = pickle.loads(pickle.dumps(rounded))
    assert (again.precision, again.fingerprint) == ("bf16", rounded.fingerprint)
    assert rounded.with_precision("fp32") is rounded.exact
    with pytest.raises(UsageError, match="unknown value 'int8' for precision"):
        open_encoder(base.spec, precision="int8")


def test_everything_that_stands_for_an_encoder(base, clip_folder):
    mine = Mine()
    assert as_encoder(base) is base
    assert as_encoder(f"hf:{clip_folder}").fingerprint == base.fingerprint
    encoder, pair = as_encoder(mine), as_encoder((mine.embed_images, mine.embed_texts))
    assert isinstance(encoder, Encoder)
    assert (encoder.dim, encoder.logit_scale, pair.logit_scale) == (3, 50.0, None)
    images = [drawn_image(20, 30, seed) for seed in range(70)]
    expected = mine.embed_images(images)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for opened in (encoder, pair):
        np.testing.assert_allclose(opened.embed_images(images), expected, atol=1e-5)
        features = opened.image_features(opened.batch([opened.preprocess(image) for image in images]))
        np.testing.assert_allclose(opened.project_images(features), expected, atol=1e-5)
        texts = np.array(mine.embed_texts(TEXTS))
        np.testing.assert_allclose(
            opened.embed_texts(TEXTS), texts / np.linalg.norm(texts, axis=1, keepdims=True), atol=1e-6
        )
    assert pickle.loads(pickle.dumps(encoder)).fingerprint == encoder.fingerprint == as_encoder(Mine()).fingerprint
    mine.fingerprint = "weights-7"
    assert as_encoder(mine).fingerprint != encoder.fingerprint
    assert json.loads(json.dumps(encoder.describe()))["spec"] == "custom:Mine"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (7, "A int is not an encoder"),
        ((len,), "A tuple is not an encoder"),
        ((len, len), "could not|shape"),
        ((lambda images: np.zeros((len(images), 2)), lambda texts: np.zeros((len(texts), 3))), "Both sides|2 numbers"),
        ((lambda images: np.full((len(images), 2), np.nan), lambda texts: np.zeros((len(texts), 2))), "not finite"),
    ],
)
def test_what_is_no_encoder_is_one_sentence(value, says):
    with pytest.raises(OpenMofiError, match=says):
        as_encoder(value)


def test_a_jpeg_is_decoded_whole_where_the_preprocessing_does_not_antialias(clip_folder):
    out = io.BytesIO()
    drawn_image(400, 300).save(out, "JPEG")
    whole, scaled = (decode_image(out.getvalue(), size_hint=hint) for hint in (None, 32))
    for option, same, other in (("mofi", whole, scaled), ("clip", scaled, whole)):
        encoder = open_encoder(f"hf:{clip_folder}?preprocessing={option}")
        embedded, expected, different = (encoder.embed_images(image) for image in (out.getvalue(), same, other))
        np.testing.assert_array_equal(embedded, expected)
        assert not np.array_equal(embedded, different)


def test_an_own_encoder_gets_images_of_bounded_size():
    sizes = []

    def images(batch):
        sizes.extend(image.size for image in batch)
        return np.stack([np.asarray(image.resize((2, 2)), np.float32).ravel() for image in batch])

    encoder = as_encoder(
        (images, lambda texts: np.stack([np.full(12, len(text)) + np.eye(12)[len(text) % 12] for text in texts]))
    )
    sizes.clear()
    encoder.embed_images([Image.new("RGB", (2048, 2048)), Image.new("RGB", (5000, 3000), "red")])
    assert sizes[-2:] == [(2048, 2048), (2500, 1500)]
