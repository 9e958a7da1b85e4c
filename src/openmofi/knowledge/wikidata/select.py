"""From items to the tables of a knowledge base: which stay, what they are called, how they are related.

DuckDB does it out of core, within a set memory; see https://duckdb.org/docs/stable/guides/performance/how_to_tune_workloads.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.knowledge.wikidata.classes import ClassRules
from openmofi.knowledge.wikidata.items import RELATIONS
from openmofi.storage import make_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SOURCE = "source"
TYPES = 5
"""Most classes of an item that are kept as its types."""


@dataclass(frozen=True)
class Selected:
    """What was selected.

    Attributes:
        source: folder of `entities.parquet`, `names.parquet`, `relations.parquet`, as `kb build table` takes them.
        titles: table of language, title, entity: the items' pages in the languages' Wikipedias.
        counts: `items` that were read, `unnamed` in the languages, `dropped` by the rules, `kept`.
    """

    source: Path
    titles: Path
    counts: dict[str, int]


def select_tables(parts: Sequence[str], rules: ClassRules, folder: Path, *, memory: str = "4GB",
                  threads: int = 0) -> Selected:
    """Write the tables of the items that stay, by ascending id.

    An item that several dumps have is taken as its last revision says. It goes where all of its classes (instance of;
    of a class: subclass of) are dropped ones or below them, and where classes are wanted and none of its own is one.

    Args:
        parts: paths of `openmofi.knowledge.wikidata.items.ITEMS`.
        rules: see there.
        folder: gets the tables, and DuckDB's own files while it works.
        memory: that DuckDB may use, such as `4GB`.
        threads: of DuckDB; one a core where 0.

    Raises:
        MissingExtraError: DuckDB is not installed.
        OpenMofiError: nothing is left; the disk is full; the memory does not do.
    """
    make_folder(folder)
    with _connected(folder, memory, threads) as connection:
        _load(connection, parts)
        _closed(connection, "dropped", rules.drop)
        _closed(connection, "wanted", rules.kinds)
        counts = _kept(connection, wanted=bool(rules.kinds))
        if not counts["kept"]:
            raise OpenMofiError(
                f"Of {counts['items']:,} items none is left: {counts['unnamed']:,} have no name in the languages and "
                f"{counts['dropped']:,} are of classes that go.", "Name other languages, or other --kinds and --drop.")
        make_folder(folder / SOURCE)
        for name, query in _TABLES.items():
            path = folder / f"{name}.parquet" if name == "titles" else folder / SOURCE / f"{name}.parquet"
            connection.execute(f"COPY ({query}) TO '{_quoted(path)}' (FORMAT parquet)")
    return Selected(folder / SOURCE, folder / "titles.parquet", counts)


@contextmanager
def _connected(folder: Path, memory: str, threads: int) -> Iterator[DuckDBPyConnection]:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError.of("duckdb", "wikidata") from error
    work = folder / "duckdb"
    shutil.rmtree(work, ignore_errors=True)
    make_folder(work)
    settings: dict[str, Any] = {"memory_limit": memory, "temp_directory": str(work / "spilled"),
                                "preserve_insertion_order": True}
    if threads:
        settings["threads"] = threads
    try:
        with duckdb.connect(str(work / "items.duckdb"), config=settings) as connection:
            yield connection
    except duckdb.Error as error:
        raise OpenMofiError(f"The tables of {folder} cannot be made: {str(error).partition(chr(10))[0]}",
                            "Free disk or give --memory, and start the command again: what was read is kept."
                            ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _load(connection: DuckDBPyConnection, parts: Sequence[str]) -> None:
    connection.execute("""
        CREATE TABLE item AS
        SELECT *, list_concat(kinds, list_filter(parents, lambda class: NOT list_contains(kinds, class))) AS classes
        FROM read_parquet(?)
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY revision DESC, name, description) = 1""", [list(parts)])
    connection.execute("CREATE TABLE below AS SELECT id AS child, unnest(parents) AS class FROM item")
    connection.execute("CREATE TABLE property AS SELECT unnest(?) AS number, unnest(?) AS name", [
        [int(name[1:]) for name in RELATIONS], list(RELATIONS.values())])


def _closed(connection: DuckDBPyConnection, name: str, roots: Sequence[int]) -> None:
    """A table of classes and all that are below them, also where they go round in a circle."""
    connection.execute(f"""
        CREATE TABLE {name} AS WITH RECURSIVE down(id) AS (
            SELECT unnest(?::BIGINT[]) UNION SELECT child FROM below JOIN down ON class = down.id)
        SELECT id FROM down""", [list(roots)])


def _kept(connection: DuckDBPyConnection, *, wanted: bool) -> dict[str, int]:
    """Make the table of the items that stay."""
    connection.execute("""
        CREATE TABLE classed AS
        SELECT item.id, bool_and(dropped.id IS NOT NULL) AS gone,
               bool_or(wanted.id IS NOT NULL AND dropped.id IS NULL) AS wanted
        FROM (SELECT id, unnest(classes) AS class FROM item) AS item
        LEFT JOIN dropped ON dropped.id = item.class LEFT JOIN wanted ON wanted.id = item.class GROUP BY item.id""")
    stays = "coalesce(classed.wanted, false)" if wanted else "NOT coalesce(classed.gone, false)"
    connection.execute(f"""
        CREATE TABLE kept AS SELECT item.* FROM item LEFT JOIN classed USING (id)
        WHERE item.name <> '' AND {stays}""")
    items, unnamed, kept = (connection.execute(query).fetchone() for query in (
        "SELECT count(*) FROM item", "SELECT count(*) FROM item WHERE name = ''", "SELECT count(*) FROM kept"))
    assert items
    assert unnamed
    assert kept
    return {"items": items[0], "unnamed": unnamed[0], "dropped": items[0] - unnamed[0] - kept[0], "kept": kept[0]}


_TABLES = {
    "entities": f"""
        WITH type AS (
            SELECT kept.id, list(item.name ORDER BY place)[:{TYPES}] AS types
            FROM (SELECT id, unnest(classes) AS class, generate_subscripts(classes, 1) AS place FROM kept) AS kept
            JOIN item ON item.id = kept.class WHERE item.name <> '' GROUP BY kept.id)
        SELECT 'Q' || kept.id AS id, name, description, coalesce(types, []) AS types, sitelinks::FLOAT AS popularity
        FROM kept LEFT JOIN type USING (id) ORDER BY kept.id""",
    "names": """
        SELECT name, 'Q' || id AS entity, (sitelinks + 1)::FLOAT AS count
        FROM (SELECT id, sitelinks, unnest(list_distinct(list_prepend(name, aliases))) AS name FROM kept)
        ORDER BY id, name""",
    "relations": """
        WITH related AS (
            SELECT id AS head, 'instance of' AS relation, unnest(kinds) AS tail FROM kept
            UNION ALL SELECT id, 'subclass of', unnest(parents) FROM kept
            UNION ALL SELECT id, property.name, named.item FROM (
                SELECT id, unnest(relations, recursive := true) FROM kept) AS named
            JOIN property ON property.number = named.property)
        SELECT 'Q' || from_item AS head, relation, 'Q' || to_item AS tail
        FROM (SELECT head AS from_item, relation, tail AS to_item FROM related WHERE tail IN (SELECT id FROM kept))
        ORDER BY from_item, relation, to_item""",
    "titles": """
        SELECT language, title, 'Q' || id AS entity
        FROM (SELECT id, unnest(titles, recursive := true) FROM kept) ORDER BY language, title, id""",
}
