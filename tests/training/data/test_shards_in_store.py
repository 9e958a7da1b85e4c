"""Training from a store: shards of every kind on a real S3 server, and a dataset there, give the local batches."""

import gzip
import json
import shutil
import threading
import traceback
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from openmofi.dataset.tables import Folder
from openmofi.encoders import Preprocessing
from openmofi.engine import Quiet
from openmofi.pairs import index, read_pairs
from openmofi.storage import Shard, write_json
from openmofi.training.data import open_data
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe import DataSettings, EvaluateSettings, TextSource

pytestmark = pytest.mark.slow

LIVE = ModelInputs(Preprocessing(24, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))


def batches(dataset, cache, inputs):
    settings = DataSettings(str(dataset), batch_size=12, shuffle_shards=2, text=TextSource(1, 0, 0))
    return list(open_data(settings, inputs, seed=0, cache=cache, progress=Quiet()).batches(0, 4))


def as_tar(shard):
    return ".tar", Path(shard.path).read_bytes()


def as_compressed(shard):
    return ".tar.gz", gzip.compress(Path(shard.path).read_bytes())


def as_parquet(shard):
    pairs, out = list(read_pairs(shard)), pa.BufferOutputStream()
    pq.write_table(
        pa.table(
            {
                "key": [pair.key for pair in pairs],
                "image": [pair.image for pair in pairs],
                "text": [pair.text for pair in pairs],
            }
        ),
        out,
        row_group_size=5,
    )
    return ".parquet", out.getvalue().to_pybytes()


def move(made, bucket, form):
    """Put a dataset's shards of pairs into the store; returns the size of each."""
    manifest, moved, sizes = json.loads((made / "manifest.json").read_text()), [], {}
    for shard in Folder.open(made).shards:
        ending, data = form(shard)
        key = f"{form.__name__}/{shard.name}{ending}"
        bucket.client.put_object(Bucket="data", Key=key, Body=data)
        moved.append(asdict(Shard(f"s3://data/{key}", shard.name)))
        sizes[key] = len(data)
    manifest["settings"]["shards"] = moved
    write_json(made / "manifest.json", manifest)
    return sizes


@pytest.mark.parametrize("form", [as_tar, as_compressed, as_parquet])
def test_batches_are_those_of_local_tars(dataset_maker, encoder, bucket, tmp_path, form):
    """Only `data.cache` is local: shards and dataset are in the store."""
    made = dataset_maker(tmp_path / "own", sizes=(9, 0, 8))
    locked = ModelInputs(None, encoder)
    expected = [batches(made, tmp_path / "plain", inputs) for inputs in (LIVE, locked)]
    move(made, bucket, form)
    bucket.put_folder(made, f"{form.__name__}/dataset")
    shutil.rmtree(tmp_path / "own")
    for _ in range(2):  # the second time from what is in the cache
        for inputs, wanted in zip((LIVE, locked), expected, strict=True):
            found = batches(f"s3://data/{form.__name__}/dataset", tmp_path / "cache", inputs)
            assert all(
                torch.equal(one[name], other[name]) for one, other in zip(found, wanted, strict=True) for name in one
            )


class Said(Quiet):
    def __init__(self):
        self.messages = []

    def say(self, message):
        self.messages.append(message)


@pytest.fixture
def followed(dataset_maker, bucket, tmp_path, monkeypatch):
    """Six batches of twelve images, as from a local disk; the requests for each tar; its blocks; what is said."""
    monkeypatch.setattr("openmofi.pairs.index.BLOCK", BLOCK)
    made = dataset_maker(tmp_path / "own", sizes=(40, 0, 30))

    def opened(said, **settings):
        given = DataSettings(str(made), batch_size=12, shuffle_shards=2, text=TextSource(1, 0, 0), **settings)
        return open_data(given, LIVE, seed=0, cache=tmp_path / "cache", progress=said)

    def follow(**settings):
        expected = list(opened(Quiet(), **settings).batches(0, 6))
        sizes = move(made, bucket, as_tar)
        data = opened(said := Said(), **settings)
        bucket.requests.clear()
        found = list(data.batches(0, 6))
        assert all(torch.equal(a[name], b[name]) for a, b in zip(found, expected, strict=True) for name in a)
        asked = {key: bucket.requests["GET", f"/data/{key}"] for key in sizes}
        return asked, {key: -(-size // BLOCK) for key, size in sizes.items()}, said.messages

    return follow


BLOCK = 1 << 15


def test_epochs_ask_for_a_tar_once_a_block(followed):
    asked, blocks, said = followed()
    assert all(asked[key] <= blocks[key] for key in asked)
    assert max(asked.values()) > 1
    assert not [message for message in said if "request" in message]


@pytest.fixture
def windows(dataset_maker, bucket, tmp_path, monkeypatch):
    """Data of three windows of nine batches each, and the requests so far for the tar of each."""
    monkeypatch.setattr("openmofi.pairs.index.BLOCK", BLOCK)
    made = dataset_maker(tmp_path / "own", sizes=(36, 36, 36))
    settings = DataSettings(str(made), batch_size=4, shuffle_shards=1, text=TextSource(1, 0, 0))
    expected = list(open_data(settings, LIVE, seed=0, cache=tmp_path / "cache", progress=Quiet()).batches(0, 27))
    sizes = move(made, bucket, as_tar)
    data = open_data(settings, LIVE, seed=0, cache=tmp_path / "cache", progress=Quiet())
    bucket.requests.clear()

    def asked():
        return [bucket.requests["GET", f"/data/{key}"] for key in sizes]

    return data, expected, asked, [-(-size // BLOCK) for size in sizes.values()]


def test_blocks_of_the_next_window_are_asked_for_while_this_one_is_used(windows, bucket):
    data, expected, asked, blocks = windows
    bucket.delay = 0.01
    found, touched = [], []
    for batch in data.batches(0, 27):
        found.append(batch)
        if data.sources._bytes._asking:
            data.sources._bytes._asking.join()
        touched.append(sum(map(bool, asked())))
    assert touched[1] == 2, "two of nine batches of the first window are taken"
    assert touched[10] == 3
    assert all(count <= most for count, most in zip(asked(), blocks, strict=True))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(found, expected, strict=True) for name in a)


def test_nothing_is_asked_for_that_the_run_does_not_take(windows):
    data, _, asked, _ = windows
    assert len(list(data.batches(0, 9))) == 9
    data.sources._bytes._asking.join()
    assert sum(map(bool, asked())) == 1


def test_what_fails_ahead_is_fetched_when_it_is_wanted(windows, monkeypatch):
    data, expected, _, _ = windows
    usual, here, failed = index._block, threading.get_ident(), []

    def failing(shard, number):
        if "_ask" in {frame.name for frame in traceback.extract_stack()}:
            failed.append(threading.get_ident())
            raise OSError("the server broke off")
        return usual(shard, number)

    monkeypatch.setattr(index, "_block", failing)
    found = list(data.batches(0, 27))
    assert failed
    assert here not in failed
    assert all(torch.equal(a[name], b[name]) for a, b in zip(found, expected, strict=True) for name in a)


def test_without_room_for_three_windows_nothing_is_asked_for_ahead(windows):
    data, _, _, _ = windows
    assert data.sources._bytes.streams > 2
    data.sources._bytes.streams = 2
    assert len(list(data.batches(0, 27))) == 27
    assert data.sources._bytes._asking is None


def test_where_rows_are_drawn_only_what_is_wanted_is_fetched(followed):
    asked, blocks, _ = followed(sampler="sqrt")
    assert sum(asked.values()) > sum(blocks.values())


def test_a_window_without_room_is_said_and_images_are_fetched_by_themselves(followed, monkeypatch):
    monkeypatch.setenv("OPENMOFI_COPIES_GIB", "0.000001")
    asked, blocks, said = followed()
    assert sum(asked.values()) > sum(blocks.values())
    (message,) = [message for message in said if "request" in message]
    assert "each image is a request of its own: 2 shards (data.shuffle_shards)" in message


def test_held_out_rows_are_fetched_by_themselves(dataset_maker, bucket, tmp_path, monkeypatch):
    made = dataset_maker(tmp_path / "own", sizes=(40, 0, 30))
    move(made, bucket, as_tar)
    settings = DataSettings(str(made), batch_size=12, shuffle_shards=2, text=TextSource(1, 0, 0))
    evaluate = EvaluateSettings(every=1, retrieval=True, held_out=0.1)
    data = open_data(settings, LIVE, seed=0, cache=tmp_path / "cache", progress=Quiet(), evaluate=evaluate)
    assert data.sources._bytes.streams
    monkeypatch.setattr("openmofi.pairs.index._block", lambda *_: pytest.fail("a block is read for a few images"))
    held_out = list(data.held_out_batches(images_only=True, rank=0, world=1, workers=0))
    assert sum(len(batch["row"]) for batch in held_out) >= 7
