"""A teacher's class scores: the top of its zero-shot softmax over the entities that the labels accepted.

Encoders are saved without the head that they were trained with, so that a teacher knows an entity by its text, as in
the label job.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import logsumexp

from openmofi.arrays import Array
from openmofi.dataset.tables import Folder, Judged
from openmofi.encoders import Encoder
from openmofi.engine import Engine, LocalEngine, Progress, Quiet
from openmofi.errors import UsageError
from openmofi.features.entities import embed_entities
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.texts import DEFAULT_TEMPLATE
from openmofi.storage import read_parquet, write_table

ENTITIES_FILE = "entities.parquet"
"""Of a store with entity scores: the column `id`, sorted; a stored entity is a row of it."""

_ENTITIES = pa.schema([("id", pa.string())])
Scores = tuple[NDArray[np.int32], NDArray[np.float16]]


def accepted_ids(labels: Folder, count: int) -> list[str]:
    """Identifiers, sorted, of the entities that the labels of any shard accept.

    Raises:
        UsageError: there are fewer than `count`.
        OpenMofiError: a label file cannot be read.
    """
    ids: set[str] = set()
    for shard in labels.shards:
        judged = Judged.of(labels.read(shard, ["mentions", "entities"]))
        ids.update(judged.entity.filter(pa.array(judged.accepted)).to_pylist())
    if len(ids) < count:
        raise UsageError(
            f"{labels.path} accepts {len(ids)} entities, fewer than --entity-scores {count}.",
            f"Set --entity-scores to {len(ids)} at most.",
        )
    return sorted(ids)


def prepare_entities(
    ids: Sequence[str],
    labels: Folder,
    kb: KnowledgeBase,
    encoders: Sequence[Encoder],
    out: str | Path,
    engine: Engine,
    progress: Progress,
) -> None:
    """Write `ENTITIES_FILE`, and embed the entities' texts into `OUT/entities`, which workers read.

    Raises:
        OpenMofiError: a file cannot be written.
    """
    write_table(f"{out}/{ENTITIES_FILE}", pa.table({"id": ids}, _ENTITIES))
    for encoder in encoders:
        embed_entities(kb, encoder, ids, entity_template(labels), out, engine, progress)


def entity_template(labels: Folder) -> str:
    """The label job's template of entity texts."""
    return str(labels.manifest.settings.get("selection", {}).get("template", DEFAULT_TEMPLATE))


def read_entities(store: str | Path) -> tuple[str, ...]:
    """Identifiers of the entities that a store has scores of.

    Raises:
        OpenMofiError: the file is missing or damaged.
    """
    table = read_parquet(f"{store}/{ENTITIES_FILE}", _ENTITIES, hint="Remove the store and make it again.")
    return tuple(table["id"].to_pylist())


def entity_vectors(labels: Folder, kb: KnowledgeBase, encoder: Encoder, out: str | Path) -> Array:
    """(C, dim) float32, L2-normalised: of the texts of a store's entities, which `prepare_entities` embedded."""
    embedded = embed_entities(kb, encoder, read_entities(out), entity_template(labels), out, LocalEngine(), Quiet())
    return encoder.project_texts(embedded.features)


def top_entities(images: Array, entities: Array, scale: float, count: int) -> Scores:
    """A teacher's likeliest entities and their probabilities.

    Args:
        images: (n, dim) float32, L2-normalised.
        entities: (C, dim), likewise; C ≥ `count`.
        scale: the teacher's factor on cosines.
        count: entities kept.

    Returns:
        (n, count) int32 rows of `entities`, by falling probability, equal ones by row; and (n, count) float16: their
        softmax(scale · images · entitiesᵀ) over all C.
    """
    logits = scale * (images @ entities.T)
    # In order of the rows first, so that the stable sort keeps that order among equals.
    rows = np.sort(np.argpartition(-logits, count - 1, axis=1)[:, :count], axis=1)
    kept = np.take_along_axis(logits, rows, axis=1)
    order = np.argsort(-kept, axis=1, kind="stable")
    share = np.exp(np.take_along_axis(kept, order, axis=1) - logsumexp(logits, axis=1, keepdims=True))
    return np.take_along_axis(rows, order, axis=1).astype(np.int32), share.astype(np.float16)
