"""Second stage of the label job: the embeddings of the entities that occur, once per knowledge base and encoder.

What is kept is what the backbones give for texts and for reference images, as float16; heads or adapters over it are
cheap. The store of a knowledge base, backbone and template (`entities/KEY/*.parquet` of a cache) only grows: a job
embeds what no job before it has embedded. Entities are embedded by 1,024 of their sorted identifiers and a task's block
is written whole, so a job that was killed cuts the same blocks again.

A job then makes one table of its own entities beside the store (`entities/KEY/*.arrow`), named by them, which its
workers map: see `openmofi.features.entity_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.arrays import Array, Codes, Halves, Ints
from openmofi.encoders import Encoder
from openmofi.engine import Engine, Progress
from openmofi.engine.protocol import Work
from openmofi.errors import OpenMofiError
from openmofi.features.entity_table import EntityFeatures, has_entity_table, images_path, write_entity_table
from openmofi.features.stream import ahead
from openmofi.knowledge import KnowledgeBase
from openmofi.knowledge.arrays import taken
from openmofi.knowledge.texts import entity_text
from openmofi.pairs.images.decode import decode_image
from openmofi.storage import digits64, filesystem_of, fingerprint, open_address, write_table
from openmofi.storage.manifest import is_hidden
from openmofi.storage.table_files import BLOCK_ROWS, is_damage, places_in

_VERSION = 2
_TOGETHER = 1024
"""Entities whose texts are batched together: it decides the last bits of their features."""
_TASKS, _MOST = 64, 16
"""Tasks that a job is cut into before they grow, and how often `_TOGETHER` a task has at most."""
_OPEN = 16
_IMAGES = 64
"""Images that are embedded together."""


@dataclass(frozen=True, eq=False)
class EntityBlock:
    """Entities that are embedded as a task.

    Attributes:
        rows: (n,) int32 in the knowledge base, in the order of their identifiers.
    """

    rows: Codes

    def __str__(self) -> str:
        return f"{len(self.rows):,} entities"


@dataclass(frozen=True)
class EmbedStage:
    """Embeds blocks of entities, or of reference images; a `WorkFactory`. A task is an `EntityBlock`.

    Attributes:
        kb: gives their names and descriptions.
        encoder: embeds their texts.
        template: of these; `None`: rows are those of `kb.images`, which are embedded.
        folder: local path or fsspec URL of the store.
    """

    kb: KnowledgeBase
    encoder: Encoder
    template: str | None
    folder: str

    @classmethod
    def plan(cls, kb: KnowledgeBase, encoder: Encoder, template: str | None, cache: str | Path) -> EmbedStage:
        """Name the store by what makes it."""
        key = fingerprint([_VERSION, kb.fingerprint, encoder.feature_fingerprint, template])
        return cls(kb, encoder, template, f"{cache}/entities/{key}")

    def __call__(self) -> Work:
        """Return the work on a block; nothing is left to be opened."""
        return self._embed

    def _embed(self, block: EntityBlock) -> dict[str, Any]:
        rows = block.rows
        parts = [self._features(part) for part in np.split(rows, range(_TOGETHER, len(rows), _TOGETHER))]
        features = np.concatenate(parts).astype(np.float16)
        write_table(
            f"{self.folder}/{_digest(rows)}.parquet",
            pa.table(
                {
                    "id": self.ids(rows),
                    "row": pa.array(rows),
                    "feature": pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1]),
                }
            ),
        )
        return {"rows": len(rows)}

    @property
    def _images(self) -> pa.Table:
        assert self.kb.images is not None
        return self.kb.images

    def ids(self, rows: Codes) -> pa.Array:
        """(n,) identifiers of the entities of rows."""
        return self.kb.id_array(rows) if self.template is not None else taken(self._images["id"], rows)

    def _features(self, rows: Codes) -> Array:
        if (template := self.template) is not None:
            return self.encoder.text_features([entity_text(self.kb, row, template) for row in rows.tolist()])
        encoded = taken(self._images["image"], rows)
        batches = ahead(encoded, lambda image: self.encoder.preprocess(decode_image(image.as_py())), _IMAGES)
        with closing(batches):
            return np.concatenate(
                [self.encoder.image_features(self.encoder.batch([pixels for _, pixels in batch])) for batch in batches]
            )


def embed_entities(
    kb: KnowledgeBase,
    encoder: Encoder,
    ids: Sequence[str],
    template: str,
    cache: str | Path,
    engine: Engine,
    progress: Progress,
    *,
    images: bool = False,
) -> EntityFeatures:
    """The text features of `ids` (sorted, distinct), held in memory; embeds those that the store in `cache` lacks.

    With `images` also those of their reference images.

    Raises:
        OpenMofiError: an entity is not in the knowledge base, or a block cannot be written.
    """
    stage, rows = EmbedStage.plan(kb, encoder, template, cache), kb.rows(ids)
    if len(unknown := np.flatnonzero(rows < 0)):
        raise OpenMofiError(
            f"The entity {ids[int(unknown[0])]} is not in the knowledge base {kb.path}.",
            "Use the knowledge base that it is of.",
        )

    def gathered(stage: EmbedStage, rows: Codes, dim: int) -> Halves:
        features: list[Halves] = []

        def gather(parts: Iterator[Halves]) -> None:
            features[:] = parts

        _gathered(stage, rows, engine, progress, gather)
        return np.concatenate(features) if features else np.zeros((0, dim), np.float16)

    whole, of_images = gathered(stage, rows, encoder.text_feature_dim), None
    if images and len(wanted := _image_rows(kb, pa.array(ids, pa.string()))):
        stage = EmbedStage.plan(kb, encoder, None, cache)
        of_images = EntityFeatures.of(stage.ids(wanted), gathered(stage, wanted, encoder.feature_dim))
    return EntityFeatures.of(pa.array(ids, pa.string()), whole, of_images)


def entity_table(
    kb: KnowledgeBase,
    encoder: Encoder,
    rows: Ints,
    template: str,
    cache: str | Path,
    engine: Engine,
    progress: Progress,
    judged: pa.Array | None = None,
) -> EntityFeatures:
    """The features of some entities' texts, and of their reference images, as mapped tables.

    They are made where they are not there. Several processes may make it at once.

    Args:
        kb, encoder, template: what is embedded and how.
        rows: (n,) of the entities in `kb`, ascending.
        cache: local path or fsspec URL; the table and the store lie in `entities/`.
        engine, progress: embed what the store lacks.
        judged: contents of reference images that are images of the pairs, too: these would confirm themselves, and are
            left out.

    Raises:
        OpenMofiError: a block or the table cannot be written.
    """
    stage = EmbedStage.plan(kb, encoder, template, cache)
    path = f"{stage.folder}/{_digest(rows.astype(np.int32))}"
    if judged is not None and len(judged):
        path += f"-{fingerprint(sorted(judged.to_pylist()))}"
    if not has_entity_table(path):
        ids = kb.id_array(rows)
        order = pc.sort_indices(ids)
        ids, ordered = ids.take(order), rows.astype(np.int32)[order.to_numpy()]
        del order
        if len(images := _image_rows(kb, ids, judged)):  # first: where the texts are there, all is
            of_images = EmbedStage.plan(kb, encoder, None, cache)
            write = partial(write_entity_table, images_path(path), of_images.ids(images), encoder.feature_dim)
            _gathered(of_images, images, engine, progress, write)
        _gathered(stage, ordered, engine, progress, partial(write_entity_table, path, ids, encoder.text_feature_dim))
    return EntityFeatures.open(path)


def _image_rows(kb: KnowledgeBase, ids: pa.Array, judged: pa.Array | None = None) -> Codes:
    """(n,) rows in `kb.images` of the images of `ids`, which are sorted, less those of contents `judged`; ascending."""
    if kb.images is None:
        return np.zeros(0, np.int32)
    wanted = places_in(ids, kb.images["id"].combine_chunks()) >= 0
    if judged is not None:
        wanted &= ~pc.is_in(kb.images["content"], judged).to_numpy()
    return np.flatnonzero(wanted).astype(np.int32)


def _digest(rows: Codes) -> str:
    """16 hexadecimal digits of rows of a knowledge base."""
    return digits64(rows.astype("<i4").tobytes())


class _Damaged(Exception):
    """A block cannot be read and was removed."""


def _gathered(
    stage: EmbedStage,
    rows: Codes,
    engine: Engine,
    progress: Progress,
    use: Callable[[Iterator[Halves]], None],
) -> None:
    """Embed what is missing of `rows` (in the order of their identifiers) and give `use` the features of all, part by
    part; once more where a block turns out to be damaged, which is then embedded again.
    """
    done = False
    while not done:
        store = _Store.listed(stage.folder, progress)
        missing = rows[~np.isin(rows, store.rows)]
        if len(missing):
            blocks = _blocks(missing)
            progress.begin("entities", len(blocks))
            engine.run(stage, blocks, progress)
            store = _Store.listed(stage.folder, progress)
        with suppress(_Damaged):
            use(store.features(rows))
            done = True


def _blocks(rows: Codes) -> list[EntityBlock]:
    size = _TOGETHER * min(max(len(rows) // (_TOGETHER * _TASKS), 1), _MOST)
    return [EntityBlock(rows[start : start + size]) for start in range(0, len(rows), size)]


@dataclass(frozen=True)
class _Store:
    """The blocks of a folder.

    Attributes:
        folder: it.
        progress: hears of damaged blocks.
        names: of the blocks, sorted.
        rows: the entities' rows in the knowledge base, block after block.
        ends: where each block ends in `rows`.
    """

    folder: str
    progress: Progress
    names: tuple[str, ...]
    rows: Codes
    ends: Ints

    @classmethod
    def listed(cls, folder: str, progress: Progress) -> _Store:
        """What is there now. Of the blocks only the entities' rows are read; one that was cut off is removed."""
        filesystem, root = filesystem_of(folder)
        listed = filesystem.ls(root, detail=False) if filesystem.isdir(root) else []
        names = sorted(
            str(name).rpartition("/")[2] for name in listed if str(name).endswith(".parquet") and not is_hidden(name)
        )
        held: dict[str, Codes] = {}
        for name in names:
            with suppress(_Damaged):
                held[name] = _column(folder, name, "row", progress).to_numpy().astype(np.int32)
        return cls(
            folder,
            progress,
            tuple(held),
            np.concatenate([np.zeros(0, np.int32), *held.values()]),
            np.cumsum([len(rows) for rows in held.values()], dtype=np.int64),
        )

    def features(self, wanted: Codes) -> Iterator[Halves]:
        """The features of `wanted`, which are all there, by 16,384.

        An entity that two jobs embedded at the same time stands in the first of them. Each job's blocks are sorted as
        `wanted` is, so that of each one is in use at a time.

        Raises:
            _Damaged: a block cannot be read.
        """

        @lru_cache(_OPEN)
        def block(number: int) -> Halves:
            column = _column(self.folder, self.names[number], "feature", self.progress)
            return column.flatten().to_numpy().reshape(len(column), column.type.list_size)

        position_of = np.zeros(int(self.rows.max(initial=-1)) + 1, np.int64)
        position_of[self.rows[::-1]] = np.arange(len(self.rows))[::-1]
        for start in range(0, len(wanted), BLOCK_ROWS):
            positions = position_of[wanted[start : start + BLOCK_ROWS]]
            of_block = np.searchsorted(self.ends, positions, "right")
            features = None
            for number in np.unique(of_block).tolist():
                values, inside = block(number), of_block == number
                if features is None:
                    features = np.empty((len(positions), values.shape[1]), np.float16)
                features[inside] = values[positions[inside] - (self.ends[number] - len(values))]
            assert features is not None
            yield features


def _column(folder: str, name: str, column: str, progress: Progress) -> pa.Array:
    """A column of a block.

    Raises:
        _Damaged: it cannot be read; the block has been removed, and that was said.
    """
    path = f"{folder}/{name}"
    try:
        with open_address(path) as handle:
            return pq.read_table(handle, columns=[column]).column(column).combine_chunks()
    except FileNotFoundError as error:  # another worker has removed it
        raise _Damaged from error
    except (OSError, ValueError, pa.ArrowException, KeyError) as error:
        if not is_damage(error):
            raise
        progress.say(f"{path} is damaged: its entities are embedded again.")
        filesystem, address = filesystem_of(path)
        with suppress(FileNotFoundError):
            filesystem.rm_file(address)
        raise _Damaged from error
