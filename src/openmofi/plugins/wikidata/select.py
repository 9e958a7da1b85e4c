"""From items to the tables of a knowledge base: which stay, what they are called, how they are related."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.knowledge.files.database import connected, number_of, quoted
from openmofi.plugins.wikidata.classes import ClassRules
from openmofi.plugins.wikidata.items import RELATIONS
from openmofi.plugins.wikidata.priors import LINKS, PAGEVIEWS, SITELINKS, PriorSources, load_names, load_popularity
from openmofi.plugins.wikidata.redirects import REDIRECTED
from openmofi.storage import make_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SOURCE = "source"
_DOUBLINGS = 5
"""Redirects are followed over 2 to the power of this."""
TYPES = 5
"""Most classes of an item that are kept as its types."""


@dataclass(frozen=True)
class Selected:
    """What was selected.

    Attributes:
        source: folder of `entities.parquet`, `names.parquet`, `relations.parquet` and `surfaces.parquet`, as `kb build
            table` takes them.
        details: table of image and prior, rows as in the entities: the name of a file on Commons, or null; and what the
            entity's prior is known by, of `openmofi.plugins.wikidata.priors.SOURCES`.
        titles: table of language, title, entity: the items' pages in the languages' Wikipedias.
        external_ids, redirects: tables as `openmofi.knowledge.files.beside` has them, or `None` where there are none.
        images: how many entities have one.
        external_counts: property → how many values.
        counts: `items` that were read, `unnamed` in the languages, `dropped` by the rules, `kept`.
        priors: source → how many entities, and how the names' were found (`load_names`).
    """

    source: Path
    details: Path
    titles: Path
    external_ids: Path | None
    redirects: Path | None
    images: int
    external_counts: dict[str, int]
    counts: dict[str, int]
    priors: dict[str, Any]


def select_tables(
    parts: Sequence[str],
    rules: ClassRules,
    folder: Path,
    *,
    sources: PriorSources | None = None,
    redirects: pa.Table | None = None,
    memory: int,
    languages: Sequence[str] = (),
) -> Selected:
    """Write the tables of the items that stay, by ascending id.

    An item that several dumps have is taken as its last revision says. It goes where all of its classes (instance of;
    of a class: subclass of) are dropped ones or below them, and where classes are wanted and none of its own is one.

    Args:
        parts: paths of `openmofi.plugins.wikidata.items.ITEMS`.
        rules: see there.
        folder: gets the tables, and DuckDB's own files while it works.
        sources: of priors, beside sitelinks.
        redirects: `openmofi.plugins.wikidata.redirects.REDIRECTED`; what statements say of an item that is gone is
            said of the one that it was merged into.
        memory: bytes that DuckDB may use.
        languages: of the names; of several it is kept which a name comes from.

    Raises:
        OpenMofiError: nothing is left; the disk is full; the memory does not do; a file of `sources` cannot be used.
    """
    sources = sources or PriorSources()
    make_folder(folder)
    with connected(folder, memory) as connection:
        _follow(connection, redirects)
        _load(connection, parts)
        _closed(connection, "dropped", rules.drop)
        _closed(connection, "wanted", rules.kinds)
        counts = _kept(connection, wanted=bool(rules.kinds))
        if not counts["kept"]:
            raise OpenMofiError(
                f"Of {counts['items']:,} items none is left: {counts['unnamed']:,} have no name in the languages and "
                f"{counts['dropped']:,} are of classes that go.",
                "Name other languages, or other --kinds and --drop.",
            )
        load_popularity(connection, sources.pageviews)
        priors = load_names(connection, sources.anchors)
        make_folder(folder / SOURCE)
        spoken = {"languages": _spoken(sources.anchors)} if len(languages) > 1 else {}
        for name, query in {**_TABLES, **spoken, **_BESIDE}.items():
            path = folder / f"{name}.parquet" if name in _BESIDE else folder / SOURCE / f"{name}.parquet"
            connection.execute(f"COPY ({query}) TO {quoted(path)} (FORMAT parquet)")
        by_source = _counted(connection, f"SELECT prior, count(*) FROM ({_BESIDE['details']}) GROUP BY prior")
        external = _counted(connection, f"SELECT property, count(*) FROM ({_BESIDE['external_ids']}) GROUP BY property")
        (images,) = _counted(connection, "SELECT 'images', count(image) FROM kept").values()
    return Selected(
        folder / SOURCE,
        details=folder / "details.parquet",
        titles=folder / "titles.parquet",
        external_ids=folder / "external_ids.parquet" if external else None,
        redirects=folder / "redirects.parquet" if redirects is not None else None,
        images=images,
        external_counts=external,
        counts=counts,
        priors={**by_source, **priors},
    )


def _counted(connection: DuckDBPyConnection, query: str) -> dict[str, int]:
    """What is counted → how often, ascending."""
    return dict(sorted(connection.execute(query).fetchall()))


def _follow(connection: DuckDBPyConnection, redirects: pa.Table | None) -> None:
    """The table `redirect` (old, new): what was merged again is followed to its end; circles have none."""
    rows = REDIRECTED.empty_table() if redirects is None else redirects
    connection.register("redirected", rows)
    connection.execute("CREATE TABLE redirect AS SELECT old, min(new) AS new FROM redirected GROUP BY old")
    for _ in range(_DOUBLINGS if len(rows) else 0):
        connection.execute("""
            CREATE OR REPLACE TABLE redirect AS SELECT one.old, coalesce(two.new, one.new) AS new
            FROM redirect AS one LEFT JOIN redirect AS two ON two.old = one.new""")
    connection.execute("DELETE FROM redirect WHERE new IN (SELECT old FROM redirect)")
    connection.execute("CREATE TEMP MACRO now(item) AS coalesce((SELECT new FROM redirect WHERE old = item), item)")


def _load(connection: DuckDBPyConnection, parts: Sequence[str]) -> None:
    connection.execute(
        """
        CREATE TABLE item AS
        SELECT *, list_concat(kinds, list_filter(parents, lambda class: NOT list_contains(kinds, class))) AS classes
        FROM read_parquet(?)
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY revision DESC, name, description) = 1""",
        [list(parts)],
    )
    connection.execute(
        "CREATE TABLE below AS SELECT child, now(class) AS class FROM "
        "(SELECT id AS child, unnest(parents) AS class FROM item)"
    )
    connection.execute(
        "CREATE TABLE property AS SELECT unnest(?) AS number, unnest(?) AS name",
        [[int(name[1:]) for name in RELATIONS], list(RELATIONS.values())],
    )


def _closed(connection: DuckDBPyConnection, name: str, roots: Sequence[int]) -> None:
    """A table of classes and all that are below them, also where they go round in a circle."""
    connection.execute(
        f"""
        CREATE TABLE {name} AS WITH RECURSIVE down(id) AS (
            SELECT unnest(?::BIGINT[]) UNION SELECT child FROM below JOIN down ON class = down.id)
        SELECT id FROM down""",
        [list(roots)],
    )


def _kept(connection: DuckDBPyConnection, *, wanted: bool) -> dict[str, int]:
    """Make the table of the items that stay."""
    connection.execute("""
        CREATE TABLE classed AS
        SELECT item.id, bool_and(dropped.id IS NOT NULL) AS gone,
               bool_or(wanted.id IS NOT NULL AND dropped.id IS NULL) AS wanted
        FROM (SELECT id, now(class) AS class FROM (SELECT id, unnest(classes) AS class FROM item)) AS item
        LEFT JOIN dropped ON dropped.id = item.class LEFT JOIN wanted ON wanted.id = item.class GROUP BY item.id""")
    stays = "coalesce(classed.wanted, false)" if wanted else "NOT coalesce(classed.gone, false)"
    connection.execute(f"""
        CREATE TABLE kept AS SELECT item.* FROM item LEFT JOIN classed USING (id)
        WHERE item.name <> '' AND {stays}""")
    items, unnamed, kept = (
        number_of(connection, f"SELECT count(*) FROM {rows}") for rows in ("item", "item WHERE name = ''", "kept")
    )
    return {"items": items, "unnamed": unnamed, "dropped": items - unnamed - kept, "kept": kept}


def _spoken(anchors: Sequence[Path]) -> str:
    """The query for names with the languages that they come from."""
    linked = (
        f"""
        UNION SELECT name, language FROM read_parquet([{", ".join(map(quoted, anchors))}]) JOIN (
            SELECT DISTINCT language, title FROM (SELECT unnest(titles, recursive := true) FROM kept))
        USING (language, title)"""
        if anchors
        else ""
    )
    return f"""
        SELECT name, language FROM (
            SELECT DISTINCT name, unnest(string_split(codes, ' ')) AS language FROM (
                SELECT unnest(list_prepend(name, aliases)) AS name, unnest(languages) AS codes FROM kept){linked})
        ORDER BY name, language"""


_TABLES = {
    "entities": f"""
        WITH type AS (
            SELECT kept.id, list(item.name ORDER BY place)[:{TYPES}] AS types
            FROM (SELECT id, place, now(class) AS class FROM (
                SELECT id, unnest(classes) AS class, generate_subscripts(classes, 1) AS place FROM kept)) AS kept
            -- Redirects are followed above: in the condition they would make a loop over all pairs of it.
            JOIN item ON item.id = kept.class WHERE item.name <> '' GROUP BY kept.id)
        SELECT 'Q' || kept.id AS id, name, description, coalesce(types, []) AS types,
               popular.popularity::FLOAT AS popularity
        FROM kept JOIN popular USING (id) LEFT JOIN type USING (id) ORDER BY kept.id""",
    "names": "SELECT name, 'Q' || id AS entity, count::FLOAT AS count FROM named ORDER BY id, name",
    "surfaces": "SELECT name, link_probability FROM surface ORDER BY name",
    "relations": """
        WITH related AS (
            SELECT id AS head, 'instance of' AS relation, unnest(kinds) AS tail FROM kept
            UNION ALL SELECT id, 'subclass of', unnest(parents) FROM kept
            UNION ALL SELECT id, property.name, named.item FROM (
                SELECT id, unnest(relations, recursive := true) FROM kept) AS named
            JOIN property ON property.number = named.property)
        SELECT 'Q' || from_item AS head, relation, 'Q' || to_item AS tail
        FROM (SELECT head AS from_item, relation, now(tail) AS to_item FROM related)
        WHERE to_item IN (SELECT id FROM kept)
        ORDER BY from_item, relation, to_item""",
}
_BESIDE = {
    "details": f"""
        SELECT image, CASE WHEN linked.id IS NOT NULL THEN '{LINKS}' WHEN viewed THEN '{PAGEVIEWS}'
                      ELSE '{SITELINKS}' END AS prior
        FROM kept JOIN popular USING (id) LEFT JOIN linked USING (id) ORDER BY kept.id""",
    "external_ids": """
        SELECT 'Q' || number AS id, 'P' || property AS property, value
        FROM (SELECT id AS number, unnest(external, recursive := true) FROM kept) AS known
        ORDER BY number, known.property, value""",
    "redirects": """
        SELECT 'Q' || old AS id, 'Q' || new AS into FROM redirect
        WHERE new IN (SELECT id FROM kept) AND old NOT IN (SELECT id FROM kept) ORDER BY id""",
    "titles": """
        SELECT language, title, 'Q' || id AS entity
        FROM (SELECT id, unnest(titles, recursive := true) FROM kept) ORDER BY language, title, id""",
}
