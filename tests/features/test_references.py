"""Reference images are mixed with texts: by weights that held-out images choose, and on the scale of texts."""

from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from openmofi.encoders import as_encoder
from openmofi.encoders.arrays import normalised
from openmofi.encoders.companions import Companions
from openmofi.engine import LocalEngine, Quiet
from openmofi.features.entities import embed_entities, entity_table
from openmofi.features.entity_table import EntityEmbeddings, EntityFeatures, images_path
from openmofi.features.references import DEFAULT
from openmofi.knowledge import KnowledgeBase, build_table
from openmofi.plugins.bases.images import add_images

DIM = 64


class Plain(SimpleNamespace):
    """An encoder whose features are its embeddings."""

    def project_texts(self, features):
        return normalised(features)

    def project_images(self, features):
        return normalised(features)


def world(entities=60, images=4, text_noise=1.0, image_noise=1.0, seed=0):
    """Entities with a direction each, their texts and images in cones that lie apart, and further images as queries."""
    draw = np.random.default_rng(seed)
    signal = draw.standard_normal((entities, DIM)).astype(np.float32)
    text_cone, image_cone = 4 * np.eye(DIM, dtype=np.float32)[:2]
    noise = draw.standard_normal((entities, DIM)).astype(np.float32)
    texts = (text_cone + signal + text_noise * 2 * noise).astype(np.float16)
    around = draw.standard_normal((entities, images + 1, DIM)).astype(np.float32)
    shown = normalised((image_cone + signal[:, None] + image_noise * around).reshape(-1, DIM))
    shown = shown.reshape(entities, images + 1, DIM)
    return texts, shown[:, :images], shown[:, images]


def embeddings(texts, images, which=slice(None), **more):
    ids = [f"e{number:04d}" for number in range(len(texts))]
    chosen = np.arange(len(texts))[which]
    flat = images[chosen].reshape(-1, DIM).astype(np.float16)
    of_images = EntityFeatures.of(pa.array(np.repeat(np.array(ids)[chosen], images.shape[1])), flat)
    encoder = Plain(dim=DIM, companions=Companions())
    return EntityEmbeddings(encoder, EntityFeatures.of(pa.array(ids), texts, of_images), **more)


def accuracy(vectors, queries, which=slice(None)):
    return float((np.argmax(queries @ vectors.T, axis=1) == np.arange(len(queries)))[which].mean())


def test_both_find_more_than_either_and_the_weight_is_chosen_without_the_queries():
    texts, images, queries = world(entities=200, text_noise=0.5, image_noise=2.5)
    mixed = embeddings(texts, images)
    rows = np.arange(len(texts))
    fit = mixed.references.report
    by_text = accuracy(normalised(texts.astype(np.float32)), queries)
    by_images = accuracy(normalised(images.mean(axis=1)), queries)
    assert accuracy(mixed.of(rows), queries) > max(by_text, by_images) + 0.03
    assert (fit["entities"], fit["images"]) == (200, 800)
    assert [*fit["sizes"]] == ["1", "2", "3"]  # of four images three are left
    assert fit["sizes"]["2"]["both"] >= max(fit["sizes"]["2"]["text"], fit["sizes"]["2"]["images"])


def test_the_weight_follows_what_images_and_texts_are_worth():
    def weight(**noise):
        texts, images, _ = world(**noise)
        return embeddings(texts, images).references.report["sizes"]["2"]["weight"]

    assert weight(text_noise=0.1, image_noise=4) < 0.5 < weight(text_noise=2, image_noise=2)


def test_entities_without_images_keep_their_bytes_and_their_chances():
    texts, images, queries = world(entities=200, text_noise=0.5, image_noise=1.5)
    rows, with_images = np.arange(len(texts)), slice(0, None, 2)
    plain = EntityEmbeddings(
        Plain(dim=DIM, companions=Companions()), EntityFeatures.of(pa.array(map(str, rows)), texts)
    )
    before, after = plain.of(rows), embeddings(texts, images, with_images).of(rows)
    assert after[1::2].tobytes() == before[1::2].tobytes()
    assert not np.array_equal(after[::2], before[::2])
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1, rtol=1e-5)
    assert accuracy(after, queries, with_images) > accuracy(before, queries, with_images)
    # A mean of image vectors and texts alike would be nearer to every image than a text is.
    careless = before.copy()
    careless[::2] = normalised(before[::2] + normalised(images[::2].mean(axis=1)))
    assert accuracy(after, queries, slice(1, None, 2)) > accuracy(careless, queries, slice(1, None, 2)) + 0.1


def test_scores_of_other_images_are_as_spread_as_with_texts():
    texts, images, queries = world(entities=200, text_noise=0.5)
    rows = np.arange(len(texts))
    others = ~np.eye(len(texts), dtype=bool)

    def spread(vectors):
        scores = queries @ vectors.T
        return float((scores - scores.mean(axis=0))[others].std())

    expected = spread(normalised(texts.astype(np.float32)))
    assert spread(embeddings(texts, images).of(rows)) == pytest.approx(expected, rel=0.1)


def test_with_an_image_each_no_weight_can_be_fitted():
    texts, images, queries = world(images=1)
    mixed = embeddings(texts, images)
    assert mixed.references.report["sizes"] == {}
    assert set(mixed.references.weights.tolist()) == {DEFAULT}
    assert accuracy(mixed.of(np.arange(60)), queries) > accuracy(normalised(texts.astype(np.float32)), queries)


@pytest.mark.parametrize("which", [slice(0, 1), slice(0, 2)])
def test_of_one_entity_with_images_nothing_can_be_learned(which):
    texts, images, _ = world(entities=5)
    mixed = embeddings(texts, images, which)
    assert (mixed.references is None) == (which.stop == 1)
    assert np.isfinite(mixed.of(np.arange(5))).all()


def test_the_fit_is_on_the_basis_alone():
    texts, images, _ = world()
    of_half = embeddings(texts, images, basis=np.arange(30))
    other = images.copy()
    other[30:] = other[30:][::-1]
    moved = embeddings(texts, other, basis=np.arange(30))
    assert of_half.references.report["sizes"] == moved.references.report["sizes"]
    assert of_half.of(np.arange(30)).tobytes() == moved.of(np.arange(30)).tobytes()


def test_some_of_the_entities_are_what_they_are_among_all():
    """As where a single text is explained: its candidates, and the entities that the job's weights were fitted on."""
    texts, images, _ = world()
    basis = np.arange(0, 60, 2)
    whole = embeddings(texts, images, basis=basis)
    some = np.union1d(basis, [7, 31])
    part = embeddings(texts[some], images[some], basis=np.searchsorted(some, basis))
    np.testing.assert_allclose(part.of(np.arange(len(some))), whole.of(some), atol=1e-6)


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kb")
    colours = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250), "grey": (120, 120, 120)}
    (folder / "entities.csv").write_text("id,name\n" + "".join(f"{name},{name}\n" for name in [*colours, "none"]))
    for name, colour in colours.items():
        for number in range(3):
            path = folder / "images" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), tuple(min(part + number, 255) for part in colour)).save(path)
    build_table(folder / "entities.csv", folder / "kb")
    return folder


@pytest.fixture
def encoder():
    def images(some):
        return np.stack([np.asarray(image.resize((2, 2)), np.float32).reshape(-1) + 1 for image in some])

    def texts(some):
        return np.stack([np.random.default_rng(crc32(text.encode())).standard_normal(12) for text in some])

    return as_encoder((images, texts))


def test_a_job_embeds_the_images_of_its_entities_once(kb, encoder, tmp_path):
    plain = KnowledgeBase.open(kb / "kb")
    rows = plain.rows(["blue", "green", "none"])
    rows.sort()
    table = entity_table(plain, encoder, rows, "{name}", tmp_path / "plain", LocalEngine(), Quiet())
    assert table.images is None
    assert not list((tmp_path / "plain").rglob("*images*"))
    add_images(kb / "kb", kb / "images")
    base = KnowledgeBase.open(kb / "kb")
    assert base.fingerprint != plain.fingerprint
    for _ in range(2):
        made = entity_table(base, encoder, rows, "{name}", tmp_path / "cache", LocalEngine(), Quiet())
        assert made.images.ids.to_pylist() == ["blue"] * 3 + ["green"] * 3
        for block in (tmp_path / "cache").rglob("*.parquet"):
            block.unlink()
    assert made.images.path == images_path(made.path)
    again = embed_entities(
        base, encoder, ["blue", "green", "none"], "{name}", tmp_path / "other", LocalEngine(), Quiet(), images=True
    )
    np.testing.assert_array_equal(again.images.features, made.images.features)
    np.testing.assert_array_equal(again.features, table.features)
