"""OpenMOFI: the part of the label job that reads and embeds (`labeling/read.py:ShardReader`), for one shard at a time.

`ahead` reads pairs and decodes images in threads, `FeatureStore.embedding` embeds them and keeps the features, which
are then written to Parquet as everyone else's are. Perceptual hashes, which nobody else computes, are left out.
"""

from pathlib import Path

import pyarrow.parquet as pq
from shared import given, timed

from openmofi.encoders import open_encoder
from openmofi.features.store import FeatureStore
from openmofi.features.stream import ahead
from openmofi.pairs import read_pairs
from openmofi.storage import expand_shards

JOB = given()


def embed() -> None:
    """Write a Parquet file a shard."""
    out = Path(JOB.out)
    out.mkdir()
    store = FeatureStore(f"{out}/cache", open_encoder("tiny"), hashes=False)
    for shard in expand_shards(list(JOB.shards)):
        name, stamp = shard.name, shard.fingerprint
        with store.embedding(name, stamp, first=True) as take:
            for batch in ahead(read_pairs(shard, store.read), store.prepare, store.batch_size):
                take([image for _, image in batch])
        table = store.open(name, stamp).table.select(["key", "feature"]).rename_columns(["key", "embedding"])
        pq.write_table(table, out / f"{name}.parquet")


timed(embed)
