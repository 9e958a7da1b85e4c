"""The truth of images: which entity each shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from openmofi.dataset.audit.truth_table import read_truth
from openmofi.errors import OpenMofiError
from openmofi.features.images import EmbeddedImages


def entities_of(truth: str | Path, shards: Iterable[str]) -> dict[tuple[str, str], str]:
    """(shard, key) → the entity that the image shows, by a table of `schema.TRUTH`.

    Raises:
        OpenMofiError: the file cannot be read, has no shards, or gives an image two entities.
    """
    table = read_truth(truth, sorted(set(shards)), None)
    if "shard" not in table.column_names:
        raise OpenMofiError(f"{truth} has no column 'shard'.", "Add it: images are known by shard and key here.")
    entities: dict[tuple[str, str], str] = {}
    for shard, key, entity in zip(*(table[name].to_pylist() for name in ("shard", "key", "entity")), strict=True):
        if entities.setdefault((shard, key), entity) != entity:
            raise OpenMofiError(
                f"{truth} gives the image {key!r} of the shard {shard!r} two entities.", "Give each image one here."
            )
    return entities


def true_entities(truth: str | Path, images: EmbeddedImages) -> list[str]:
    """The entity that each image shows; see `entities_of`.

    Raises:
        OpenMofiError: the file cannot be read, or does not know one of the images.
    """
    entity_of = entities_of(truth, images.shards)
    ids = list(zip(images.shards, images.keys, strict=True))
    absent = next((image for image in ids if image not in entity_of), None)
    if absent:
        raise OpenMofiError(
            f"{truth} does not know the image {absent[1]!r} of the shard {absent[0]!r}.",
            "Give the truth of these images.",
        )
    return [entity_of[image] for image in ids]
