"""Building a knowledge base: the tables of a source in, the memory-mapped folder out, within a set memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.arrays import Codes
from openmofi.errors import OpenMofiError
from openmofi.knowledge import arrays, beside, layout
from openmofi.knowledge.arrays import appended, open_names
from openmofi.knowledge.beside import gather_languages, write_languages
from openmofi.knowledge.build_settings import BuildSettings, ProjectionSettings
from openmofi.knowledge.builders.source import ReadSource, read_source, source_files, source_fingerprints
from openmofi.knowledge.builders.staging import staged
from openmofi.knowledge.builders.tables import refusal
from openmofi.knowledge.candidates import LISTS, candidate_lists
from openmofi.knowledge.database import JOINED, MEMORY, memory_bytes, number_of, part_file, tables_of
from openmofi.knowledge.identifiers import write_ids
from openmofi.knowledge.layout import mappable, with_digests
from openmofi.knowledge.projection import WIDTHS, memory_needed, project, random_bits
from openmofi.knowledge.relations import write_relations
from openmofi.storage import Manifest, claimed, finish_manifest, make_folder, require_local
from openmofi.storage.atomic import remove_folder, write_error
from openmofi.storage.table_files import read_arrow_blocks, read_table_blocks, rows_at_a_time

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_TEXTS = 1 << 14
_OWN = 300_000_000
"""Bytes of the libraries and of the blocks that are held."""


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
    counted = tables_of(
        connection,
        """
        SELECT key, row, count, occurrences
        FROM (SELECT key, row, count, occurrences FROM name WHERE key <> '' UNION ALL SELECT * FROM added)
        ORDER BY key, row, count, occurrences""",
    )
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


def write_candidates(folder: Path, lists: Path, counts: dict[str, int]) -> dict[str, list[str]]:
    """Write the tries of names and the arrays of candidates, a trie at a time.

    Args:
        folder: of the base.
        lists: what `write_lists` wrote.
        counts: what that returned.

    Returns:
        what `openmofi.knowledge.arrays.open_names` is to be given.

    Raises:
        OpenMofiError: the disk is full.
    """
    names, candidates = counts["names"], counts["candidates"]
    firsts = list[str]()
    with ExitStack() as stack:
        offsets, rows, commonness, probabilities = (
            stack.enter_context(appended(folder / name, kind, (size,)))
            for name, kind, size in (
                (layout.OFFSETS, np.int64, names + 1),
                (layout.ROWS, np.int32, candidates),
                (layout.COMMONNESS, np.float32, candidates),
                (layout.LINK_PROBABILITY, np.float32, names),
            )
        )
        last = 0
        offsets(np.zeros(1, np.int64))
        for number, part in enumerate(rows_at_a_time(read_table_blocks(lists), arrays.PART_KEYS)):
            # In the order of the keys, so that the trie's bytes do not depend on the order of the source.
            trie = arrays.built_trie(_texts(part.column("key")))
            arrays.save_trie(folder / arrays.trie_file(number), trie)
            firsts += [part.column("key")[0].as_py()] if number else []
            ids = np.fromiter((trie[key] for key in _texts(part.column("key"))), np.int64, len(part))
            part = part.drop_columns("key").take(np.argsort(ids))
            ends = last + np.cumsum(pc.list_value_length(part.column("rows")).to_numpy(), dtype=np.int64)
            last = int(ends[-1])
            offsets(ends)
            for append, column in ((rows, "rows"), (commonness, "commonness")):
                append(pc.list_flatten(part.column(column)).to_numpy())
            probabilities(part.column("link_probability").to_numpy())
    return {arrays.PARTS: firsts} if firsts else {}


def write_links(connection: DuckDBPyConnection, entities: int, path: Path) -> Codes:
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
    parts = tables_of(
        connection,
        """
        SELECT DISTINCT head, tail FROM (SELECT head, tail FROM edge UNION ALL SELECT tail, head FROM edge)
        WHERE head <> tail ORDER BY head, tail""",
    )
    try:
        with open(path, "wb") as handle:
            for part in parts:
                heads, counts = np.unique(part.column("head").to_numpy(), return_counts=True)
                degree[heads] += counts.astype(np.int32)
                handle.write(part.column("tail").to_numpy().data)
    except OSError as error:
        raise write_error(error, path) from error
    return degree


def write_vectors(
    folder: Path, entities: Path, degree: Codes, tails: Path, settings: ProjectionSettings, memory: int
) -> None:
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
    _require_memory(
        memory,
        memory_needed(len(degree), links, settings),
        f"Vectors of {len(degree):,} entities over {links // 2:,} relations",
    )
    width = next(
        (width for width in WIDTHS if _OWN + memory_needed(len(degree), links, settings, width) <= memory), WIDTHS[-1]
    )
    bits = np.empty((len(degree), settings.dim // 8), np.uint8)
    start = 0
    for ids in _ids(entities):
        bits[start : start + len(ids)] = random_bits(ids, settings)
        start += len(ids)
    with appended(folder / layout.VECTORS, np.float16, (len(degree), settings.dim)) as append:
        for block in project(bits, degree, np.fromfile(tails, np.int32), settings, tails.parent, width):
            append(block)


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    """The texts of a column, of which some thousand are objects of Python at a time."""
    for start in range(0, len(column), _TEXTS):
        yield from column.slice(start, _TEXTS).to_pylist()


def _ids(entities: Path) -> Iterator[list[str]]:
    for block in read_arrow_blocks(entities):
        yield block.column("id").to_pylist()


def _require_memory(memory: int, needed: int, what: str) -> None:
    if _OWN + needed > memory:
        raise OpenMofiError(
            f"{what} need {(_OWN + needed) / 1e9:.1f} GB of memory, and the build may use {memory / 1e9:.1f} GB.",
            "Give more --memory, or build of fewer.",
        )


_log = logging.getLogger(__name__)
_WORK = ".build"


def build(
    builder: str,
    read: Callable[[], ReadSource],
    inputs: Mapping[str, str],
    out: str | Path,
    settings: BuildSettings,
    *,
    write_beside: Callable[[Path], dict[str, Any]] | None = None,
    memory: str = MEMORY,
    restart: bool = False,
) -> Manifest:
    """Build the folder `out` from the tables of a source; if it is finished already, nothing is read.

    Args:
        builder: its name, for the manifest.
        read: opens the tables.
        inputs: name → fingerprint of the files that `read` reads.
        out: folder of the knowledge base.
        settings: see there.
        write_beside: called with the folder at last: writes some of `knowledge.beside.FILES`, and returns more
            counts for the manifest.
        memory: that the build may use, such as `8GB`; the rest is on disk, in `out`. It decides no byte.
        restart: remove what was made in `out` before, and begin anew.

    Raises:
        UsageError: `memory` is no size, or too little.
        OpenMofiError: `out` contains something else; a table cannot be used, or needs more memory; the disk is full.
    """
    require_local(out)
    allowed = memory_bytes(memory)
    folder = mappable(out)
    with claimed(
        folder, layout.KIND, {"builder": builder, **asdict(settings)}, inputs, outputs=layout.OUTPUTS, restart=restart
    ) as manifest:
        if manifest.finished:
            _log.info("%s is already finished", folder)
            return manifest
        source = read()
        for note in source.notes():
            _log.warning("%s", note)
        with _work_in(folder) as work:
            counts = _build(source, folder, settings, work, allowed)
        if write_beside:
            counts |= write_beside(folder)
        counts["files"] |= beside.sizes(folder)
        return finish_manifest(folder, manifest, with_digests(folder, manifest, counts))


@contextmanager
def _work_in(folder: Path) -> Iterator[Path]:
    """An empty folder in `folder`, hidden, which is there no longer than the block runs."""
    work = folder / _WORK
    remove_folder(work)  # of a build that was killed
    make_folder(work)
    try:
        yield work
    finally:
        remove_folder(work)


def _build(source: ReadSource, folder: Path, settings: BuildSettings, work: Path, memory: int) -> dict[str, Any]:
    """Write the files of a knowledge base; return its counts."""
    _log.info("reading %s", source.path)
    joined, lists, tails = int(memory * JOINED), work / "lists.parquet", work / "tails"
    with staged(source, work, joined) as tables:
        if tables.problems:
            raise refusal(str(source.path), tables.problems)
        connection, entities = tables.connection, tables.rows["entities"]
        _log.info("names of %d entities", entities)
        counts = write_lists(connection, lists, settings.candidates)
        unnameable = number_of(connection, "SELECT count(*) FROM name WHERE key = ''")
        ids = write_ids(
            folder,
            (block.column("id") for block in read_arrow_blocks(tables.entities)),
            lambda: (
                (part.column("id").to_pylist(), part.column("row").to_numpy())
                for part in tables_of(connection, "SELECT id, row FROM entity ORDER BY id")
            ),
        )
        write_relations(connection, folder, entities)
        degree = write_links(connection, entities, tails)
        codes = gather_languages(connection, work / "languages_of_keys.parquet")
    parts = write_candidates(folder, lists, counts)
    if codes:
        write_languages(folder, open_names(folder, parts), work / "languages_of_keys.parquet", joined)
    _log.info("vectors over %d relations", tables.rows["relations"])
    write_vectors(folder, tables.entities, degree, tails, settings.projection, memory)
    try:
        tables.entities.replace(folder / layout.ENTITIES_ARROW)
    except OSError as error:
        raise write_error(error, folder / layout.ENTITIES_ARROW) from error
    return {
        **counts,
        **parts,
        **({"languages": codes} if codes else {}),
        "entities": entities,
        "unnameable": unnameable,
        "relations": tables.rows["relations"],
        "files": layout.file_sizes(folder, ids, parts),
    }


def build_table(
    source: str | Path,
    out: str | Path,
    settings: BuildSettings | None = None,
    *,
    memory: str = MEMORY,
    restart: bool = False,
) -> Manifest:
    """Build a knowledge base of tables: Parquet, CSV, TSV or JSON lines (docs/knowledge-base.md).

    The same tables give the same bytes; an `ATTRIBUTION.md` beside them goes with the base. A finished `out` of the
    same tables and settings is left as it is.

    Args:
        source: a folder with `entities` and optionally `names`, `relations`, `surfaces`; or a sample world, whose
            tables are in `kb/`; or one file with entities. Parquet files are read a block of rows at a time.
        out: folder of the knowledge base.
        settings: see there.
        memory, restart: see `build`.

    Raises:
        UsageError: `memory` is no size, or too little.
        OpenMofiError: a table cannot be used (every problem is named), or `out` holds something else.
    """
    folder, files = source_files(source)
    settings = settings or BuildSettings()

    def write_beside(base: Path) -> dict[str, Any]:
        beside.keep_attribution(folder, base)
        return {}

    return build(
        "table",
        lambda: read_source(source, settings.tables),
        source_fingerprints(files),
        out,
        settings,
        write_beside=write_beside,
        memory=memory,
        restart=restart,
    )
