"""Label and dataset folders, read one shard at a time, with nested columns as flat arrays; names of their entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.arrays import Bools, Codes, Floats, Ints
from openmofi.dataset.checks import check_dataset, check_labels, check_vocabulary
from openmofi.errors import OpenMofiError
from openmofi.knowledge import KnowledgeBase
from openmofi.schema import DATASET, LABELS, VOCABULARY, Entity, with_kinds
from openmofi.storage import Manifest, Shard, as_type, read_manifest, read_parquet

Surfaces = Counter[tuple[str, str]]
"""How often texts use a surface form for an entity: (identifier, surface form) → times."""


def commonest(surfaces: Surfaces) -> dict[str, str]:
    """Each entity's commonest surface form, its name without a knowledge base; ties go to the one that sorts first."""
    rarest_first = sorted(surfaces.items(), key=lambda entry: (-entry[1], entry[0][1]), reverse=True)
    return {identifier: name for (identifier, name), _ in rarest_first}


def describe(identifiers: Sequence[str], kb: KnowledgeBase | None, names: dict[str, str]) -> list[Entity]:
    """The entities of the knowledge base; unknown ones are named by `names` or by their id."""
    rows = [-1] * len(identifiers) if kb is None else kb.rows(identifiers).tolist()
    return [
        kb.entity(row) if kb and row >= 0 else Entity(identifier, names.get(identifier, identifier))
        for identifier, row in zip(identifiers, rows, strict=True)
    ]


def count_types(entities: Iterable[Entity], images: Iterable[int]) -> dict[str, dict[str, int]]:
    """Type → how many entities have it and how many labels these have, most entities first."""
    classes: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for entity, count in zip(entities, images, strict=True):
        for kind in entity.types:
            classes[kind] += 1
            labels[kind] += count
    ordered = sorted(classes, key=lambda kind: (-classes[kind], kind))
    return {kind: {"entities": classes[kind], "labels": labels[kind]} for kind in ordered}


_LAYOUT = {"labels": ("labels", LABELS), "dataset": ("images", DATASET)}


@dataclass(frozen=True)
class Folder:
    """A finished folder of labels, or a dataset: one Parquet file a shard of pairs."""

    path: str
    manifest: Manifest
    shards: tuple[Shard, ...]

    @classmethod
    def open(cls, path: str | Path, kind: str | None = None) -> Folder:
        """Open a folder of `kind` `labels` or `dataset`; `None` takes either. Shards that failed are left out.

        Raises:
            OpenMofiError: it is neither, is not finished, or its manifest lists no shards.
        """
        manifest = read_manifest(path, kind)
        if manifest.kind not in _LAYOUT:
            raise OpenMofiError(f"{path} contains {manifest.kind!r}, neither labels nor a dataset.", "Check the path.")
        if not manifest.finished:
            raise OpenMofiError(
                f"{path} is not finished.",
                f"openmofi jobs status {path} says why; the command that makes it continues there.",
            )
        listed = as_type(
            manifest.settings.get("shards"),
            list[Shard],
            f"The list of shards in {path}/manifest.json",
            "Make the folder again.",
        )
        shards = tuple(shard for shard in listed if shard.name not in manifest.counts.get("failed", {}))
        if not shards:
            raise OpenMofiError(f"{path} has no shards.", "Label some pairs first.")
        return cls(str(path), manifest, shards)

    def read(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """One shard's rows, in the order of the shard of pairs; what is read is checked.

        Raises:
            OpenMofiError: the file is missing or damaged, its columns differ from the schema, or a value is out of its
                range (see `dataset.checks`).
        """
        path = self.file(shard)
        table = read_parquet(
            path, self.schema, columns=columns, hint="Remove it, and start the command that makes the folder again."
        )
        if self.manifest.kind == "labels":
            check_labels(path, table)
        else:
            check_dataset(path, table, shard.name, self._classes)
        return table

    @property
    def for_workers(self) -> Folder:
        """The same without the list of shards, which may be long; it reads those that it is given."""
        settings = {name: value for name, value in self.manifest.settings.items() if name != "shards"}
        return replace(self, manifest=Manifest(self.manifest.kind, settings), shards=())

    @property
    def has_kinds(self) -> bool:
        """Whether mentions of its labels have a `kind`, see `schema.with_kinds`."""
        settings = self.manifest.settings if self.manifest.kind == "labels" else {}
        read, text = settings.get("read"), settings.get("text")
        columns = isinstance(read, dict) and isinstance(read.get("text_column"), list)
        return columns or (isinstance(text, dict) and text.get("read_text") is True)

    @property
    def schema(self) -> pa.Schema:
        """The schema of its tables."""
        layout = _LAYOUT[self.manifest.kind][1]
        return with_kinds(layout) if self.has_kinds else layout

    def file(self, shard: Shard) -> str:
        """The path of a shard's table."""
        return f"{self.path}/{_LAYOUT[self.manifest.kind][0]}/{shard.name}.parquet"

    @cached_property
    def vocabulary(self) -> pa.Table:
        """The classes of a dataset (`schema.VOCABULARY`), numbered from 0 on.

        Raises:
            OpenMofiError: the file is missing or damaged.
        """
        path = f"{self.path}/vocabulary.parquet"
        table = read_parquet(path, VOCABULARY, hint="Build the dataset again.")
        check_vocabulary(path, table)
        return table

    @cached_property
    def _classes(self) -> list[str]:
        return self.vocabulary["id"].to_pylist()


@dataclass
class Codebook:
    """Numbers distinct strings, in order of first appearance."""

    _codes: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def values(self) -> list[str]:
        """The strings by number; a list of its own each time."""
        return list(self._codes)

    def encode(self, strings: pa.Array) -> Codes:
        """Each string's number, int32; the Python loop runs over distinct strings only."""
        encoded, codes = strings.dictionary_encode(), self._codes
        numbers = [codes.setdefault(value, len(codes)) for value in encoded.dictionary.to_pylist()]
        return np.array(numbers, np.int32)[encoded.indices.to_numpy(zero_copy_only=False)]


@dataclass(frozen=True)
class Judged:
    """The judged entities of a label table as flat arrays of one length, in the order of the table.

    Attributes:
        row: row of the table.
        entity: identifiers, an Arrow string array.
        mention: position in the flattened mentions of the table.
        prior, link_score, probability: see `schema.JUDGEMENT`.
        accepted: whether it is a label.
    """

    row: Ints
    entity: pa.Array
    mention: Ints
    prior: Floats
    link_score: Floats
    probability: Floats
    accepted: Bools

    @classmethod
    def of(cls, table: pa.Table) -> Judged:
        """Flatten `table`, which has the columns `mentions` and `entities` of `schema.LABELS`."""
        entities = as_array(table["entities"])
        flat = entities.flatten()
        row = pc.list_parent_indices(entities).to_numpy(zero_copy_only=False).astype(np.int64)
        counts = pc.fill_null(pc.list_value_length(as_array(table["mentions"])), 0).to_numpy(zero_copy_only=False)
        starts = np.concatenate([[0], np.cumsum(counts)])[:-1].astype(np.int64)

        def column(name: str) -> np.ndarray:
            return flat.field(name).to_numpy(zero_copy_only=False)

        return cls(
            row,
            flat.field("entity"),
            starts[row] + column("mention").astype(np.int64),
            column("prior"),
            column("link_score"),
            column("probability"),
            column("accepted"),
        )


def mention_column(table: pa.Table, name: str) -> pa.Array:
    """A field of the flattened mentions of a label table, e.g. `surface`; positions as in `Judged.mention`."""
    return as_array(table["mentions"]).flatten().field(name)


def as_array(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    joined = column.combine_chunks()
    return joined.chunk(0) if isinstance(joined, pa.ChunkedArray) else joined


def best_of_pairs(first: Ints, second: NDArray[np.integer], score: Floats) -> Ints:
    """Positions of the highest-scored element of each distinct `(first, second)`, sorted by these two."""
    order = np.lexsort((-score.astype(np.float64), second, first))
    return order[run_starts(first[order], second[order])]


def run_starts(*columns: NDArray[Any]) -> Bools:
    """Where a run of equal rows begins: the rows that differ, in any of the columns, from the row before."""
    starts = np.ones(len(columns[0]), bool)
    starts[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return starts


def labels_kb(folder: Folder) -> KnowledgeBase | None:
    """The knowledge base that the labels were made with, where it still is as it was; `None` where it is not."""
    path, fingerprint = folder.manifest.settings.get("kb"), folder.manifest.inputs.get("/kb")
    if not path or not fingerprint:
        return None
    try:
        kb = KnowledgeBase.open(path)
    except OpenMofiError:
        return None
    return kb if kb.fingerprint == fingerprint else None
