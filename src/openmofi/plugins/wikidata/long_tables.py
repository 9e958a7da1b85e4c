"""Wikidata as long tables, a row a label, an alias, a page or a statement, joined to a table of a row an item.

The layout: https://huggingface.co/permutans, as https://github.com/lmmx/wikidata-pq makes it of a dump.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.knowledge.database import connected, quoted
from openmofi.plugins.wikidata.items import IMAGE, KIND, PARENT, RELATIONS, label_order
from openmofi.plugins.wikidata.published import parquet_schema
from openmofi.storage import atomic_path

_SPOKEN = ("labels", "descriptions", "aliases")
_COLUMNS = dict.fromkeys(_SPOKEN, ("id", "language", "value")) | {
    "links": ("id", "site", "title"),
    "claims": ("id", "property", "rank", "datavalue.id", "datavalue.datavalue__string"),
}
_VALUE = "coalesce(datavalue.id, datavalue.datavalue__string)"
_LISTED = "list({{{}}} ORDER BY number, file_row_number) FILTER (list_contains($wanted, {}))"
_JOINED = dict.fromkeys(_SPOKEN, _LISTED.format("'language': language, 'value': value", "language")) | {
    "links": "list({'site': site, 'title': title})",
    "claims": _LISTED.format(f"'property': property, 'rank': rank, 'value': {_VALUE}", "property"),
}
"""Table → what becomes of its rows of an item."""
_TABLE = re.compile(rf"(?:.*wikidata-)?(?:scholar-)?({'|'.join(_COLUMNS)}|claims_labels)")
_HINT = "Give a folder that has wikidata-labels/, wikidata-aliases/, wikidata-links/, wikidata-claims/ and so on."


def long_tables(folders: Sequence[str | Path]) -> dict[str, list[Path]]:
    """Find tables below folders: table → its files, in the order of its rows.

    The name of the nearest folder around a file, such as `wikidata-labels`, says of which table it is.

    Raises:
        OpenMofiError: there are no labels; a file is damaged, or lacks a column.
    """
    files: dict[str, list[Path]] = {}
    found = {file for folder in folders for file in Path(folder).rglob("*.parquet")}
    for path in sorted(found, key=lambda file: (file.parent, len(file.name), file.name)):  # part-10 after part-9
        matches = (_TABLE.fullmatch(parent.name) for parent in path.absolute().parents)
        table = next((match[1] for match in matches if match), "")
        if table in _COLUMNS:
            files.setdefault(table, []).append(path)
            _require_columns(path, _COLUMNS[table])
    if "labels" not in files:
        raise OpenMofiError(f"{', '.join(map(str, folders))}: there is no table of labels.", _HINT)
    return files


def _require_columns(path: Path, columns: Sequence[str]) -> None:
    fields = [*parquet_schema(path)]
    there = [field.name for field in fields]
    there += [f"{each.name}.{inner.name}" for each in fields if pa.types.is_struct(each.type) for inner in each.type]
    if missing := [column for column in columns if column not in there]:
        raise OpenMofiError(f"{path} has no column {missing[0]!r}; its columns are {', '.join(there)}.", _HINT)


def join_tables(
    tables: Mapping[str, Sequence[Path]], out: Path, languages: Sequence[str], external: Sequence[str], memory: int
) -> None:
    """Write a Parquet file of a row an item, as `openmofi.plugins.wikidata.published` reads it.

    Args:
        tables: of `long_tables`.
        out: a file; its folder gets what is joined where the memory is short.
        languages, external: see `openmofi.plugins.wikidata.items.ItemReader`; what it does not read is left out.
        memory: bytes that DuckDB may use.

    Raises:
        OpenMofiError: the disk is full, a file is damaged, or the memory does not do.
    """
    wanted = [*label_order(languages), KIND, PARENT, IMAGE, *RELATIONS, *external]
    with connected(out.parent, memory) as connection:
        for table, paths in tables.items():
            names = [str(path) for path in paths]
            files = "SELECT unnest($names) AS filename, generate_subscripts($names, 1) AS number"
            query = f"""
                CREATE TABLE {table} AS SELECT id, {_JOINED[table]} AS {table} FROM ({files}) JOIN
                read_parquet($names, filename = true, file_row_number = true, union_by_name = true) USING (filename)
                GROUP BY id"""
            connection.execute(query, {"names": names} | ({"wanted": wanted} if "$wanted" in query else {}))
        rows = "labels" + "".join(f" FULL JOIN {table} USING (id)" for table in tables if table != "labels")
        with atomic_path(out) as temporary:
            connection.execute(f"COPY (FROM {rows}) TO {quoted(temporary)} (FORMAT parquet, ROW_GROUP_SIZE 20480)")
