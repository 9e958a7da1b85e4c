"""From items to the tables of a knowledge base: classes that stay, names, relations, redirects."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from openmofi.errors import OpenMofiError, UsageError
from openmofi.knowledge.database import connected, number_of, quoted
from openmofi.plugins.wikidata.items import RELATIONS, item_number
from openmofi.plugins.wikidata.priors import LINKS, PAGEVIEWS, SITELINKS, PriorSources, load_names, load_popularity
from openmofi.plugins.wikidata.slots import unpacked
from openmofi.plugins.wikidata.wikitext import wiki_code
from openmofi.storage import make_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


REDIRECTED = pa.schema([("old", pa.int64()), ("new", pa.int64())])
"""redirects as read: numbers of items; one may be a redirect itself."""

_ENTITY = rb"[<\"]*(?:wd:|https?://www\.wikidata\.org/entity/)?([A-Z]\d+)[>\"]*"
_LINE = re.compile(
    rb"\s*"
    + _ENTITY
    + rb"(?:\s+(?:<http://www\.w3\.org/2002/07/owl#sameAs>|owl:sameAs)\s+|\s*[,\t]\s*)"
    + _ENTITY
    + rb"\s*\.?\s*"
)
_OTHER = re.compile(rb"\s*(?:[@#].*)?")
_HINT = (
    "Give lines such as Q1,Q2 (the one that is gone, the one it was merged into), or those of an RDF dump with "
    "owl:sameAs: `zgrep owl#sameAs latest-all.nt.gz`."
)


def read_redirects(path: str | Path) -> pa.Table:
    """Read the redirects of a file (`REDIRECTED`), without those of other entities than items.

    Args:
        path: lines of two ids, by comma or tab, with or without a header; or of RDF, as N-Triples or Turtle, where
            redirects are owl:sameAs (https://www.mediawiki.org/wiki/Wikibase/Indexing/RDF_Dump_Format). Ids may be
            addresses. Plain, or compressed by gzip, bzip2 or zstandard.

    Raises:
        OpenMofiError: the file is missing, damaged or empty, or a line is no redirect.
    """
    old, new = list[np.ndarray](), list[np.ndarray]()
    pairs: list[tuple[int, int]] = []
    for number, line in enumerate(_lines(path), 1):
        match = _LINE.fullmatch(line)
        if not match:
            # A header has no ids.
            if _OTHER.fullmatch(line) or (number == 1 and not re.search(rb"[QPL]\d", line)):
                continue
            beginning = line[:60].decode("utf-8", "replace")
            raise OpenMofiError(f"{path}, line {number}: {beginning!r} is no redirect.", _HINT)
        source, target = match.groups()
        if source.startswith(b"Q") and target.startswith(b"Q"):
            pairs.append((int(source[1:]), int(target[1:])))
        if len(pairs) == 1 << 20:
            _collect(pairs, old, new)
    _collect(pairs, old, new)
    table = pa.table([np.concatenate(old), np.concatenate(new)], schema=REDIRECTED)
    if not len(table):
        raise OpenMofiError(f"{path} has no redirect of an item.", _HINT)
    return table


def _collect(pairs: list[tuple[int, int]], old: list[np.ndarray], new: list[np.ndarray]) -> None:
    """Move pairs to arrays, which take a tenth of the memory."""
    both = np.array(pairs, np.int64).reshape(-1, 2)
    old.append(both[:, 0])
    new.append(both[:, 1])
    pairs.clear()


def _lines(path: str | Path) -> Iterator[bytes]:
    rest = b""
    for data, _ in unpacked(path, _HINT):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        yield rest


@dataclass(frozen=True)
class ClassRules:
    """Which items stay.

    Attributes:
        kinds: classes, of which an item must be; all where empty.
        drop: classes that go: an item whose classes are all dropped goes.
    """

    kinds: tuple[int, ...]
    drop: tuple[int, ...]


@cache
def known_classes() -> dict[str, dict[str, Any]]:
    """Read `classes.toml`: class id → `why` it is dropped, and whether it is `internal`."""
    return tomllib.loads(Path(__file__).with_name("classes.toml").read_text("utf-8"))


def class_rules(kinds: Sequence[str] = (), drop: Sequence[str] = (), *, visual_only: bool = False) -> ClassRules:
    """Return the rules that a caller names, beside those that always hold.

    Args:
        kinds, drop: ids such as `Q5`.
        visual_only: drop what no image shows as itself, too.

    Raises:
        UsageError: an id is none, or a class is both wanted and dropped.
    """
    excluded = [name for name, rule in known_classes().items() if rule.get("internal") or visual_only]
    wanted, dropped = _numbers(kinds), {*_numbers(excluded), *_numbers(drop)}
    if both := sorted(wanted & _numbers(drop)):
        raise UsageError(f"Q{both[0]} is both wanted and dropped.", "Name it once.")
    return ClassRules(tuple(sorted(wanted)), tuple(sorted(dropped - wanted)))


def _numbers(ids: Sequence[str]) -> set[int]:
    try:
        return {item_number(each) for each in ids}
    except ValueError as error:
        raise UsageError(f"{error}.", "Classes are named by ids such as Q5 (human).") from error


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
        external_ids, redirects: tables as `openmofi.knowledge.beside` has them, or `None` where there are none.
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
        redirects: `openmofi.plugins.wikidata.select.REDIRECTED`; what statements say of an item that is gone is
            said of the one that it was merged into.
        memory: bytes that DuckDB may use.
        languages: of the names; of several it is kept which a name comes from.

    Raises:
        OpenMofiError: nothing is left, or no claim could be read; the disk is full; the memory does not do; a file of
            `sources` cannot be used.
    """
    sources = sources or PriorSources()
    make_folder(folder)
    with connected(folder, memory) as connection:
        _follow(connection, redirects)
        _load(connection, parts)
        _closed(connection, "dropped", rules.drop)
        _closed(connection, "wanted", rules.kinds)
        counts = _select_items(connection, wanted=bool(rules.kinds))
        load_popularity(connection, sources.pageviews)
        priors = load_names(connection, sources.anchors)
        make_folder(folder / SOURCE)
        spoken = {"languages": _spoken(sources.anchors, languages)} if len(languages) > 1 else {}
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
    """Count values: value → number, ascending by value."""
    return dict(sorted(connection.execute(query).fetchall()))


def _follow(connection: DuckDBPyConnection, redirects: pa.Table | None) -> None:
    """Make the table `redirect` (old, new): chains are followed to their end; circles, which have none, are out."""
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
    """Make the tables `item`, `below` and `property`; refuse items of whose claims none could be read."""
    connection.read_parquet(list(parts)).create_view("read")
    # Few are read twice, or none: to sort all would take most of the time.
    connection.execute("CREATE TABLE twice AS SELECT id FROM read GROUP BY id HAVING count(*) > 1")
    connection.execute("""
        CREATE TABLE item AS
        SELECT *, list_concat(kinds, list_filter(parents, lambda class: NOT list_contains(kinds, class))) AS classes
        FROM (
            SELECT * FROM read WHERE id NOT IN (SELECT id FROM twice) UNION ALL
            SELECT * FROM read WHERE id IN (SELECT id FROM twice)
            QUALIFY row_number() OVER (PARTITION BY id ORDER BY revision DESC, name, description, aliases, kinds,
                parents, relations, sitelinks DESC, image, titles, external) = 1)""")
    ((unread, some),) = connection.execute(
        "SELECT count(*) FILTER (unread), bool_or(len(classes) + len(relations) > 0) FROM item"
    ).fetchall()
    if unread and not some:
        raise OpenMofiError(
            f"The claims are laid out in an unknown way: {unread:,} items have some of classes and relations, and none "
            "could be read.",
            "Name the layout or the columns with --columns; docs/knowledge-base.md#parquet-of-others says how.",
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
    """Make a table of classes and all classes below them; circles among them do no harm."""
    connection.execute(
        f"""
        CREATE TABLE {name} AS WITH RECURSIVE down(id) AS (
            SELECT unnest(?::BIGINT[]) UNION SELECT child FROM below JOIN down ON class = down.id)
        SELECT id FROM down""",
        [list(roots)],
    )


def _select_items(connection: DuckDBPyConnection, *, wanted: bool) -> dict[str, int]:
    """Make the table of the items that stay.

    Raises:
        OpenMofiError: none does.
    """
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
    items, unnamed, remaining = (
        number_of(connection, f"SELECT count(*) FROM {rows}") for rows in ("item", "item WHERE name = ''", "kept")
    )
    dropped = items - unnamed - remaining
    if not remaining:
        raise OpenMofiError(
            f"Of {items:,} items none is left: {unnamed:,} have no name in the languages and {dropped:,} are of "
            "classes that go.",
            "Name other languages, or other --kinds and --drop.",
        )
    return {"items": items, "unnamed": unnamed, "dropped": dropped, "kept": remaining}


def _spoken(anchors: Sequence[Path], languages: Sequence[str]) -> str:
    """Return the query for names with the languages that they come from."""
    wikis = ", ".join(f"('{language}', '{wiki_code(language)}')" for language in languages)
    linked = (
        f"""
        UNION SELECT name, spoken FROM read_parquet([{", ".join(map(quoted, anchors))}]) JOIN (
            SELECT DISTINCT language, title FROM (SELECT unnest(titles, recursive := true) FROM kept))
        USING (language, title) JOIN (VALUES {wikis}) AS wiki(spoken, language) USING (language)"""
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
