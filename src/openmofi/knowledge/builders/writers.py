"""The files of a knowledge base, written from what was staged: names with candidates, and vectors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from openmofi.errors import OpenMofiError
from openmofi.knowledge import store
from openmofi.knowledge.arrays import appended, built_trie, save_trie
from openmofi.knowledge.candidates import LISTS, candidate_lists
from openmofi.knowledge.database import connected, part_file, quoted, tables_of
from openmofi.knowledge.projection import WIDTHS, ProjectionSettings, memory_needed, project, random_bits
from openmofi.storage.atomic import write_error
from openmofi.storage.blocks import read_arrow_blocks, read_table_blocks

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BYTES_A_KEY = 110
"""While the trie of names is built: measured on names of some 20 bytes, its whole set of keys included."""
_OWN = 300_000_000
"""Bytes of the libraries and of the blocks that are held."""
_PLACED = pa.schema([("id", pa.int64()), *(LISTS.field(name) for name in LISTS.names[1:])])


def write_lists(connection: DuckDBPyConnection, path: Path, limit: int) -> dict[str, int]:
    """Write the candidate lists of the keys that are counted in `name` and `added`, by key.

    Args:
        connection: see `openmofi.knowledge.builders.staging.Staged`.
        path: gets `LISTS`, a Parquet file.
        limit: most candidates of a key.

    Returns:
        counts: `names`, `candidates`, `ambiguous_names`, `cut`.

    Raises:
        OpenMofiError: no name has a letter or a digit; the disk is full.
    """
    counted = tables_of(connection, """
        SELECT key, row, count, occurrences
        FROM (SELECT key, row, count, occurrences FROM name WHERE key <> '' UNION ALL SELECT * FROM added)
        ORDER BY key, row, count, occurrences""")
    counts = dict.fromkeys(("names", "candidates", "ambiguous_names", "cut"), 0)
    with part_file(path, LISTS) as add:
        for lists, cut in candidate_lists(counted, limit):
            lengths = pc.list_value_length(lists.column("rows")).to_numpy()
            counts["names"] += len(lists)
            counts["candidates"] += int(lengths.sum())
            counts["ambiguous_names"] += int((lengths > 1).sum())
            counts["cut"] += cut
            add(lists)
    if not counts["names"]:
        raise OpenMofiError("No name of the source has a letter or a digit.", "Check the table of names.")
    return counts


def write_candidates(folder: Path, lists: Path, counts: dict[str, int], joined: int, memory: int) -> None:
    """Write the trie of names and the arrays of candidates.

    Args:
        folder: of the base.
        lists: what `write_lists` wrote; its folder gets what is made on the way.
        counts: what that returned.
        joined: bytes that DuckDB may use.
        memory: bytes that the build may use.

    Raises:
        OpenMofiError: the names need more memory; the disk is full.
    """
    _require_memory(memory, _BYTES_A_KEY * counts["names"], f"{counts['names']:,} names")
    # In the order of the keys, so that the trie's bytes do not depend on the order of the source.
    trie = built_trie(key for block in read_table_blocks(lists, ["key"]) for key in block.column(0).to_pylist())
    save_trie(folder / store.NAMES_MARISA, trie)
    placed = lists.with_name("placed.parquet")
    with part_file(placed, _PLACED) as add:
        for block in read_table_blocks(lists):
            ids = [trie[key] for key in block.column("key").to_pylist()]
            add(pa.table([pa.array(ids, pa.int64()), *block.columns[1:]], schema=_PLACED))
    del trie
    names, candidates = counts["names"], counts["candidates"]
    with connected(placed.parent, joined) as connection, ExitStack() as stack:
        offsets, rows, commonness, probabilities = (
            stack.enter_context(appended(folder / name, kind, (size,))) for name, kind, size in (
                (store.OFFSETS, np.int64, names + 1), (store.ROWS, np.int32, candidates),
                (store.COMMONNESS, np.float32, candidates), (store.LINK_PROBABILITY, np.float32, names)))
        last = 0
        offsets(np.zeros(1, np.int64))
        for part in tables_of(connection, f"SELECT * EXCLUDE id FROM read_parquet({quoted(placed)}) ORDER BY id"):
            ends = last + np.cumsum(pc.list_value_length(part.column("rows")).to_numpy(), dtype=np.int64)
            last = int(ends[-1])
            offsets(ends)
            for append, column in ((rows, "rows"), (commonness, "commonness")):
                append(pc.list_flatten(part.column(column)).to_numpy())
            probabilities(part.column("link_probability").to_numpy())


def write_links(connection: DuckDBPyConnection, entities: int, path: Path) -> NDArray[np.int32]:
    """Write the graph of the relations in `edge`, without direction, repetition and loops.

    Args:
        connection: see `openmofi.knowledge.builders.staging.Staged`.
        entities: how many there are.
        path: gets the rows of each entity's neighbours, ascending, of one entity after another: int32.

    Returns:
        (entities) int32, how many neighbours each has.

    Raises:
        OpenMofiError: the disk is full.
    """
    degree = np.zeros(entities, np.int32)
    parts = tables_of(connection, """
        SELECT DISTINCT head, tail FROM (SELECT head, tail FROM edge UNION ALL SELECT tail, head FROM edge)
        WHERE head <> tail ORDER BY head, tail""")
    try:
        with open(path, "wb") as handle:
            for part in parts:
                heads, counts = np.unique(part.column("head").to_numpy(), return_counts=True)
                degree[heads] += counts.astype(np.int32)
                handle.write(part.column("tail").to_numpy().data)
    except OSError as error:
        raise write_error(error, path) from error
    return degree


def write_vectors(folder: Path, entities: Path, degree: NDArray[np.int32], tails: Path, settings: ProjectionSettings,
                  memory: int) -> None:
    """Write the coherence vectors.

    Args:
        folder: of the base.
        entities: `schema.ENTITIES`, an Arrow file.
        degree, tails: see `write_links`; the folder of `tails` gets what is made on the way.
        settings: of the vectors.
        memory: bytes that the build may use.

    Raises:
        OpenMofiError: the vectors need more memory; the disk is full.
    """
    links = tails.stat().st_size // 4
    _require_memory(memory, memory_needed(len(degree), links, settings),
                    f"Vectors of {len(degree):,} entities over {links // 2:,} relations")
    width = next((width for width in WIDTHS
                  if _OWN + memory_needed(len(degree), links, settings, width) <= memory), WIDTHS[-1])
    bits = np.empty((len(degree), settings.dim // 8), np.uint8)
    start = 0
    for ids in _ids(entities):
        bits[start:start + len(ids)] = random_bits(ids, settings)
        start += len(ids)
    with appended(folder / store.VECTORS, np.float16, (len(degree), settings.dim)) as append:
        for block in project(bits, degree, np.fromfile(tails, np.int32), settings, tails.parent, width):
            append(block)


def _ids(entities: Path) -> Iterator[list[str]]:
    for block in read_arrow_blocks(entities):
        yield block.column("id").to_pylist()


def _require_memory(memory: int, needed: int, what: str) -> None:
    if _OWN + needed > memory:
        raise OpenMofiError(f"{what} need {(_OWN + needed) / 1e9:.1f} GB of memory, and the build may use "
                            f"{memory / 1e9:.1f} GB.", "Give more --memory, or build of fewer.")
