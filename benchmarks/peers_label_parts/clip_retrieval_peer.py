"""clip-retrieval's inference: its reader, runner, writer and logger around our encoder.

Its own mapper opens a CLIP of `all_clip`, which fetches weights, and no ONNX file; what stands in its place does what
that does with images. Its modules are imported from their folder, so that its servers and indexes, which inference
does not need, are neither installed nor loaded. It writes embeddings as NumPy's files, float16, with the keys in
Parquet.
"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from shared import BATCH, CORES, Tower, given, timed

sys.path.append(str(Path(str(getattr(find_spec("clip_retrieval"), "origin", ""))).parent / "clip_inference"))
from logger import LoggerWriter
from reader import WebdatasetReader
from runner import Runner
from writer import NumpyWriter


class Mapper:
    """What `ClipMapper` does with images."""

    def __init__(self, tower: Tower) -> None:
        self.tower = tower

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """A batch of the reader → what the writer takes."""
        features = self.tower(item["image_tensor"].numpy())
        features /= np.linalg.norm(features, axis=-1, keepdims=True)
        empty = dict.fromkeys(("text_embs", "text", "metadata"))
        return {"image_embs": features.astype(np.float16), "image_filename": item["image_filename"], **empty}


def embed() -> None:
    """Run it as its worker does, with images alone, in one partition."""
    job = given()
    images_alone = {"enable_text": False, "enable_image": True, "enable_metadata": False}
    Runner(
        reader_builder=lambda sampler: WebdatasetReader(
            sampler, job.preprocess, None, list(job.shards), BATCH, CORES, **images_alone
        ),
        mapper_builder=lambda: Mapper(Tower(job, threads=CORES)),
        writer_builder=lambda part: NumpyWriter(part, job.out, **images_alone, output_partition_count=1),
        logger_builder=lambda part: LoggerWriter(part, f"{job.out}/stats"),
        output_partition_count=1,
    )(0)


if __name__ == "__main__":
    timed(embed)
