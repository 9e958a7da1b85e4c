"""Second stage of the label job: the text embeddings of the entities that occur, once per knowledge base and encoder.

Entities are embedded in blocks of their sorted identifiers, so that the bytes depend on the set of entities alone and
not on who asked first. What is kept is the text backbone's output as float16; heads or adapters over it are cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.encoders import Array, Encoder, open_encoder
from openmofi.engine import Engine, Progress
from openmofi.engine.protocol import Work
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.storage import fingerprint, write_table
from openmofi.storage.atomic import table_metadata

_BLOCK = 1024


def entity_text(kb: KnowledgeBase, entity_id: str, template: str) -> str:
    """The text by which an encoder knows an entity: the template filled with its name and description."""
    entity = kb.entity(kb.row(entity_id))
    return template.format(name=entity.name, description=entity.description).strip(" :,.-–")


@dataclass(frozen=True)
class EntityFeatures:
    """Text features of a set of entities.

    Attributes:
        ids: sorted identifiers, Arrow strings (n,).
        features: float32 (n, text_feature_dim).
    """

    ids: pa.Array
    features: Array

    def positions(self, ids: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Row of each identifier.

        Raises:
            OpenMofiError: one is not among them.
        """
        found = pc.index_in(ids, value_set=self.ids)
        if found.null_count:
            absent = ids.filter(pc.is_null(found))[0]
            raise OpenMofiError(f"The entity {absent} has no embedding.", "Remove the job's cache and start again.")
        return found.to_numpy(zero_copy_only=False).astype(np.int64)


@dataclass(frozen=True)
class EmbedStage:
    """Embeds blocks of entities; a `WorkFactory`. A task is the block's number."""

    kb: str
    encoder: str
    template: str
    folder: str
    ids: tuple[str, ...]

    def path(self, block: int) -> str:
        """Where a block's features are kept."""
        return f"{self.folder}/{block:06d}.parquet"

    def __call__(self) -> Work:
        """Open the knowledge base and the encoder."""
        return partial(_embed_block, self, KnowledgeBase.open(self.kb), open_encoder(self.encoder))


def _embed_block(stage: EmbedStage, kb: KnowledgeBase, encoder: Encoder, block: int) -> dict[str, Any]:
    ids = stage.ids[block * _BLOCK:(block + 1) * _BLOCK]
    features = encoder.text_features([entity_text(kb, entity, stage.template) for entity in ids]).astype(np.float16)
    table = pa.table({
        "id": pa.array(ids, pa.string()),
        "feature": pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1]),
    })
    write_table(stage.path(block), table, {"whole": "yes"})
    return {"rows": len(ids)}


def embed_entities(kb: KnowledgeBase, encoder: Encoder, ids: Sequence[str], template: str, cache: str | Path,
                   engine: Engine, progress: Progress) -> EntityFeatures:
    """Embed the texts of `ids` (sorted, distinct), reading back what the cache has.

    Raises:
        OpenMofiError: a block cannot be written.
    """
    key = fingerprint([kb.fingerprint, encoder.feature_fingerprint, template, list(ids)])
    stage = EmbedStage(str(kb.path), encoder.spec, template, f"{cache}/entities/{key}", tuple(ids))
    blocks = range((len(ids) + _BLOCK - 1) // _BLOCK)
    missing = [block for block in blocks if table_metadata(stage.path(block)).get("whole") != "yes"]
    if missing:
        progress.begin("entities", len(missing))
        engine.run(stage, missing, progress)
    tables = [pq.read_table(stage.path(block)) for block in blocks]
    if not tables:
        return EntityFeatures(pa.array([], pa.string()), np.zeros((0, encoder.text_feature_dim), np.float32))
    table = pa.concat_tables(tables)
    column = table.column("feature").combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1).astype(np.float32)
    return EntityFeatures(table.column("id").combine_chunks(), values)
