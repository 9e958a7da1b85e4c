"""How near images are that have nothing to do with each other, beside brute force; and that it bounds the threshold."""

import numpy as np
import pytest
from PIL import Image

from openmofi.dataset.collect import Collected
from openmofi.dataset.filters import LabelArrays
from openmofi.dataset.matching import ImageSample
from openmofi.dataset.passes import LabelCounts
from openmofi.dataset.tables import Surfaces
from openmofi.encoders import as_encoder
from openmofi.features.images import file_sources
from openmofi.features.store import FeatureStore
from openmofi.plugins.evaluation_copies import measure_threshold

SHARDS, ROWS = 3, 20


@pytest.fixture
def collected():
    """60 rows of three shards, every second one labelled; some with two of eight entities, two pairs of like hashes."""
    draw = np.random.default_rng(3)
    images = SHARDS * ROWS // 2
    labels = sorted({(image, int(entity)) for image in range(images) for entity in draw.integers(0, 8, 2)})
    phash = draw.integers(0, 2**63, images, dtype=np.uint64)
    phash[1], phash[29] = phash[0] ^ np.uint64(1), phash[10] ^ np.uint64(6)
    image, entity = np.array(labels).T
    none, ones = np.zeros(images, np.uint64), np.ones(len(image), np.float32)
    arrays = LabelArrays.of(image, entity.astype(np.int32), ones, phash, none, 8, np.zeros(len(image), np.int64))
    return Collected(
        arrays,
        np.arange(0, images + 1, ROWS // 2),
        np.tile(np.arange(0, ROWS, 2), SHARDS),
        [str(code) for code in range(8)],
        LabelCounts(),
        Surfaces(),
    )


@pytest.fixture
def features():
    return np.random.default_rng(4).normal(size=(SHARDS, ROWS, 5)).astype(np.float16)


def test_it_is_the_nearest_of_no_common_entity_and_another_hash(collected, features):
    found = ImageSample.of(collected, lambda shard: features[shard]).nearest(10_000)
    of = np.concatenate([features[shard][::2] for shard in range(SHARDS)]).astype(np.float64)
    of /= np.linalg.norm(of, axis=1, keepdims=True)
    labels = collected.labels
    entities = [set(labels.entity[labels.image == image].tolist()) for image in range(labels.images)]
    expected = [
        max(
            [
                0.0,
                *(
                    of[image] @ of[other]
                    for other in range(labels.images)
                    if not entities[image] & entities[other]
                    and int(labels.phash[image] ^ labels.phash[other]).bit_count() > 10
                ),
            ]
        )
        for image in range(labels.images)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_fewer_images_are_less_near(collected, features):
    gallery = ImageSample.of(collected, lambda shard: features[shard])
    assert (gallery.nearest(5) <= gallery.nearest(30)).all()
    assert gallery.nearest(5).sum() < gallery.nearest(30).sum()


@pytest.mark.parametrize(("nearest", "expected"), [(0.2, "copies"), (0.999, "others")])
def test_what_is_no_copy_bounds_the_threshold(nearest, expected, tmp_path):
    def colours(images):
        return np.stack([np.asarray(image.convert("RGB").resize((8, 8)), np.float32).reshape(-1) for image in images])

    encoder = as_encoder((colours, lambda texts: np.ones((len(texts), 192), np.float32)))
    images = [
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((90, 80))
        for seed in range(20)
    ]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number:02d}.png")
    values = colours(images)
    sources = file_sources(tmp_path, [f"{number:02d}.png" for number in range(20)])
    threshold = measure_threshold(
        sources,
        range(20),
        values / np.linalg.norm(values, axis=1, keepdims=True),
        np.full(50, nearest, np.float32),
        FeatureStore(str(tmp_path / "cache"), encoder),
    )
    found = min(share for kind, share in threshold.found.items() if kind != "mirrored")
    if expected == "copies":
        assert 0.95 <= found <= 1
        assert threshold.alike == 0
    else:
        assert threshold.cosine > nearest
        assert found < 0.95
