"""What pages say, counted: in memory up to a bound, then in Parquet files, which DuckDB sums up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError
from openmofi.plugins.wikidata.page_dump import Page
from openmofi.plugins.wikidata.wikitext import entries, is_disambiguation, links, without_qualifier
from openmofi.storage.atomic import write_error

if TYPE_CHECKING:
    import duckdb

_PAIRS = pa.schema([("language", pa.string()), ("name", pa.string()), ("title", pa.string()), ("count", pa.int64())])
_PAGES = pa.schema(
    [
        ("language", pa.string()),
        ("title", pa.string()),
        ("name", pa.string()),
        ("target", pa.string()),
        ("disambiguation", pa.bool_()),
        ("block", pa.int64()),
        ("position", pa.int64()),
    ]
)
_DOUBLINGS = 6
"""Redirects are followed over 2 to the power of this."""


class AnchorCounts:
    """Counts links, entries of disambiguation pages, and pages.

    Args:
        folder: for what is more than the bound.
        bound: rows of each kind that are held in memory.
        block: number of the block of pages.
    """

    def __init__(self, folder: Path, bound: int, block: int) -> None:
        self._folder, self._bound, self._block, self._files = folder, bound, block, 0
        self._pairs: dict[str, dict[tuple[str, str, str], int]] = {"links": {}, "entries": {}}
        self._pages: list[tuple[str, str, str, str | None, bool, int, int]] = []
        self.pages = self.redirects = self.disambiguations = 0

    def add(self, page: Page, position: int) -> None:
        """Count the page at a position of the block."""
        site, name = page.site, without_qualifier(page.title)
        target, disambiguation = None, False
        if page.redirect is not None:
            target = site.title(page.redirect)
            self.redirects += 1
        elif is_disambiguation(page.text, site):
            disambiguation = True
            self.disambiguations += 1
            self._count("entries", ((site.language, name, entry) for entry in entries(page.text, site)))
        else:
            self.pages += 1
            self._count(
                "links", ((site.language, link.anchor, link.target) for link in links(page.text, site) if link.anchor)
            )
        self._pages.append((site.language, page.title, name, target, disambiguation, self._block, position))
        if len(self._pages) >= self._bound:
            self._write_pages()

    def flush(self) -> None:
        """Write what is left, at least one file of each kind."""
        for kind in self._pairs:
            self._write_pairs(kind)
        self._write_pages()

    def _count(self, kind: str, keys: Iterator[tuple[str, str, str]]) -> None:
        counts = self._pairs[kind]
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        if len(counts) >= self._bound:
            self._write_pairs(kind)

    def _write_pairs(self, kind: str) -> None:
        counts = self._pairs[kind]
        columns = [*zip(*counts, strict=True)] if counts else [(), (), ()]
        self._write(kind, pa.table([*map(list, columns), list(counts.values())], schema=_PAIRS))
        counts.clear()

    def _write_pages(self) -> None:
        columns = [*zip(*self._pages, strict=True)] if self._pages else [()] * len(_PAGES)
        self._write("pages", pa.table([*map(list, columns)], schema=_PAGES))
        self._pages.clear()

    def _write(self, kind: str, table: pa.Table) -> None:
        self._files += 1
        path = self._folder / f"{kind}-{self._block}-{self._files}.parquet"
        try:
            pq.write_table(table, path, compression="zstd")
        except OSError as error:
            raise write_error(error, path) from error


@contextmanager
def summed(folder: Path, memory_mib: int) -> Iterator[Sums]:
    """Sum up what `AnchorCounts` wrote into `folder`, where DuckDB spills if memory is short.

    Raises:
        OpenMofiError: the disk is full.
    """
    import duckdb

    connection = duckdb.connect(
        config={
            "memory_limit": f"{memory_mib}MiB",
            "temp_directory": str(folder / "duckdb"),
            "autoinstall_known_extensions": "false",
            "preserve_insertion_order": "false",
        }
    )
    connection.execute("SET enable_progress_bar = false")
    try:
        yield Sums(connection, folder)
    except duckdb.Error as error:
        raise OpenMofiError(
            f"The counts could not be summed up: {str(error).partition(chr(10))[0].rstrip('.')}.",
            "Free memory or disk space, or raise --memory.",
        ) from error
    finally:
        connection.close()


class Sums:
    """Sums over the files of `AnchorCounts`; see `summed`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection = connection
        for kind in ("links", "entries", "pages"):
            files = str(folder / f"{kind}-*.parquet").replace("'", "''")
            self._run(f"CREATE VIEW {kind} AS SELECT * FROM read_parquet('{files}')")

    def _run(self, query: str) -> Any:
        return self._connection.execute(query)

    def replaced(self) -> dict[int, frozenset[int]]:
        """Return block → positions of the pages whose title a later page has too."""
        blocks = self._run("""
            SELECT block, list(position) FROM (
                SELECT block, position FROM pages
                WHERE (language, title) IN (SELECT (language, title) FROM pages GROUP BY ALL HAVING count(*) > 1)
                QUALIFY row_number() OVER (PARTITION BY language, title ORDER BY block DESC, position DESC) > 1)
            GROUP BY block""").fetchall()
        return {block: frozenset(positions) for block, positions in blocks}

    def _resolve(self) -> None:
        """Make the table `resolved`: each title that is no article → the article that it leads to, or null."""
        self._run("CREATE TABLE hops AS SELECT language, title, target FROM pages WHERE target IS NOT NULL")
        for _ in range(_DOUBLINGS):
            self._run(
                "CREATE OR REPLACE TABLE hops AS SELECT h.language, h.title, "
                "coalesce(n.target, h.target) AS target FROM hops h LEFT JOIN hops n "
                "ON n.language = h.language AND n.title = h.target"
            )
        # What still leads to a redirect goes round in a circle.
        self._run(
            "CREATE TABLE gone AS SELECT language, title FROM pages WHERE disambiguation "
            "UNION ALL SELECT language, title FROM hops"
        )
        self._run(
            "CREATE TABLE resolved AS SELECT h.language, h.title, CASE WHEN g.title IS NULL THEN "
            "nullif(h.target, '') END AS target FROM hops h LEFT JOIN gone g "
            "ON g.language = h.language AND g.title = h.target "
            "UNION ALL SELECT language, title, NULL FROM pages WHERE disambiguation"
        )

    def names(self) -> Iterator[pa.Table]:
        """Yield the rows of `ANCHORS`, ascending by language, name and title, in tables."""
        self._resolve()
        self._run("""
            CREATE TABLE names AS
            SELECT name, title, language, sum(anchors)::BIGINT AS anchors, sum(redirects)::BIGINT AS redirects,
                   sum(disambiguation)::BIGINT AS disambiguation, sum(titles)::BIGINT AS titles
            FROM (
                SELECT l.language, name, CASE WHEN r.title IS NULL THEN l.title ELSE r.target END AS title,
                       anchors, 0 AS redirects, disambiguation, 0 AS titles
                FROM (SELECT language, name, title, count AS anchors, 0 AS disambiguation FROM links
                      UNION ALL SELECT language, name, title, 0, count FROM entries) l
                LEFT JOIN resolved r ON r.language = l.language AND r.title = l.title
                UNION ALL
                SELECT p.language, p.name, r.target, 0, 1, 0, 0
                FROM pages p JOIN resolved r ON r.language = p.language AND r.title = p.title
                UNION ALL
                SELECT language, name, title, 0, 0, 0, 1 FROM pages WHERE target IS NULL AND NOT disambiguation
            ) WHERE title IS NOT NULL AND name <> ''
            GROUP BY language, name, title""")
        return self._tables("SELECT * FROM names ORDER BY language, name, title")

    def seen(self, least: int) -> Iterator[pa.Table]:
        """Yield (language, name, anchors) of names seen at least so often, ascending; call `names` first."""
        return self._tables(f"""
            SELECT language, name, sum(anchors)::BIGINT AS anchors FROM names GROUP BY language, name
            HAVING sum(anchors + redirects + disambiguation + titles) >= {int(least)} ORDER BY language, name""")

    def _tables(self, query: str) -> Iterator[pa.Table]:
        for batch in self._connection.sql(query).to_arrow_reader(1 << 16):
            yield pa.Table.from_batches([batch])
