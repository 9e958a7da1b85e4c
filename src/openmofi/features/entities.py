"""Second stage of the label job: the text embeddings of the entities that occur, once per knowledge base and encoder.

What is kept is the text backbone's output as float16; heads or adapters over it are cheap. The store of a knowledge
base, backbone and template only grows: a job embeds what no job before it has embedded. Entities are embedded in blocks
of their sorted identifiers and a block is written whole, so a job that was killed cuts the same blocks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.encoders import Array, Encoder
from openmofi.engine import Engine, Progress
from openmofi.engine.protocol import Work
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.texts import entity_text
from openmofi.storage import fingerprint, write_table
from openmofi.storage.addresses import filesystem_of
from openmofi.storage.atomic import is_damage
from openmofi.storage.manifest import is_hidden

_BLOCK = 1024


@dataclass(frozen=True)
class EntityFeatures:
    """Text features of a set of entities.

    Attributes:
        ids: sorted identifiers, Arrow strings (n,).
        features: float32 (n, text_feature_dim).
    """

    ids: pa.Array
    features: Array

    def rows(self, ids: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Row of each identifier.

        Raises:
            OpenMofiError: one is not among them.
        """
        rows = pc.index_in(ids, value_set=self.ids)
        if rows.null_count:
            absent = ids.filter(pc.is_null(rows))[0]
            raise OpenMofiError(f"The entity {absent} has no embedding.", "Remove the job's cache and start again.")
        return rows.to_numpy(zero_copy_only=False).astype(np.int64)


@dataclass(frozen=True)
class EmbedStage:
    """Embeds blocks of entities; a `WorkFactory`. A task is a tuple of identifiers."""

    kb: KnowledgeBase
    encoder: Encoder
    template: str
    folder: str

    def __call__(self) -> Work:
        """Nothing is left to be opened."""
        return self._embed

    def _embed(self, ids: tuple[str, ...]) -> dict[str, Any]:
        texts = [entity_text(self.kb, entity, self.template) for entity in ids]
        features = self.encoder.text_features(texts).astype(np.float16)
        write_table(f"{self.folder}/{fingerprint(ids)}.parquet", pa.table({
            "id": pa.array(ids, pa.string()),
            "feature": pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1]),
        }))
        return {"rows": len(ids)}


def embed_entities(kb: KnowledgeBase, encoder: Encoder, ids: Sequence[str], template: str, cache: str | Path,
                   engine: Engine, progress: Progress) -> EntityFeatures:
    """The text features of `ids` (sorted, distinct); embeds those that the store in `cache` lacks.

    Raises:
        OpenMofiError: a block cannot be written.
    """
    key = fingerprint([kb.fingerprint, encoder.feature_fingerprint, template])
    stage = EmbedStage(kb, encoder, template, f"{cache}/entities/{key}")
    needed = pa.array(ids, pa.string())
    stored = _stored(stage.folder, encoder.text_feature_dim, progress)
    missing = needed.filter(pc.invert(pc.is_in(needed, value_set=stored.ids))).to_pylist()
    if missing:
        blocks = [tuple(missing[start:start + _BLOCK]) for start in range(0, len(missing), _BLOCK)]
        progress.begin("entities", len(blocks))
        engine.run(stage, blocks, progress)
        stored = _stored(stage.folder, encoder.text_feature_dim, progress)
    return EntityFeatures(needed, stored.features[stored.rows(needed)])


def _stored(folder: str, dim: int, progress: Progress) -> EntityFeatures:
    """All blocks of a store; an entity that two jobs embedded at the same time stands in the first of them.

    A block that was cut off is removed, and so embedded again.
    """
    filesystem, root = filesystem_of(folder)
    listed = filesystem.ls(root, detail=False) if filesystem.isdir(root) else []
    names = sorted(name for name in listed if name.endswith(".parquet") and not is_hidden(name))
    tables = []
    for name in names:
        try:
            tables.append(pq.read_table(name, filesystem=filesystem, schema=_schema(dim)))
        except (OSError, ValueError, pa.ArrowException) as error:
            if not is_damage(error):
                raise
            progress.say(f"{name} is damaged: its entities are embedded again.")
            with suppress(FileNotFoundError):  # another worker has come first
                filesystem.rm_file(name)
    if not tables:
        return EntityFeatures(pa.array([], pa.string()), np.zeros((0, dim), np.float32))
    table = pa.concat_tables(tables)
    column = table.column("feature").combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), dim)
    return EntityFeatures(table.column("id").combine_chunks(), values.astype(np.float32))


def _schema(dim: int) -> pa.Schema:
    return pa.schema([("id", pa.string()), ("feature", pa.list_(pa.float16(), dim))])
