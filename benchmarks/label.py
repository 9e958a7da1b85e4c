"""The label job's throughput beside the bare encoder's loop over the same images, already decoded.

Contenders, in turns in one process:
- `bare encoder`: preprocess and forward pass over images that lie decoded in memory, in the job's batch size;
- `label job`: the whole job on the tar shards: read, decode, hash, detect, link, embed, judge, write tables. Entity
  texts are embedded once per knowledge base and encoder, so the job's store of them is kept between rounds; texts,
  links and features are not.
Built on a small sample world (`runs/bench`), made on first use.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

import harness


def prepare(root: Path, entities: int) -> None:
    """A small world with its knowledge base and encoder, by the demo."""
    from openmofi.engine import Quiet
    from openmofi.sample.demo import label_world
    from openmofi.sample.world_settings import world_settings

    label_world(root, Quiet(), settings=world_settings(None, entities))


def main() -> None:
    """Measure and write `results/label.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, default=Path("runs/bench"))
    parser.add_argument("--entities", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    prepare(arguments.world, arguments.entities)

    from openmofi.encoders import open_encoder
    from openmofi.knowledge import KnowledgeBase
    from openmofi.labeling import LabelSettings, label
    from openmofi.pairs import ImageRefused, decode, read_pairs
    from openmofi.storage import expand_shards

    encoder, settings = open_encoder(f"run:{arguments.world / 'encoders/partial-labels'}"), LabelSettings()
    kb = KnowledgeBase.open(arguments.world / "kb")
    shards = expand_shards([str(arguments.world / "world/pages/train")])
    images = []
    for pair in (pair for shard in shards for pair in read_pairs(shard)):
        try:
            images.append(decode(pair.image or b"", size_hint=encoder.preprocessing.decode_size).image)
        except ImageRefused:
            continue

    def bare() -> None:
        for start in range(0, len(images), settings.batch_size):
            batch = [encoder.preprocess(image) for image in images[start:start + settings.batch_size]]
            encoder.image_features(np.stack(batch))

    cache, out = arguments.world / "bench-cache", arguments.world / "bench-labels"

    def job() -> None:
        for folder in (*(cache / kind for kind in ("texts", "ngrams", "repeats", "links", "groups", "features")), out):
            shutil.rmtree(folder, ignore_errors=True)
        label(shards, kb, encoder, out, settings, cache=cache)

    rows = harness.measure("label", {"bare encoder": bare, "label job": job}, len(images), arguments.rounds, "images")
    harness.write_result("label", rows, {"job_over_bare": rows["label job"]["ratio"]})


if __name__ == "__main__":
    main()
