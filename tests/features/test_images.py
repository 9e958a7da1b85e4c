import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from openmofi.encoders import Preprocessing
from openmofi.encoders.arrays import normalised
from openmofi.engine import Quiet
from openmofi.errors import OpenMofiError
from openmofi.features.images import embed_images, image_features_of
from openmofi.pairs import Record, write_tar
from openmofi.schema import TRUTH
from openmofi.storage import expand_shards, write_table
from studies.world.sample_retrieval import true_entities


class Means:
    """An encoder whose features are 16 means of the image; counts what it embeds."""

    dim, feature_dim, feature_fingerprint = 4, 48, "means"
    preprocessing = Preprocessing(4, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    batch = staticmethod(np.stack)

    def __init__(self, turn: int = 0) -> None:
        self.seen = 0
        self.weights = np.random.default_rng(turn).standard_normal((48, 4)).astype(np.float32)

    def preprocess(self, image):
        return np.asarray(image.resize((4, 4)), np.float32).transpose(2, 0, 1) / 255

    def image_features(self, pixels):
        self.seen += len(pixels)
        return pixels.reshape(len(pixels), -1)

    def project_images(self, features):
        return normalised(features @ self.weights)


def drawn_image(number: int) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def shards(tmp_path):
    """Two shards of 70 images without texts; image 5 of each is broken."""
    for shard in range(2):
        write_tar(
            tmp_path / "world" / f"s.{shard}.tar",
            [
                Record(f"{shard}{number:03d}", b"broken" if number == 5 else drawn_image(1000 * shard + number), None)
                for number in range(70)
            ],
        )
    return expand_shards([str(tmp_path / "world")])


def truth(folder, names):
    rows = [
        {
            "shard": shard,
            "key": key,
            "entity": f"e:{key[-1]}",
            "named": False,
            "ambiguous": False,
            "domain": "d",
            "split": "heldout_entities",
        }
        for shard, key in names
    ]
    write_table(folder / "truth.parquet", pa.Table.from_pylist(rows, schema=TRUTH))
    return folder / "truth.parquet"


def test_every_usable_image_is_embedded_in_order(shards, tmp_path):
    encoder = Means()
    images = embed_images(shards, encoder, tmp_path / "cache", Quiet())
    keys = [f"{shard}{number:03d}" for shard in range(2) for number in range(70) if number != 5]
    assert images.keys == keys
    assert images.shards == ["s.0"] * 69 + ["s.1"] * 69
    assert images.refused == [("s.0", "0005", "image_broken"), ("s.1", "1005", "image_broken")]
    pixels = np.stack([encoder.preprocess(Image.open(io.BytesIO(drawn_image(int(key))))) for key in keys])
    np.testing.assert_allclose(images.embeddings, encoder.project_images(encoder.image_features(pixels)), atol=1e-6)


def test_encoders_over_one_backbone_embed_the_images_once(shards, tmp_path):
    first, second = Means(0), Means(1)
    one = embed_images(shards, first, tmp_path / "cache", Quiet())
    other = embed_images(shards, second, tmp_path / "cache", Quiet())
    assert (first.seen, second.seen) == (138, 0)
    assert not np.allclose(one.embeddings, other.embeddings)
    features = embed_images(shards, second, tmp_path / "cache", Quiet(), backbone=True).embeddings
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    assert features.shape == (138, 48)


def test_half_precision_is_kept_apart_and_near(shards, tmp_path):
    whole = image_features_of(shards, Means(), tmp_path / "cache", Quiet())
    half = image_features_of(shards, Means(), tmp_path / "cache", Quiet(), half=True)
    assert [(part.values.dtype, part.values.shape) for part in half] == [(np.float16, (70, 48))] * 2
    np.testing.assert_allclose(half[0].values, whole[0].values, atol=1e-3)


def test_stored_features_are_mapped_and_not_read(shards, tmp_path):
    part = image_features_of(shards, Means(), tmp_path / "cache", Quiet())[0]
    before = pa.total_allocated_bytes()
    values = part.values
    assert pa.total_allocated_bytes() == before
    assert not values.flags.writeable
    np.testing.assert_array_equal(values[5], 0)


def test_a_changed_shard_or_backbone_is_embedded_again(shards, tmp_path):
    image_features_of(shards, Means(), tmp_path / "cache", Quiet())
    write_tar(shards[0].path, [Record("new", drawn_image(1), None)])
    shards = expand_shards([str(tmp_path / "world")])
    again = Means()
    parts = image_features_of(shards, again, tmp_path / "cache", Quiet())
    assert (again.seen, parts[0].table["key"].to_pylist()) == (1, ["new"])
    other = Means()
    other.feature_fingerprint = "others"
    image_features_of(shards, other, tmp_path / "cache", Quiet())
    assert other.seen == 70


def test_a_shard_whose_file_is_missing_is_embedded_again(shards, tmp_path):
    image_features_of(shards, Means(), tmp_path / "cache", Quiet())
    next((tmp_path / "cache").rglob("s.0-*.arrow")).unlink()
    again = Means()
    image_features_of(shards, again, tmp_path / "cache", Quiet())
    assert again.seen == 69


def test_progress_is_told_of_every_shard(shards, tmp_path):
    class Told(Quiet):
        def __init__(self):
            self.rows = []

        def begin(self, stage, total):
            self.rows.append((stage, total))

        def advance(self, counts):
            self.rows.append(counts["rows"])

    told = Told()
    image_features_of(shards, Means(), tmp_path / "cache", told)
    image_features_of(shards, Means(), tmp_path / "cache", told)
    assert told.rows == [("embed", 2), 70, 70, ("embed", 2), 0, 0]


def test_true_entities(shards, tmp_path):
    images = embed_images(shards, Means(), tmp_path / "cache", Quiet())
    places = list(zip(images.shards, images.keys, strict=True))
    assert true_entities(truth(tmp_path, reversed(places)), images) == [f"e:{key[-1]}" for key in images.keys]
    with pytest.raises(OpenMofiError, match=r"does not know the image '0000' of the shard 's\.0'"):
        true_entities(truth(tmp_path, places[1:]), images)


def test_nothing_usable(tmp_path):
    write_tar(tmp_path / "a.tar", [Record("x", b"no image", None)])
    with pytest.raises(OpenMofiError, match="None of the 1 images"):
        embed_images(expand_shards([str(tmp_path / "a.tar")]), Means(), tmp_path / "cache", Quiet())
