"""Reading a shard: the encoder, the tables and the decoders overlap, and what comes of it does not show it."""

import io
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from openmofi.encoders import Encoder
from openmofi.encoders.arrays import normalised
from openmofi.encoders.preprocess import Preprocessing
from openmofi.features.store import FeatureStore
from openmofi.labeling.label_settings import TextSettings
from openmofi.labeling.read import ShardReader
from openmofi.labeling.summaries import TextSummary
from openmofi.labeling.tables import Tables
from openmofi.pairs import read_pairs
from openmofi.pairs.writer import write_tar
from openmofi.schema import Pair
from openmofi.storage import expand_shards, read_arrow
from terminal import PATIENCE

PAIRS, BATCH = 50, 8


def features_of(pixels) -> np.ndarray:
    return pixels.reshape(len(pixels), -1)[:, ::7].astype(np.float32)


def stub(image_features, name: str = "stage") -> Encoder:
    dim = len(range(0, 3 * 16 * 16, 7))
    return Encoder(
        "test:stage",
        name,
        name,
        dim,
        dim,
        0,
        None,
        Preprocessing(16, (0.5,) * 3, (0.5,) * 3),
        image_features,
        None,
        normalised,
        None,
    )


class Names:
    """A knowledge base, as far as reading asks for it."""

    fingerprint = "kb"


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    draw, path = np.random.default_rng(0), tmp_path_factory.mktemp("pairs") / "a.tar"

    def encoded(number: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(draw.integers(0, 256, (20, 20 + number % 3, 3)).astype(np.uint8)).save(buffer, "png")
        return buffer.getvalue() if number % 10 else b"no image"

    write_tar(path, [Pair(f"{number:03}", encoded(number), f"text {number} of a crane") for number in range(PAIRS)])
    return expand_shards([str(path)])[0]


def reader(shard, cache, image_features) -> ShardReader:
    store = FeatureStore(str(cache), stub(image_features), batch_size=BATCH)
    return ShardReader(Tables.of(Names(), TextSettings(), store, [shard]))


def files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_slow_encoder_and_a_fast_one_leave_the_same_bytes(shard, tmp_path):
    def slow(pixels):
        time.sleep(0.01)
        return features_of(pixels)

    for name, image_features in (("fast", features_of), ("slow", slow)):
        assert reader(shard, tmp_path / name, image_features)(shard) == {"rows": PAIRS, **TextSummary(PAIRS, 9).notes()}
    made = files(tmp_path / "fast")
    assert made == files(tmp_path / "slow")
    assert len([name for name in made if name.endswith((".parquet", ".arrow"))]) == 3
    tables = reader(shard, tmp_path / "fast", features_of).tables
    table = read_arrow(tables.features.path(shard.name, shard.fingerprint))
    assert table.column("key").to_pylist() == [f"{number:03}" for number in range(PAIRS)]
    assert reader(shard, tmp_path / "fast", features_of)(shard) == {"rows": 0}


def test_batches_are_those_of_the_shard_in_their_order_and_the_encoder_is_called_by_one_thread(shard, tmp_path):
    sizes, threads = [], set()

    def seen(pixels):
        sizes.append(len(pixels))
        threads.add(threading.get_ident())
        return features_of(pixels)

    read = reader(shard, tmp_path, seen)
    read.tables.features.encoder.image_features(np.zeros((1, 3, 16, 16), np.float32))  # asks whether it tells apart
    sizes.clear(), threads.clear()
    read(shard)
    usable = [number % 10 > 0 for number in range(PAIRS)]
    assert sizes == [sum(usable[start : start + BATCH]) for start in range(0, PAIRS, BATCH)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("error", [ValueError("a broken tower"), MemoryError("no room"), OSError(5, "a lost device")])
def test_an_error_of_the_encoder_is_the_readers_and_leaves_no_table_of_features(shard, tmp_path, error):
    calls = []

    def failing(pixels):
        calls.append(len(pixels))
        if len(calls) > 2 and len(pixels) == sum(number % 10 > 0 for number in range(BATCH)):
            raise error
        return features_of(pixels)

    before = threading.active_count()
    with pytest.raises(type(error), match=str(error.args[-1])):
        reader(shard, tmp_path, failing)(shard)
    assert not list(tmp_path.rglob("*.arrow"))
    assert not [path for path in tmp_path.rglob("*") if "openmofi-tmp" in path.name]
    assert threading.active_count() == before


def test_an_interrupt_ends_reading_before_what_waits_is_embedded(shard, tmp_path, monkeypatch):
    calls, released = [], threading.Event()

    def waits(pixels):
        calls.append(len(pixels))
        assert released.wait(PATIENCE)
        return features_of(pixels)

    def interrupted(shard, settings):
        for number, pair in enumerate(read_pairs(shard, settings)):
            if number == 4 * BATCH:
                # Two batches have been given to the encoder by now, and two are decoded.
                threading.Timer(0.2, released.set).start()
                raise KeyboardInterrupt
            yield pair

    read = reader(shard, tmp_path, features_of)
    encoder = read.tables.features.encoder
    encoder.image_features(np.zeros((1, 3, 16, 16), np.float32))
    store = replace(read.tables.features, encoder=replace(encoder, image_tower=waits))
    monkeypatch.setattr("openmofi.labeling.read.read_pairs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ShardReader(replace(read.tables, features=store))(shard)
    assert len(calls) <= 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
