"""Images of shards at an address: their bytes however they are cut, and how often a store is asked for them."""

import math
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmofi.errors import OpenMofiError
from openmofi.pairs import Record, write_tar
from openmofi.pairs.index import ImageBytes, index_images
from openmofi.storage import Shard


def cut(block, gap):
    return mock.patch.multiple("openmofi.pairs.index", BLOCK=block, _GAP=gap)


@given(
    data=st.binary(min_size=1, max_size=300),
    spans=st.lists(st.tuples(st.integers(0, 299), st.integers(0, 90)), min_size=1, max_size=12),
    block=st.integers(1, 120),
    gap=st.integers(0, 40),
    streams=st.booleans(),
)
def test_bytes_are_those_of_the_file(data, spans, block, gap, streams):
    places = [(offset % len(data), min(size, len(data) - offset % len(data))) for offset, size in spans]
    offsets, sizes = np.array(places).T
    files = fsspec.filesystem("memory")
    files.pipe("/images/a.tar", data)
    with tempfile.TemporaryDirectory() as home, mock.patch.dict(os.environ, OPENMOFI_HOME=home), cut(block, gap):
        shard, reader = Shard("memory://images/a.tar", "a"), ImageBytes(streams)
        found = reader.fetch(shard, [b""] * len(places), offsets, sizes)
        reader.close()
    assert found == [data[offset : offset + size] for offset, size in places]


def test_whole_files_are_read_beside_parts_of_others(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path))
    files = fsspec.filesystem("memory")
    for name in "ab":
        files.pipe(f"/images/{name}.jpg", name.encode() * 100)
    wanted = [b"memory://images/b.jpg", b"memory://images/a.jpg", b"memory://images/b.jpg", b"memory://images/a.jpg"]
    for streams in (False, True):
        found = ImageBytes(streams).fetch(
            Shard("memory://images/table.csv", "table"), wanted, np.array([0, 0, 5, 7]), np.array([-1, -1, 3, 2])
        )
        assert found == [b"b" * 100, b"a" * 100, b"bbb", b"aa"]


IMAGES, BLOCK = 60, 1 << 14


@pytest.fixture
def stored(bucket, tmp_path):
    """A tar in a store, its images, and where they lie."""
    draw = np.random.default_rng(0)
    records = [Record(f"{number:03d}", draw.bytes(2000 + 30 * number), "text") for number in range(IMAGES)]
    write_tar(tmp_path / "a.tar", records)
    bucket.client.put_object(Bucket="data", Key="a.tar", Body=(tmp_path / "a.tar").read_bytes())
    shard = Shard("s3://data/a.tar", "a")
    index = index_images(shard, tmp_path / "cache")
    places = index["offset"].to_numpy(), index["size"].to_numpy()
    shard.fingerprint  # noqa: B018  is taken before the requests are counted
    bucket.requests.clear()
    return shard, [record.image for record in records], places, (tmp_path / "a.tar").stat().st_size


def in_batches(reader, stored, order):
    shard, _, (offsets, sizes), _ = stored
    found = {}
    for some in np.array_split(order, 10):
        fetched = reader.fetch(shard, [b""] * len(some), offsets[some], sizes[some])
        found |= dict(zip(some.tolist(), fetched, strict=True))
    return [found[number] for number in range(len(found))]


@pytest.mark.slow
def test_a_shard_is_asked_for_once_a_block_by_all_readers_of_a_machine(stored, bucket):
    _, images, _, size = stored
    with cut(BLOCK, 0), ThreadPoolExecutor(4) as readers:
        orders = [np.random.default_rng(seed).permutation(IMAGES) for seed in range(4)]
        for found in readers.map(lambda order: in_batches(ImageBytes(True), stored, order), orders):
            assert found == images
    assert bucket.requests["GET", "/data/a.tar"] <= math.ceil(size / BLOCK)
    assert sum(bucket.requests.values()) <= math.ceil(size / BLOCK) + 1


@pytest.mark.slow
def test_neighbours_are_one_request_and_others_their_own(stored, bucket):
    shard, images, (offsets, sizes), size = stored
    with cut(BLOCK, 4096):
        assert in_batches(ImageBytes(), stored, np.arange(IMAGES)) == images
        assert bucket.requests["GET", "/data/a.tar"] <= math.ceil(size / (BLOCK - 4096)) + 10
        bucket.requests.clear()
        far = np.arange(0, IMAGES, 10)
        assert ImageBytes().fetch(shard, [b""] * len(far), offsets[far], sizes[far]) == [images[i] for i in far]
        assert bucket.requests["GET", "/data/a.tar"] == len(far)


@pytest.mark.slow
@pytest.mark.parametrize("streams", [False, True])
def test_a_store_that_fails_now_and_then_is_asked_again(stored, bucket, streams):
    bucket.failing = 0.2
    with cut(BLOCK, 4096):
        assert in_batches(ImageBytes(streams), stored, np.random.default_rng(1).permutation(IMAGES)) == stored[1]


@pytest.mark.slow
@pytest.mark.parametrize("streams", [False, True])
def test_a_store_that_refuses_is_said_and_leaves_no_block(stored, bucket, streams, tmp_path):
    bucket.refuse, bucket.refuse_reads = "AccessDenied", True
    with cut(BLOCK, 4096):
        with pytest.raises(OpenMofiError, match=r"Images of s3://data/a\.tar cannot be read: .*"):
            in_batches(ImageBytes(streams), stored, np.arange(IMAGES))
        bucket.refuse, bucket.refuse_reads = "", False
        assert in_batches(ImageBytes(streams), stored, np.arange(IMAGES)) == stored[1]


def test_a_server_that_sends_more_than_was_asked_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path))
    fsspec.filesystem("memory").pipe("/images/long.tar", bytes(100))
    usual = fsspec.implementations.memory.MemoryFileSystem.cat_file
    with (
        cut(10, 0),
        mock.patch(
            "fsspec.implementations.memory.MemoryFileSystem.cat_file", lambda self, path, **_: usual(self, path)
        ),
        pytest.raises(OpenMofiError, match="does not send parts of files"),
    ):
        ImageBytes(True).fetch(Shard("memory://images/long.tar", "long"), [b""], np.array([20]), np.array([5]))
    assert not list(tmp_path.glob("copies/[!.]*"))


def test_blocks_of_a_shard_that_was_replaced_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path))
    for content in (b"a" * 50, b"b" * 60):
        fsspec.filesystem("memory").pipe("/images/new.tar", content)
        shard = Shard("memory://images/new.tar", "new")
        assert ImageBytes(True).fetch(shard, [b""], np.array([20]), np.array([5])) == [content[:5]]


def in_memory(content, name):
    fsspec.filesystem("memory").pipe(f"/images/{name}.tar", content)
    return Shard(f"memory://images/{name}.tar", name)


def test_a_full_disk_leaves_reading_without_copies(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path))
    shard = in_memory(bytes(range(100)), "full")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("openmofi.storage.copies._make_room", full)
    with cut(10, 0):
        found = ImageBytes(True).fetch(shard, [b"", b""], np.array([5, 40]), np.array([20, 3]))
    assert found == [bytes(range(5, 25)), bytes(range(40, 43))]
    assert not list(tmp_path.glob("copies/[!.]*"))


def test_a_block_that_came_short_is_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMOFI_HOME", str(tmp_path))
    shard = in_memory(bytes(range(100)), "short")
    memory = "fsspec.implementations.memory.MemoryFileSystem.cat_file"
    usual = fsspec.implementations.memory.MemoryFileSystem.cat_file
    reader, wanted = ImageBytes(True), ([b""], np.array([12]), np.array([6]))
    with cut(10, 0):
        with mock.patch(memory, lambda *given, **places: usual(*given, **places)[:2]):
            assert [len(image) for image in reader.fetch(shard, *wanted)] == [2]  # what the store sends, and no copy
        assert not list(tmp_path.glob("copies/[!.]*"))
        assert reader.fetch(shard, *wanted) == [bytes(range(12, 18))]
        assert ImageBytes(True).fetch(shard, *wanted) == [bytes(range(12, 18))]
