"""Features of a set of entities as one mapped table, and their embeddings, which are computed when asked for.

A worker opens the table of its job. What it holds of it is what its shards touch: the pages of the file that were read,
which all processes of a machine share, and a bounded number of embeddings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa

from openmofi.arrays import Array, Floats, Halves, Ints
from openmofi.encoders import Encoder
from openmofi.errors import OpenMofiError
from openmofi.features.references import References, spaced
from openmofi.storage import read_arrow, write_arrow
from openmofi.storage.table_files import arrow_blocks, is_whole, places_in

BLOCK = 16
"""Entities that are projected together. A matrix product may give a row other last bits in a batch of another size or
at another place in it: by blocks of the table, an embedding depends on the table alone, and not on who is asked for."""
KEPT_BYTES = 1 << 28
"""Of embeddings that are kept for an encoder and its folds together."""


@dataclass(frozen=True)
class EntityFeatures:
    """Text features of a set of entities.

    Attributes:
        ids: sorted identifiers, Arrow strings (n,).
        parts: float16 (≤ m, text_feature_dim), of entities in this order; all but the last have m, a multiple of
            `BLOCK`.
        path: where `open` finds them; empty where they are held in memory.
        images: image features of their reference images, where they have some: `ids` are those of the entities.
    """

    ids: pa.Array
    parts: tuple[Floats, ...]
    path: str = ""
    images: EntityFeatures | None = None

    @classmethod
    def of(cls, ids: pa.Array, features: Floats, images: EntityFeatures | None = None) -> EntityFeatures:
        """Hold (n, text_feature_dim) features of n sorted identifiers in memory."""
        return cls(ids, (features,), images=images)

    @classmethod
    def open(cls, path: str) -> EntityFeatures:
        """Map what `write_entity_table` wrote.

        Raises:
            OpenMofiError: it is missing or damaged.
        """
        ids = read_arrow(_ids(path)).column("id")
        column = read_arrow(_features(path)).column("feature")
        dim = column.type.list_size
        parts = tuple(chunk.flatten().to_numpy().reshape(len(chunk), dim) for chunk in column.chunks)
        if sum(map(len, parts)) != len(ids):
            raise OpenMofiError(
                f"{_features(path)} has other rows than {_ids(path)}.", "Remove both and start the command again."
            )
        return cls(
            ids.combine_chunks() if ids.num_chunks != 1 else ids.chunk(0),
            parts or (np.zeros((0, dim), np.float16),),
            path,
            cls.open(images) if has_entity_table(images := images_path(path)) else None,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def features(self) -> Array:
        """float32 (n, text_feature_dim), of all: 2 GB a million entities of 512 dimensions."""
        return np.concatenate(self.parts).astype(np.float32)

    def places(self, ids: pa.Array) -> Ints:
        """(len(ids),) row of each identifier, −1 where it is not among them."""
        return places_in(self.ids, ids)

    def rows(self, ids: pa.Array) -> Ints:
        """(len(ids),) row of each identifier.

        Raises:
            OpenMofiError: one is not among them.
        """
        rows = self.places(ids)
        if len(absent := np.flatnonzero(rows < 0)):
            raise OpenMofiError(
                f"The entity {ids[int(absent[0])]} has no embedding.", "Remove the job's cache and start again."
            )
        return rows

    def block(self, number: int) -> Array:
        """float32 (≤ `BLOCK`, text_feature_dim), the features of the rows from `BLOCK` · `number` on."""
        part, start = divmod(number * BLOCK, max(len(self.parts[0]), 1))
        return self.parts[part][start : start + BLOCK].astype(np.float32)


def write_entity_table(path: str, ids: pa.Array, dim: int, features: Iterable[Halves]) -> None:
    """Write a table that `EntityFeatures.open` maps; `path` is the beginning of its files' names.

    Args:
        path: see above.
        ids: sorted identifiers, Arrow strings (n,).
        dim: of the features.
        features: (m, dim) of entities, in order.

    Raises:
        OpenMofiError: it cannot be written.
    """
    schema = pa.schema([("feature", pa.list_(pa.float16(), dim))])
    with arrow_blocks(_features(path), schema) as add:
        for part in features:
            add(
                pa.Table.from_arrays(
                    [pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), dim)], schema=schema
                )
            )
    # Last of all: it says that the features are there.
    write_arrow(_ids(path), pa.table({"id": ids}))


def has_entity_table(path: str) -> bool:
    """Whether there is a whole table; one that was cut off is none."""
    return is_whole(_ids(path)) and is_whole(_features(path))


def images_path(path: str) -> str:
    """Where the table of the reference images of a table of entities is."""
    return f"{path}.images"


def _ids(path: str) -> str:
    return f"{path}.ids.arrow"


def _features(path: str) -> str:
    return f"{path}.features.arrow"


@dataclass(frozen=True)
class EntityEmbeddings:
    """Entities in an encoder's joint space; those that were asked for last are kept.

    Attributes:
        encoder: projects their features; what it has learned of them beyond their texts is added.
        entities: the features.
        most: bytes of embeddings that are kept, but at least one block.
        kept: blocks by number, the one that was used last at the end.
        basis: (b,) rows of the entities on which the weight of their images is fitted; `None`: all.
    """

    encoder: Encoder
    entities: EntityFeatures
    most: int = KEPT_BYTES
    kept: OrderedDict[int, Array] = field(default_factory=OrderedDict)
    basis: Ints | None = None

    def of(self, rows: Ints) -> Array:
        """(n,) rows of `entities` → float32 (n, dim), L2-normalised."""
        distinct, inverse = np.unique(rows, return_inverse=True)
        texts = self._texts(distinct)
        return (self.references.applied(distinct, texts) if self.references else texts)[inverse]

    @cached_property
    def references(self) -> References | None:
        """What the entities' images add; `None` where fewer than two of `basis` have images."""
        if (images := self.entities.images) is None:
            return None
        basis = np.arange(len(self.entities)) if self.basis is None else np.unique(self.basis)
        rows, owners = np.unique(self.entities.rows(images.ids), return_inverse=True)
        chosen = np.flatnonzero(np.isin(rows, basis))
        if len(chosen) < 2:
            return None
        chosen, basis = chosen[spaced(len(chosen))], basis[spaced(len(basis))]
        vectors = (self.encoder.project_images(part.astype(np.float32)) for part in images.parts if len(part))
        texts, mean = self._texts(rows[chosen]), self._texts(basis).mean(axis=0)
        return References.fitted(rows, vectors, owners, chosen, texts, mean)

    def _texts(self, distinct: Ints) -> Array:
        result = np.empty((len(distinct), self.encoder.dim), np.float32)
        numbers, starts, counts = np.unique(distinct // BLOCK, return_index=True, return_counts=True)
        for number, start, end in zip(numbers.tolist(), starts, starts + counts, strict=True):
            result[start:end] = self._block(number)[distinct[start:end] - number * BLOCK]
        if learned := self.encoder.companions.class_vectors:
            result = learned.applied(self.entities.ids.take(pa.array(distinct)), result)
        return result

    def _block(self, number: int) -> Array:
        block = self.kept.pop(number, None)
        if block is None:
            block = self.encoder.project_texts(self.entities.block(number))
            if self.kept and (len(self.kept) + 1) * BLOCK * 4 * self.encoder.dim > self.most:
                self.kept.popitem(last=False)
        self.kept[number] = block
        return block
