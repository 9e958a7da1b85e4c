"""WebDataset with PyTorch's DataLoader: workers read and preprocess batches, the process itself embeds and writes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from shared import BATCH, CORES, Tower, given, timed

JOB = given()


def embed() -> None:
    """Write a Parquet file."""
    tower = Tower(JOB, threads=CORES)
    pairs = webdataset.WebDataset(list(JOB.shards), shardshuffle=False)
    batches = pairs.to_tuple("__key__", "jpg").map_tuple(str, JOB.pixels).batched(BATCH)
    Path(JOB.out).mkdir()
    schema = pa.schema({"key": pa.string(), "embedding": pa.list_(pa.float32(), JOB.dim)})
    with pq.ParquetWriter(f"{JOB.out}/embeddings.parquet", schema) as file:
        for keys, pixels in webdataset.WebLoader(batches, batch_size=None, num_workers=CORES):
            rows = pa.FixedSizeListArray.from_arrays(pa.array(tower(pixels.numpy()).reshape(-1)), JOB.dim)
            file.write_table(pa.Table.from_arrays([pa.array(keys), rows], schema=schema))


timed(embed)
