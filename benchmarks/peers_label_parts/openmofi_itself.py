"""OpenMOFI: the part of the label job that reads and embeds (`labeling/read.py:ShardReader`), in an engine of the job.

`ahead` reads pairs and decodes images in threads, `FeatureStore.embedding` embeds them and keeps the features, which
are then written to Parquet as everyone else's are. Perceptual hashes, which nobody else computes, are left out. The
engine is the second argument: a job of 5,000 pairs or more on two cores takes `processes:2`, a smaller one `local`.
"""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from shared import Job, given, timed

from openmofi.encoders import open_encoder
from openmofi.engine import Quiet
from openmofi.engine.engines import engine_named
from openmofi.features.store import FeatureStore
from openmofi.features.stream import ahead
from openmofi.pairs import read_pairs
from openmofi.storage import Shard, expand_shards


@dataclass(frozen=True)
class Embed:
    """Writes a Parquet file for each shard that it is called with."""

    store: FeatureStore
    out: str

    def __call__(self, shard: Shard) -> dict[str, Any]:
        """Embed a shard's images."""
        store, name, stamp = self.store, shard.name, shard.fingerprint
        with store.embedding(name, stamp, first=True) as take:
            for batch in ahead(read_pairs(shard, store.read), store.prepare, store.batch_size):
                take([image for _, image in batch])
        table = store.open(name, stamp).table.select(["key", "feature"]).rename_columns(["key", "embedding"])
        pq.write_table(table, f"{self.out}/{name}.parquet")
        return {}


def embed(job: Job, engine: str) -> None:
    """Do every shard in an engine."""
    Path(job.out).mkdir()
    store = FeatureStore(f"{job.out}/cache", open_encoder("tiny"), hashes=False)
    engine_named(engine).run(partial(Embed, store, job.out), expand_shards(list(job.shards)), Quiet())


if __name__ == "__main__":
    timed(lambda: embed(given(), sys.argv[2]))
