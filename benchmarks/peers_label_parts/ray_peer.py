"""Ray Data: `read_webdataset`, `map_batches` with a class in an actor for each core, `write_parquet`."""

from typing import Any

import numpy as np
import ray
from shared import BATCH, CORES, Job, Tower, given, timed

JOB = given()


class Embed:
    """The encoder."""

    def __init__(self, job: Job) -> None:
        self.tower = Tower(job, threads=1)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Replace the JPEGs of a batch by their embeddings."""
        return {"key": batch["__key__"], "embedding": self.tower.of_files(batch["jpg"]).astype(np.float32)}


def embed() -> None:
    """Write Parquet files."""
    pairs = ray.data.read_webdataset(list(JOB.shards), suffixes=["jpg"], decoder=None, num_cpus=0.1)
    embedded = pairs.map_batches(
        Embed,
        fn_constructor_args=(JOB,),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=CORES),
        num_cpus=0.9,
    )
    embedded.write_parquet(JOB.out)


ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
timed(embed)
ray.shutdown()
