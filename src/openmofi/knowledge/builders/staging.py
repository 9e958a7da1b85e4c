"""Check a source's tables and stage them for a build: names as keys, in files that DuckDB joins.

What is held in memory is a block of rows of a table, and what DuckDB may use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from openmofi.errors import OpenMofiError
from openmofi.knowledge import layout
from openmofi.knowledge.build_settings import TableSettings
from openmofi.knowledge.builders.source import COLUMNS, Block, Check, Findings, ReadSource, blank, numbered, read_source
from openmofi.knowledge.builders.tables import SHOWN, Problem
from openmofi.knowledge.database import JOINED, MEMORY, connected, memory_bytes, number_of, part_file, quoted
from openmofi.knowledge.names import normalise
from openmofi.schema import ENTITIES
from openmofi.storage.table_files import arrow_blocks

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


ENTITIES_FILE = "entities.arrow"
_TEXT, _ROW, _PLACE = pa.string(), pa.int32(), pa.int64()
_PARTS = {
    "ids": pa.schema([("id", _TEXT), ("row", _ROW)]),
    "own": pa.schema([("key", _TEXT), ("name", _TEXT), ("row", _ROW), ("place", _ROW)]),
    "names": pa.schema(
        [("key", _TEXT), ("name", _TEXT), ("entity", _TEXT), ("count", pa.float32()), ("place", _PLACE)]
    ),
    "relations": pa.schema([("head", _TEXT), ("relation", _TEXT), ("tail", _TEXT), ("place", _PLACE)]),
    "surfaces": pa.schema([("key", _TEXT), ("name", _TEXT), ("probability", pa.float32()), ("place", _PLACE)]),
    "languages": pa.schema([("key", _TEXT), ("language", _TEXT)]),
}
"""What is staged of the tables; `own` are names and aliases of entities: `place` 0 is the name. A null is no entity."""


@dataclass(frozen=True)
class Staged:
    """A source, checked.

    Attributes:
        connection: has the tables `entity` (id, row), `own`, `name` and, of what is not there yet, `added` (key, row,
            count, occurrences; key "" of a name without a letter or digit), `kind` (kind, name: of relations), `edge`
            (head, kind and tail, entities as rows), `surface`, `languages_part`.
        entities: path of `schema.ENTITIES`, an Arrow file.
        problems: what is wrong; where anything is, the tables are of no use.
        rows: name of a source's table → how many rows it has.
        undescribed: entities without a description.
    """

    connection: DuckDBPyConnection
    entities: Path
    problems: list[Problem]
    rows: dict[str, int]
    undescribed: int


@contextmanager
def staged(source: ReadSource, work: Path, memory: int) -> Iterator[Staged]:
    """Read the tables of a source.

    Args:
        source: see there.
        work: an empty folder, for what is made of it.
        memory: bytes that the joins may use.

    Raises:
        OpenMofiError: the disk is full.
    """
    findings = Findings(source)
    rows, undescribed = dict.fromkeys(COLUMNS, 0), 0
    whole = set[str]()
    for name in COLUMNS:
        try:
            if name == "entities":
                rows[name], undescribed = _stage_entities(source, findings, work)
            else:
                rows[name] = _stage(source, findings, work, name)
            if name in source.tables and not source.tables[name].partial:
                whole.add(name)
        except _Unreadable as error:
            findings.add(error.problem)
    for name, hint in (
        ("entities", "A knowledge base needs at least one entity."),
        ("names", "Give names, or remove the file: entities are known by their own names."),
    ):
        if name in whole and not source.tables[name].problems and not rows[name]:
            findings.add(Problem((f"{source.tables[name].name} has no rows",), "", hint))
    with connected(work, memory) as connection:
        for part in _PARTS:
            connection.execute(f"CREATE VIEW {part}_part AS SELECT * FROM read_parquet({quoted(work / part)})")
        for query in _TABLES:
            connection.execute(f"CREATE {query}")
        if "entities" in whole:
            _check_unique(connection, findings)
            _check_known(connection, findings)
        problems = findings.sorted()
        if not problems:
            connection.execute(f"CREATE {_ADDED}")
        yield Staged(connection, work / ENTITIES_FILE, problems, rows, undescribed)


class _Unreadable(Exception):
    """A table that cannot be read further."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def _blocks(source: ReadSource, findings: Findings, name: str) -> Iterator[Block]:
    if name not in source.tables:
        return
    read = source.tables[name]
    try:
        for start, rows in numbered(read):
            yield Block(findings, name, start, rows)
    except OpenMofiError as error:
        reason = error.message.rpartition(" cannot be read: ")[2].rstrip(".")
        raise _Unreadable(Problem((f"{read.name} cannot be read",), reason, COLUMNS[name].described())) from error


def _stage_entities(source: ReadSource, findings: Findings, work: Path) -> tuple[int, int]:
    """Write what is staged of entities; how many there are, and how many have no description."""
    rows = undescribed = 0
    with (
        arrow_blocks(work / ENTITIES_FILE, ENTITIES, layout.BATCH_ROWS) as add_entities,
        part_file(work / "ids", _PARTS["ids"]) as add_ids,
        part_file(work / "own", _PARTS["own"]) as add_own,
    ):
        for block in _blocks(source, findings, "entities"):
            block.filled("id", "name")
            block.number("popularity", 0.0, np.inf, open_low=False)
            numbers = pa.array(np.arange(block.start, block.start + len(block.rows)), _ROW)
            add_entities(_without_empty_types(block.rows.select(ENTITIES.names)))
            add_ids(pa.table([block.rows.column("id"), numbers], schema=_PARTS["ids"]))
            add_own(_own_names(block.rows, numbers))
            rows += len(block.rows)
            undescribed += pc.sum(pc.equal(block.rows.column("description"), "")).as_py() or 0
    return rows, undescribed


def _without_empty_types(entities: pa.Table) -> pa.Table:
    if not any(types.flatten().null_count for types in entities.column("types").chunks):
        return entities
    whole = [[part for part in row if part is not None] for row in entities.column("types").to_pylist()]
    return entities.set_column(
        entities.schema.get_field_index("types"), "types", pa.array(whole, ENTITIES.field("types").type)
    )


def _own_names(entities: pa.Table, numbers: pa.Array) -> pa.Table:
    """Names and aliases of entities: the order of the aliases is their place."""
    aliases = entities.column("aliases").combine_chunks()
    parents = pc.list_parent_indices(aliases).to_numpy()
    first = np.searchsorted(parents, np.arange(len(aliases)))
    positions = np.concatenate([np.zeros(len(entities), np.int32), 1 + np.arange(len(parents)) - first[parents]])
    names = pa.concat_arrays([*entities.column("name").chunks, aliases.flatten()])
    table = pa.table(
        [_keys(names), names, pa.concat_arrays([numbers, numbers.take(pa.array(parents))]), pa.array(positions, _ROW)],
        schema=_PARTS["own"],
    )
    return table.filter(pc.is_valid(names)) if names.null_count else table


def _keys(names: pa.Array | pa.ChunkedArray) -> pa.Array:
    encoded = (names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names).dictionary_encode()
    keys = pa.array([normalise(name) for name in encoded.dictionary.to_pylist()], _TEXT)
    return keys.take(encoded.indices)


def _stage(source: ReadSource, findings: Findings, work: Path, name: str) -> int:
    """Write what is staged of another table; how many rows it has."""
    rows = 0
    with part_file(work / name, _PARTS[name]) as add:
        for block in _blocks(source, findings, name):
            add(pa.table(_CHECKED[name](block), schema=_PARTS[name]))
            rows += len(block.rows)
    return rows


def _names(block: Block) -> list[pa.Array]:
    block.filled("name", "entity")
    block.number("count", 0.0, np.inf, open_low=True)
    names = block.rows.column("name")
    return [_keys(names), names, _entity(block.rows.column("entity")), block.rows.column("count"), _row_numbers(block)]


def _relations(block: Block) -> list[pa.Array]:
    block.filled("head", "relation", "tail")
    return [
        _entity(block.rows.column("head")),
        block.rows.column("relation"),
        _entity(block.rows.column("tail")),
        _row_numbers(block),
    ]


def _surfaces(block: Block) -> list[pa.Array]:
    block.filled("name")
    block.number("link_probability", 0.0, 1.0, open_low=False)
    names = block.rows.column("name")
    return [_keys(names), names, block.rows.column("link_probability"), _row_numbers(block)]


def _languages(block: Block) -> list[pa.Array]:
    block.filled("name", "language")
    return [_keys(block.rows.column("name")), block.rows.column("language")]


_CHECKED = {"names": _names, "relations": _relations, "surfaces": _surfaces, "languages": _languages}
"""Table → its checks, which give the columns of what is staged."""


def _entity(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Identifiers; null where there is none, which is a problem of its own."""
    return pc.if_else(pa.array(blank(ids)), pa.scalar(None, _TEXT), ids)


def _row_numbers(block: Block) -> pa.Array:
    return pa.array(np.arange(block.start, block.start + len(block.rows)))


_LEAST = 1e-6
"""A name of which nothing is known to be a mention counts as one once in a million times."""
_COUNTED = f"""count::DOUBLE AS count,
    count / greatest(coalesce(surface.probability, of_key.least, 1)::DOUBLE, {_LEAST}) AS occurrences"""
_WITH_SURFACES = "LEFT JOIN surface ON surface.name = names.name LEFT JOIN of_key ON of_key.key = names.key"
_TABLES = (
    "VIEW entity AS SELECT id, row FROM ids_part",
    "VIEW own AS SELECT key, name, row, place FROM own_part",
    # Of a name that stands twice the first row counts; of a key the least of its spellings, where a spelling has none.
    """TABLE surface AS SELECT any_value(key) AS key, name, arg_min(probability, place) AS probability
       FROM surfaces_part GROUP BY name""",
    "TABLE of_key AS SELECT key, min(probability) AS least FROM surfaces_part GROUP BY key",
    f"""TABLE name AS SELECT names.key, entity.row, {_COUNTED},
            CASE WHEN entity.row IS NULL THEN entity END AS entity, CASE WHEN entity.row IS NULL THEN place END AS place
        FROM names_part AS names LEFT JOIN entity ON entity.id = names.entity {_WITH_SURFACES}""",
    """TABLE kind AS SELECT relation AS name, row_number() OVER (ORDER BY relation)::INTEGER - 1 AS kind
       FROM (SELECT DISTINCT relation FROM relations_part)""",
    """TABLE edge AS SELECT one.row AS head, kind.kind, other.row AS tail,
           CASE WHEN one.row IS NULL THEN relations.head END AS head_id,
           CASE WHEN other.row IS NULL THEN relations.tail END AS tail_id,
           CASE WHEN one.row IS NULL OR other.row IS NULL THEN place END AS place
       FROM relations_part AS relations LEFT JOIN kind ON kind.name = relations.relation LEFT JOIN entity AS one
           ON one.id = relations.head
       LEFT JOIN entity AS other ON other.id = relations.tail""",
)
_ADDED = f"""
    TABLE added AS SELECT names.key, names.row, {_COUNTED} FROM (
        SELECT key, arg_min(name, place) AS name, row, 1 AS count FROM own
        WHERE key <> '' AND NOT EXISTS (SELECT 1 FROM name WHERE name.key = own.key AND name.row = own.row)
        GROUP BY key, row) AS names {_WITH_SURFACES}"""
"""Each entity's own name and aliases, counted once, where the table of names has them not yet in any spelling."""


def _check_unique(connection: DuckDBPyConnection, findings: Findings) -> None:
    twice = """SELECT id, min(row) AS first, count(*) AS times FROM entity WHERE id IS NOT NULL
               GROUP BY id HAVING count(*) > 1"""
    again = connection.execute(f"""
        SELECT entity.row, entity.id, twice.first FROM entity JOIN ({twice}) AS twice USING (id)
        WHERE row > first ORDER BY row LIMIT {SHOWN + 1}""").fetchall()
    if again:
        count = number_of(connection, f"SELECT sum(times - 1) FROM ({twice})")
        read = findings.tables["entities"]
        position = read.place(again[0][2]).removeprefix(f"{read.name}, ")
        findings.rows(
            "entities",
            Check.UNIQUE,
            "id",
            [row for row, _, _ in again],
            f"the id {again[0][1]!r} is already in {position}",
            "Give every entity one row.",
            count - len(again),
        )


def _check_known(connection: DuckDBPyConnection, findings: Findings) -> None:
    entities = findings.tables["entities"].name
    for table, column, query in (
        ("names", "entity", "FROM name WHERE row IS NULL AND entity IS NOT NULL"),
        ("relations", "head_id", "FROM edge WHERE head IS NULL AND head_id IS NOT NULL"),
        ("relations", "tail_id", "FROM edge WHERE tail IS NULL AND tail_id IS NOT NULL"),
    ):
        count = number_of(connection, f"SELECT count(*) {query}")
        if count:
            unknown = connection.execute(f"SELECT place, {column} {query} ORDER BY place LIMIT {SHOWN + 1}").fetchall()
            findings.rows(
                table,
                Check.KNOWN,
                column,
                [row for row, _ in unknown],
                f"the entity {unknown[0][1]!r} is not in {entities}",
                f"Add it to {entities} or leave the row out.",
                count - len(unknown),
            )


_PAIRS = "SELECT key, row FROM name WHERE key <> '' UNION ALL SELECT key, row FROM added"
_KEYS = f"SELECT key, count(DISTINCT row) AS entities FROM ({_PAIRS}) GROUP BY key"
_COUNTS = {
    "names": f"SELECT count(*) FROM ({_KEYS})",
    "own_names_and_aliases_added": "SELECT count(*) FROM added",
    "rows_that_repeat_a_name": "SELECT count(*) - count(DISTINCT (key, row)) FROM name WHERE key <> ''",
    "ambiguous_names": f"SELECT count(*) FROM ({_KEYS}) WHERE entities > 1",
    "names_without_letter_or_digit": "SELECT count(*) FROM name WHERE key = ''",
    "entities_without_a_name": f"SELECT count(*) FROM entity WHERE row NOT IN (SELECT row FROM ({_PAIRS}))",
    "entities_that_share_their_name": """
        SELECT sum(entities) FROM (
            SELECT count(*) AS entities FROM own WHERE place = 0 GROUP BY key HAVING count(*) > 1)""",
    "entities_without_a_relation": """
        SELECT count(*) FROM entity WHERE row NOT IN (SELECT head FROM edge UNION SELECT tail FROM edge)""",
    "surfaces_of_no_name": f"SELECT count(DISTINCT key) FROM surface WHERE key NOT IN (SELECT key FROM ({_PAIRS}))",
}


def check_table(source: str | Path, settings: TableSettings = TableSettings()) -> dict[str, Any]:
    """Read and check the tables of a source; nothing is built.

    Args:
        source: see `build_table`.
        settings: how they are read.

    Returns:
        `tables`: table → `file`, `rows`, `columns` (recognised), `defaults` (optional column that is not there → what
        stands in); `counts`: what it comes to, empty where there are problems; `problems` and `ignored`: sentences.
        Rows that repeat a name of an entity add their counts up; names without a letter or a digit are left out.

    Raises:
        OpenMofiError: there is no table of entities.
    """
    read = read_source(source, settings)
    with TemporaryDirectory() as work, staged(read, Path(work), int(memory_bytes(MEMORY) * JOINED)) as checked:
        rows, problems = checked.rows, checked.problems
        counts = {} if problems else _counts(checked)
    tables = {
        name: {
            "file": table.name,
            "rows": rows[name],
            "columns": list(table.given),
            "defaults": {
                column: default
                for column, default in COLUMNS[name].defaults.items()
                if table.given and column not in table.given
            },
        }
        for name, table in read.tables.items()
    }
    return {
        "tables": tables,
        "counts": counts,
        "problems": [f"{problem.message} {problem.hint}" for problem in problems],
        "ignored": read.notes(),
    }


def _counts(checked: Staged) -> dict[str, int]:
    counts = {name: number_of(checked.connection, query) for name, query in _COUNTS.items()}
    return {
        "entities": checked.rows["entities"],
        "relations": checked.rows["relations"],
        "entities_without_a_description": checked.undescribed,
        **counts,
    }
