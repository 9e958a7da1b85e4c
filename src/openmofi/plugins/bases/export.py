"""The tables of a knowledge base as Parquet, in the format that `build_table` takes."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmofi.knowledge.beside import ATTRIBUTION, EXTERNAL_IDS, EXTERNAL_IDS_FILE, Languages, keep_attribution
from openmofi.knowledge.candidates import CandidateTable, keys_of
from openmofi.knowledge.names import normalise
from openmofi.knowledge.relations import Relations
from openmofi.knowledge.store import KnowledgeBase, opened
from openmofi.schema import ENTITIES, LANGUAGES, NAMES, RELATIONS, SURFACES
from openmofi.storage import Manifest, Outputs, claimed, exists, finish_manifest, require_local, table_blocks

_log = logging.getLogger(__name__)
KIND = "knowledge_base_tables"
FILES = ("entities.parquet", "names.parquet", "surfaces.parquet")
IMAGE = pa.field("image", pa.string())
RELATIONS_FILE, LANGUAGES_TABLE = "relations.parquet", "languages.parquet"
_BLOCK = 1 << 16
_LEAST = np.float32(1e-30)


def export_kb(kb: KnowledgeBase | str | Path, out: str | Path, *, restart: bool = False) -> Manifest:
    """Write a knowledge base as Parquet tables: entities, names with counts, surfaces with link probabilities.

    Where the base has them, relations, `languages` and `external_ids` are tables too, entities have the column `image`,
    and `ATTRIBUTION.md` says what the base is made of.

    `build_table` of the folder gives the same entities, names, candidates, priors, relations and vectors, where
    `BuildSettings` are those of the base, its `candidates` at least the manifest's `most_candidates`, and the base has
    all candidates of a name; of `incomplete_names` the candidates that it has keep their order and ratios. Names are
    keys (see `knowledge.names`), since a base keeps no spellings. A table that is there already, of an export that was
    stopped, is not written again.

    Args:
        kb: a knowledge base, or its folder.
        out: folder of the tables.
        restart: remove what was made in `out` before, and begin anew.

    Raises:
        OpenMofiError: `kb` is no knowledge base, or `out` contains something else.
    """
    require_local(out)
    source = opened(kb)
    with claimed(
        out,
        KIND,
        {"tables": list(FILES)},
        {"knowledge_base": source.fingerprint},
        outputs=Outputs((*FILES, RELATIONS_FILE, LANGUAGES_TABLE, EXTERNAL_IDS_FILE, ATTRIBUTION)),
        restart=restart,
    ) as manifest:
        if manifest.finished:
            _log.info("%s is already finished", out)
            return manifest
        with_images = source.beside.details is not None
        tables = [
            (FILES[0], ENTITIES.append(IMAGE) if with_images else ENTITIES, _entities(source)),
            (FILES[1], NAMES, _names(source)),
            (FILES[2], SURFACES, _surfaces(source.table)),
        ]
        if source.languages is not None:
            tables.append((LANGUAGES_TABLE, LANGUAGES, _languages(source, source.languages)))
        if source.beside.relations is not None:
            tables.append((RELATIONS_FILE, RELATIONS, _relations(source, source.beside.relations)))
        if EXTERNAL_IDS_FILE in source.manifest.counts["files"]:
            tables.append((EXTERNAL_IDS_FILE, EXTERNAL_IDS, source.beside.external_ids()))
        for name, schema, blocks in tables:
            if not exists(f"{out}/{name}"):
                with table_blocks(f"{out}/{name}", schema) as add:
                    for block in blocks:
                        add(block)
        keep_attribution(source.path, Path(out))
        return finish_manifest(out, manifest, _counts(source))


def _counts(kb: KnowledgeBase) -> dict[str, Any]:
    table = kb.table
    relations = kb.beside.relations
    return {
        "entities": len(kb),
        "names": len(table.names),
        "candidates": len(table.rows),
        "most_candidates": int(np.diff(table.offsets).max()),
        "incomplete_names": int((_missing(table) > 1e-5).sum()),
        "relations": 0 if relations is None else len(relations.tails),
    }


def _missing(table: CandidateTable) -> NDArray[np.float64]:
    """Return (names,) 1 less the commonness of each name's candidates: the share of entities not in the base."""
    return np.maximum(1.0 - np.add.reduceat(table.commonness.astype(np.float64), table.offsets[:-1]), 0.0)


def _entities(kb: KnowledgeBase) -> Iterator[pa.Table]:
    for start in range(0, len(kb), _BLOCK):
        block = kb.entities.slice(start, _BLOCK)
        details = kb.beside.details
        yield block if details is None else block.append_column(IMAGE, details.column("image").slice(start, _BLOCK))


def _relations(kb: KnowledgeBase, relations: Relations) -> Iterator[pa.Table]:
    names = pa.array(relations.names, pa.string())
    for start in range(0, len(kb), _BLOCK):
        heads, kinds, tails = relations.between(start, min(start + _BLOCK, len(kb)))
        yield pa.table([kb.id_array(heads), names.take(pa.array(kinds)), kb.id_array(tails)], schema=RELATIONS)


def _names(kb: KnowledgeBase) -> Iterator[pa.Table]:
    table = kb.table
    counts = _counts_of(table)
    for start in range(0, len(table.rows), _BLOCK):
        positions = np.arange(start, min(start + _BLOCK, len(table.rows)))
        yield _named(kb, keys_of(table, positions), table.rows[positions], counts[positions])
    yield _own_names_cut(kb, counts)


def _counts_of(table: CandidateTable) -> NDArray[np.float32]:
    """Return (candidates,) counts that sort candidates in the order of the table.

    A candidate may follow one of equal commonness and of a higher row, where their counts differed by less than float32
    tells. With an equal count it would come first when built again, so its own is a little less.
    """
    counts = np.maximum(table.commonness, _LEAST)
    for position in (np.flatnonzero((counts[1:] == counts[:-1]) & (table.rows[1:] < table.rows[:-1])) + 1).tolist():
        key = int(keys_of(table, np.array([position]))[0])
        if position > table.offsets[key]:
            rest = slice(position, int(table.offsets[key + 1]))
            counts[rest] = np.minimum(counts[rest], np.nextafter(counts[position - 1], np.float32(0)))
    return counts


def _own_names_cut(kb: KnowledgeBase, counts: NDArray[np.float32]) -> pa.Table:
    """Return rows for entities that other, commoner candidates have displaced from their own names.

    `build_table` would give them the count 1. They share what is missing of the name, and are less than its least
    candidate, so that they are cut again.
    """
    table, keys, rows = kb.table, [], []
    for start in range(0, len(kb), _BLOCK):
        for row, name in enumerate(kb.entities.column("name").slice(start, _BLOCK).to_pylist(), start):
            key = table.names.get(normalise(name), -1)
            if key >= 0 and row not in table.rows[table.offsets[key] : table.offsets[key + 1]]:
                keys.append(key)
                rows.append(row)
    if not keys:
        return NAMES.empty_table()
    of = np.array(keys, np.int64)
    share = _missing(table)[of] / np.bincount(of)[of]
    least = np.nextafter(counts[table.offsets[of + 1] - 1], np.float32(0))
    return _named(kb, of, np.array(rows, np.int64), np.clip(share, 1e-9 * least, least).astype(np.float32))


def _named(
    kb: KnowledgeBase, keys: NDArray[np.int64], rows: NDArray[np.integer], counts: NDArray[np.float32]
) -> pa.Table:
    distinct, position = np.unique(keys, return_inverse=True)
    names = pa.array([kb.names.restore_key(key) for key in distinct.tolist()], pa.string())
    return pa.table([names.take(pa.array(position)), kb.id_array(rows), pa.array(counts)], schema=NAMES)


def _surfaces(table: CandidateTable) -> Iterator[pa.Table]:
    for start in range(0, len(table.names), _BLOCK):
        probabilities = table.link_probability[start : start + _BLOCK]
        yield pa.table(
            [
                [table.names.restore_key(start + offset) for offset in range(len(probabilities))],
                pa.array(probabilities),
            ],
            schema=SURFACES,
        )


def _languages(kb: KnowledgeBase, languages: Languages) -> Iterator[pa.Table]:
    """Yield names with their languages; those of all languages are left out, which means the same."""
    for start in range(0, len(kb.names), _BLOCK):
        masks = languages.masks[start : start + _BLOCK]
        numbers = np.flatnonzero(masks != np.uint64(2**64 - 1))
        codes = [languages.of_name(start + number) for number in numbers.tolist()]
        names = [kb.names.restore_key(start + number) for number in numbers.tolist()]
        yield pa.table(
            [
                [name for name, name_codes in zip(names, codes, strict=True) for _ in name_codes],
                [code for name_codes in codes for code in name_codes],
            ],
            schema=LANGUAGES,
        )
