"""Daft: a generator that reads tars (`@daft.func`), a class for the model with a batch method, `write_parquet`.

Its own `read_webdataset` does not return on a machine of two cores (0.7.26; it waits in `File.exists`).
"""

import tarfile
from collections.abc import Iterator

import daft
from daft import DataType, Series, col
from shared import BATCH, CORES, Job, Tower, given, timed

JOB = given()


@daft.func(return_dtype=DataType.struct({"key": DataType.string(), "jpg": DataType.binary()}), unnest=True)
def members(path: str) -> Iterator[dict[str, object]]:
    """Yield the images of a tar."""
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith(".jpg") and (file := tar.extractfile(member)):
                yield {"key": member.name.removesuffix(".jpg"), "jpg": file.read()}


@daft.cls(max_concurrency=CORES, use_process=False)
class Embed:
    """The encoder, once for each core."""

    def __init__(self, job: Job) -> None:
        self.tower = Tower(job, threads=1)

    @daft.method.batch(return_dtype=DataType.embedding(DataType.float32(), JOB.dim), batch_size=BATCH)
    def embed(self, images: Series) -> list:
        """JPEGs → embeddings."""
        return list(self.tower.of_files(images.to_pylist()))


def embed() -> None:
    """Write Parquet files."""
    pairs = daft.from_pydict({"path": list(JOB.shards)}).select(members(col("path")))
    pairs.select(col("key"), Embed(JOB).embed(col("jpg")).alias("embedding")).write_parquet(JOB.out)


timed(embed)
