"""A slice of a knowledge base for a laptop: some of its entities, and of all else what belongs to them, unchanged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from openmofi.api.given import Folder, kb_of, place_of, public
from openmofi.arrays import Ints
from openmofi.errors import OpenMofiError, UsageError, did_you_mean
from openmofi.knowledge import KnowledgeBase, layout
from openmofi.knowledge.arrays import built_names, save_array, save_names, taken, taken_table
from openmofi.knowledge.beside import IMAGES_STEM, LANGUAGES_FILE
from openmofi.knowledge.candidates import CandidateTable, keys_of, type_counts
from openmofi.knowledge.identifiers import write_ids
from openmofi.knowledge.layout import mappable, with_digests
from openmofi.plugins.bases.images import write_images
from openmofi.storage import claimed, fingerprint, finish_manifest, read_parquet, require_local
from openmofi.storage.table_files import arrow_blocks

if TYPE_CHECKING:
    from openmofi.dataset.objects import Labels

_log = logging.getLogger(__name__)
_BLOCK = 1 << 22
_SHOWN_TYPES = 5


@public()
def sample_kb(
    kb: KnowledgeBase | Folder,
    out: Folder,
    *,
    types: Sequence[str] = (),
    entities: Folder | Sequence[str] | None = None,
    labels: Labels | Folder | None = None,
    most: int | None = None,
    restart: bool = False,
) -> KnowledgeBase:
    """Write a slice of a knowledge base: some entities, and their names, priors and vectors as they are.

    Names with a candidate among the entities stay with their link probabilities, and so do commonness and vectors, bit
    by bit: the commonness of a name's candidates adds up to less than 1 where others of its candidates go. The manifest
    of the slice says what it was sampled from.

    Args:
        out: folder of the slice.
        types: entities that have one of these types.
        entities: entities that a file names: an id a line, or a Parquet column. In Python also identifiers.
        labels: entities that were judged in this folder of labels, accepted or not.
        most: keep so many, the most popular.

    Raises:
        UsageError: an unknown type, or none or several ways to choose.
        OpenMofiError: nothing is left, or `out` holds something else.
    """
    if bool(types) + (entities is not None) + (labels is not None) != 1:
        raise UsageError("A slice is of types, of entities or of labels.", "Give one of the three.")
    ids = read_ids(entities) if isinstance(entities, str | Path) else entities
    if labels is not None:
        from openmofi.dataset.objects import Labels

        ids = Labels.open(place_of(labels)).entities()
    kb = kb_of(kb)
    require_local(out)
    if most is not None and most < 1:
        raise UsageError(f"A slice of {most} entities would be empty.", "Keep at least 1.")
    folder = mappable(out)
    if folder.resolve() == kb.path.resolve():
        raise UsageError(f"{out} is the knowledge base that is sampled from.", "Choose another output with -o.")
    rows = _most_popular(kb, _of_types(kb, types) if types else _of_ids(kb, ids or ()), most)
    settings = {"builder": "sample", "types": sorted(set(types)), "most": most, "source": kb.manifest.settings}
    inputs = {"knowledge_base": kb.fingerprint}
    if ids is not None:
        inputs["entities"] = fingerprint(sorted(set(ids)))
    with claimed(folder, layout.KIND, settings, inputs, outputs=layout.OUTPUTS, restart=restart) as manifest:
        if manifest.finished:
            _log.info("%s is already finished", folder)
        else:
            finish_manifest(folder, manifest, with_digests(folder, manifest, _write(kb, rows, folder)))
    return KnowledgeBase.open(out)


def _of_types(kb: KnowledgeBase, types: Sequence[str]) -> Ints:
    """Return the rows of entities with one of the types, ascending."""
    lists = kb.entities.column("types")
    flat = pc.list_flatten(lists)
    counts = type_counts(kb.entities)
    if unknown := [name for name in types if name not in counts]:
        common = islice(counts.items(), _SHOWN_TYPES)
        raise UsageError(
            f"No entity of {kb.path} has the type {unknown[0]!r}.{did_you_mean(unknown[0], counts)}",
            f"Its commonest types are {', '.join(f'{name} ({count:,})' for name, count in common)}."
            if counts
            else "Its entities have no types: name the entities themselves.",
        )
    parents = pc.list_parent_indices(lists).filter(pc.is_in(flat, value_set=pa.array(list(types), pa.string())))
    return np.unique(parents.to_numpy(zero_copy_only=False)).astype(np.int64)


def _of_ids(kb: KnowledgeBase, ids: Sequence[str]) -> Ints:
    """Return the rows of identifiers, ascending; unknown ones are logged."""
    rows = kb.rows(ids)
    if (unknown := rows < 0).any():
        _log.warning(
            "%d of %d entities are not in %s, such as %r",
            int(unknown.sum()),
            len(ids),
            kb.path,
            ids[int(unknown.argmax())],
        )
    return np.unique(rows[~unknown]).astype(np.int64)


def _most_popular(kb: KnowledgeBase, rows: Ints, most: int | None) -> Ints:
    """The rows, or those of the most popular entities, ascending.

    Raises:
        OpenMofiError: there are none.
    """
    if not len(rows):
        raise OpenMofiError(
            f"No slice is left of {kb.path}: it has none of the entities.",
            "Check that the entities are of this knowledge base.",
        )
    if most is None or len(rows) <= most:
        return rows
    popularity = taken(kb.entities.column("popularity"), rows).to_numpy()
    return np.sort(rows[np.lexsort((rows, -popularity))[:most]])


def _write(kb: KnowledgeBase, rows: Ints, folder: Path) -> dict[str, Any]:
    """Write the files of a slice and return its counts."""
    table = _candidates_of(kb.table, rows, len(kb))
    if not len(table.names):
        raise OpenMofiError(
            f"No slice is left of {kb.path}: no name may mean one of the {len(rows):,} entities.",
            "Choose other entities.",
        )
    parts = save_names(folder, table.names)
    for name, array in (
        (layout.OFFSETS, table.offsets),
        (layout.ROWS, table.rows),
        (layout.COMMONNESS, table.commonness),
        (layout.LINK_PROBABILITY, table.link_probability),
        (layout.VECTORS, kb.stored_vectors(rows)),
    ):
        save_array(folder / name, array)
    if kb.languages is not None:
        old = [kb.names[table.names.restore_key(number)] for number in range(len(table.names))]
        save_array(folder / LANGUAGES_FILE, kb.languages.masks[old])
    entities = taken_table(kb.entities, rows)
    with arrow_blocks(folder / layout.ENTITIES_ARROW, entities.schema, layout.BATCH_ROWS) as add:
        add(entities)
    ids = np.array(entities.column("id").to_pylist(), object)
    order = np.argsort(ids).astype(np.int32)
    written = write_ids(folder, iter([entities.column("id")]), lambda: iter([(ids[order].tolist(), order)]))
    _log.info("%d of %d entities, %d of %d names", len(rows), len(kb), len(table.names), len(kb.names))
    files = layout.file_sizes(folder, written, parts) | kb.beside.write_slice(
        folder, entities.column("id").combine_chunks(), rows
    )
    languages = {} if kb.languages is None else {"languages": list(kb.languages.codes)}
    return {
        **parts,
        **languages,
        **(images := _write_images(kb, ids.tolist(), folder)),
        "entities": len(rows),
        "names": len(table.names),
        "candidates": len(table.rows),
        "ambiguous_names": int((np.diff(table.offsets) > 1).sum()),
        "unnameable": 0,
        "cut": 0,
        "source_entities": len(kb),
        "source_names": len(kb.names),
        "files": files | images.get("files", {}),
    }


def _write_images(kb: KnowledgeBase, ids: list[str], folder: Path) -> dict[str, Any]:
    """Write the reference images of entities, where there are any; return the counts that they add."""
    if kb.images is None or not len(images := kb.images.filter(pc.is_in(kb.images.column("id"), pa.array(ids)))):
        return {}
    return write_images(folder / f"{IMAGES_STEM}.{fingerprint([kb.fingerprint, ids])}.arrow", images)


def _candidates_of(table: CandidateTable, rows: Ints, size: int) -> CandidateTable:
    """Return the candidates among `rows`, renumbered by position there; names left without any are dropped."""
    new_row = np.full(size, -1, np.int32)
    new_row[rows] = np.arange(len(rows), dtype=np.int32)
    selected = np.concatenate(
        [
            np.zeros(0, np.int64),
            *(
                np.flatnonzero(new_row[table.rows[start : start + _BLOCK]] >= 0) + start
                for start in range(0, len(table.rows), _BLOCK)
            ),
        ]
    )
    old, key, lengths = np.unique(keys_of(table, selected), return_inverse=True, return_counts=True)
    keys = [table.names.restore_key(each) for each in old.tolist()]
    names = built_names(sorted(keys))
    new = np.fromiter((names[each] for each in keys), np.int64, len(keys))
    order = np.argsort(new[key], kind="stable")  # within a name the candidates keep their order
    offsets = np.zeros(len(keys) + 1, np.int64)
    offsets[new + 1] = lengths
    probabilities = np.zeros(len(keys), np.float32)
    probabilities[new] = table.link_probability[old]
    return CandidateTable(
        names,
        np.cumsum(offsets),
        new_row[table.rows[selected]][order],
        table.commonness[selected][order],
        probabilities,
    )


def read_ids(path: str | Path) -> list[str]:
    """Read identifiers: one a line, or the column `id` or `entity` of a Parquet file, or its only one.

    Raises:
        OpenMofiError: the file cannot be read, has no such column, or is empty.
    """
    hint = "Give a text file with an identifier a line, or a Parquet file with a column 'id'."
    try:
        if Path(path).suffix == ".parquet":
            there = pq.read_schema(path).names
            column = next((name for name in ("id", "entity") if name in there), there[0] if len(there) == 1 else "id")
            ids = read_parquet(path, pa.schema([(column, pa.string())]), hint=hint).column(0).to_pylist()
        else:
            ids = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OpenMofiError(f"{path} cannot be read: {reason.partition(chr(10))[0].rstrip('.')}.", hint) from error
    ids = [each.strip() for each in ids if each and each.strip()]
    if not ids:
        raise OpenMofiError(f"{path} names no entity.", hint)
    return ids
