"""The truth of images: which entity each shows."""

from __future__ import annotations

from pathlib import Path

from openmofi.dataset.audit.truth import read_truth
from openmofi.errors import OpenMofiError
from openmofi.features.images import EmbeddedImages


def true_entities(truth: str | Path, images: EmbeddedImages) -> list[str]:
    """The entity that each image shows, by a Parquet file of `schema.TRUTH`.

    Raises:
        OpenMofiError: the file cannot be read, or does not know one of the images.
    """
    table = read_truth(truth, sorted(set(images.shards)), None)
    entity_of = {(shard, key): entity for shard, key, entity in
                 zip(*(table[name].to_pylist() for name in ("shard", "key", "entity")), strict=True)}
    rows = list(zip(images.shards, images.keys, strict=True))
    absent = next((row for row in rows if row not in entity_of), None)
    if absent:
        raise OpenMofiError(f"{truth} does not know the image {absent[1]!r} of the shard {absent[0]!r}.",
                            "Give the truth of these images.")
    return [entity_of[row] for row in rows]
