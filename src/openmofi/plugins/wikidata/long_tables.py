"""Wikidata as long tables, a row a label, an alias, a page or a statement, joined to a table of a row an item.

The layout: https://huggingface.co/permutans, as https://github.com/lmmx/wikidata-pq makes it of a dump.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError
from openmofi.knowledge.database import connected, part_file, quoted
from openmofi.plugins.wikidata.items import IMAGE, KIND, PARENT, RELATIONS, label_order
from openmofi.plugins.wikidata.published import PublishedColumns
from openmofi.storage import atomic_path

_SPOKEN = ("labels", "descriptions", "aliases")
_COLUMNS = dict.fromkeys(_SPOKEN, ("id", "language", "value")) | {
    "links": ("id", "site", "title"),
    "claims": ("id", "property", "rank", "datavalue"),
}
_VALUE = "coalesce(datavalue.id, datavalue.datavalue__string)"
_LISTED = "list({{{}}} ORDER BY len(filename), filename, file_row_number) FILTER (list_contains($wanted, {}))"
_JOINED = dict.fromkeys(_SPOKEN, _LISTED.format("'language': language, 'value': value", "language")) | {
    "links": "list({'site': site, 'title': title})",
    "claims": _LISTED.format(f"'property': property, 'rank': rank, 'value': {_VALUE}", "property"),
}
"""Table → what becomes of its rows of an item."""
_TABLE = re.compile(rf"(?:.*wikidata-)?(?:scholar-)?({'|'.join(_COLUMNS)}|claims_labels)")
_ROW = 500
"""Bytes that a row takes while it is joined; 200 were measured."""


def long_tables(folders: Sequence[str | Path]) -> dict[str, list[Path]]:
    """Find tables below folders: table → its files.

    The name of the nearest folder around a file, such as `wikidata-labels`, says of which table it is.

    Raises:
        OpenMofiError: there are no labels; a file is damaged, or lacks a column.
    """
    files: dict[str, list[Path]] = {}
    for path in sorted({file for folder in folders for file in Path(folder).rglob("*.parquet")}):
        matches = (_TABLE.fullmatch(parent.name) for parent in path.absolute().parents)
        table = next((match[1] for match in matches if match), "")
        if table in _COLUMNS:
            PublishedColumns({name: name for name in _COLUMNS[table]}, needed=True).of(path)
            files.setdefault(table, []).append(path)
    if "labels" not in files:
        raise OpenMofiError(
            f"{', '.join(map(str, folders))}: there is no table of labels.",
            "Give a folder that has wikidata-labels/, wikidata-aliases/, wikidata-links/, wikidata-claims/ and so on.",
        )
    return files


def join_tables(
    tables: Mapping[str, Sequence[Path]], out: Path, languages: Sequence[str], external: Sequence[str], memory: int
) -> None:
    """Write a Parquet file of a row an item, as `openmofi.plugins.wikidata.published` reads it.

    It is joined some ids at a time, of which files that ascend by id have few row groups each.

    Args:
        tables: of `long_tables`.
        languages, external: see `openmofi.plugins.wikidata.items.ItemReader`; what it does not read is left out.
        memory: bytes that DuckDB may use.

    Raises:
        OpenMofiError: the disk is full, a file is damaged, or the memory does not do.
    """
    joined = [
        f"""(SELECT id, {_JOINED[table]} AS {table}
        FROM read_parquet([{", ".join(map(quoted, paths))}], filename = true, file_row_number = true)
        WHERE id >= $least AND id < $end GROUP BY id)"""
        for table, paths in tables.items()
    ]
    query = "SELECT * FROM " + " FULL JOIN ".join([joined[0], *(f"{each} USING (id)" for each in joined[1:])])
    wanted = [*label_order(languages), KIND, PARENT, IMAGE, *RELATIONS, *external]
    bounds = ["", *_bounds((path for paths in tables.values() for path in paths), memory // _ROW), "\U0010ffff"]
    with connected(out.parent, memory) as connection, atomic_path(out) as temporary:

        def part(least: str, end: str) -> pa.Table:
            return connection.sql(query, params={"wanted": wanted, "least": least, "end": end}).to_arrow_table()

        with part_file(temporary, part("", "").schema) as add:
            for least, end in pairwise(bounds):
                add(part(least, end))


def _bounds(paths: Iterable[Path], rows: int) -> list[str]:
    """Return ids, ascending, between which there are some so many rows, by the statistics of row groups."""
    groups = [file.row_group(number) for file in map(pq.read_metadata, paths) for number in range(file.num_row_groups)]
    statistics = [(group.column(0).statistics, group.num_rows) for group in groups]
    bounds, held = [""], 0
    for least, count in sorted((each.min if each and each.has_min_max else "", count) for each, count in statistics):
        held += count
        if held > rows and least > bounds[-1]:
            bounds.append(least)
            held = count
    return bounds[1:]
