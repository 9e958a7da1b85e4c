"""Splits tables of URLs into shards of rows that are still to be downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs.formats.columns import IMAGE, TEXT, URL, find_column, name_it
from openmofi.pairs.formats.delimited import read_records
from openmofi.pairs.formats.parquet import DAMAGE, raise_if_of_machine
from openmofi.pairs.read_settings import ReadSettings, open_source
from openmofi.pairs.text import from_value
from openmofi.plugins.fetch import FetchSettings
from openmofi.storage import TABLES, Shard, exists, read_json, write_json, write_table

STAGED = "urls"
"""Folder of the rows that are still to be downloaded; removed at the end."""
_DONE = f"{STAGED}/shards.json"
_LICENSE = ("license", "licence", "license_url", "license_name", "rights", "usage_terms")
_CREATOR = ("creator", "author", "artist", "photographer", "credit", "attribution")
_COMMON = {
    "url": ("url", (*URL, "image_link", "link", *IMAGE)),
    "caption": ("text", TEXT),
    "license": ("license", _LICENSE),
    "creator": ("creator", _CREATOR),
}
_MOST_CHARS, _BATCH = 1 << 20, 1024


def staged(tables: Sequence[Shard], out: str, settings: FetchSettings) -> list[Shard]:
    """Cut the rows of all tables into shards of `settings.shard_size` rows, unless that is done; return these.

    Raises:
        UsageError: a table has no column of URLs or texts.
        OpenMofiError: a table cannot be read, or there are no rows.
    """
    if not exists(f"{out}/{_DONE}"):
        rows = chain.from_iterable(_rows(table.path, settings) for table in tables)
        parts = iter(lambda: list(islice(rows, settings.shard_size)), [])
        shards = sum(_write(part, number, out, settings) for number, part in enumerate(parts))
        if not shards:
            raise OpenMofiError(f"{', '.join(table.path for table in tables)}: there are no rows.", "Check the tables.")
        write_json(f"{out}/{_DONE}", shards)
    shards = read_json(f"{out}/{_DONE}", int, "Start the command again with --restart.")
    return [Shard(f"{out}/{STAGED}/{number:05d}.parquet", f"{number:05d}") for number in range(shards)]


def _write(rows: Sequence[dict[str, str | None]], number: int, out: str, settings: FetchSettings) -> int:
    """Write the rows of a shard, with keys as img2dataset numbers them; returns 1."""
    digits = len(str(settings.shard_size - 1))
    keyed = [{"key": f"{number:05d}{place:0{digits}d}", **row} for place, row in enumerate(rows)]
    schema = pa.schema([(name, pa.string()) for name in keyed[0]])
    write_table(f"{out}/{STAGED}/{number:05d}.parquet", pa.Table.from_pylist(keyed, schema))
    return 1


def _rows(path: str, settings: FetchSettings) -> Iterator[dict[str, str | None]]:
    """Yield url, caption, license, creator and the kept columns of each row of a table; `None` where there is none."""
    if not path.endswith((".parquet", *TABLES)):
        raise UsageError(f"{path} is not a table of URLs.", f"Give .parquet, {', '.join(TABLES)}.")
    records = (
        _parquet(path, settings)
        if path.endswith(".parquet")
        else read_records(path, ReadSettings(encoding=settings.encoding))
    )
    columns: dict[str, str | None] = {}
    for names, row in records:
        columns = columns or _columns(path, names, settings)
        yield {name: _text(row.get(column)) if column else None for name, column in columns.items()}


def _columns(path: str, names: Sequence[str], settings: FetchSettings) -> dict[str, str | None]:
    """Return the column of each field.

    Raises:
        UsageError: one that is named does not exist, or there is none of URLs or texts.
    """
    found = {
        name: find_column(path, names, getattr(settings, f"{what}_column"), common, what, forgiving=True)
        for name, (what, common) in _COMMON.items()
    }
    for name in ("url", "caption"):
        if found[name] is None:
            what = _COMMON[name][0]
            raise UsageError(
                f"{path} has no {what} column of a known name; it has: {', '.join(names[:20])}.", name_it(what, path)
            )
    return found | {name: find_column(path, names, name, (), "keep") for name in settings.keep_columns}


def _parquet(path: str, settings: FetchSettings) -> Iterator[tuple[list[str], dict[str, Any]]]:
    with open_source(path) as handle:
        try:
            table = pq.ParquetFile(handle)
            names = table.schema_arrow.names
            used = list({column: None for column in _columns(path, names, settings).values() if column})
            for batch in table.iter_batches(_BATCH, columns=used, use_threads=False):
                yield from ((names, row) for row in batch.to_pylist())
        except DAMAGE as error:
            raise_if_of_machine(error)
            raise OpenMofiError(
                f"{path} is not a Parquet file, or damaged: {error}.", "Fetch the file again."
            ) from error


def _text(value: Any) -> str | None:
    if value is None or value != value:
        return None
    return from_value(value if isinstance(value, str | bytes | list) else str(value), _MOST_CHARS).text or None
