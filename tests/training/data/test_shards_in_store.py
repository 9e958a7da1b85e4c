"""Training from a store: shards of every kind on a real S3 server, and a dataset there, give the local batches."""

import gzip
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from openmofi.dataset.tables import Folder
from openmofi.encoders import Preprocessing
from openmofi.engine import Quiet
from openmofi.pairs import read_pairs
from openmofi.storage import Shard, write_json
from openmofi.training.data import open_data
from openmofi.training.model.towers import ModelInputs
from openmofi.training.recipe import DataSettings, TextSource

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


@pytest.mark.parametrize("form", [as_tar, as_compressed, as_parquet])
def test_batches_are_those_of_local_tars(dataset_maker, encoder, bucket, tmp_path, form):
    """Only `data.cache` is local: shards and dataset are in the store."""
    made = dataset_maker(tmp_path / "own", sizes=(9, 0, 8))
    locked = ModelInputs(None, encoder)
    expected = [batches(made, tmp_path / "plain", inputs) for inputs in (LIVE, locked)]
    manifest, moved = json.loads((made / "manifest.json").read_text()), []
    for shard in Folder.open(made).shards:
        ending, data = form(shard)
        key = f"{form.__name__}/{shard.name}{ending}"
        bucket.client.put_object(Bucket="data", Key=key, Body=data)
        moved.append(asdict(Shard(f"s3://data/{key}", shard.name)))
    manifest["settings"]["shards"] = moved
    write_json(made / "manifest.json", manifest)
    bucket.put_folder(made, f"{form.__name__}/dataset")
    shutil.rmtree(tmp_path / "own")
    for _ in range(2):  # the second time from what is in the cache
        for inputs, wanted in zip((LIVE, locked), expected, strict=True):
            found = batches(f"s3://data/{form.__name__}/dataset", tmp_path / "cache", inputs)
            assert all(
                torch.equal(one[name], other[name]) for one, other in zip(found, wanted, strict=True) for name in one
            )
