"""Wikidata's dumps in blocks, and Wikidata as others publish it in Parquet: a row as the dumps' JSON would have it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError, UsageError, did_you_mean
from openmofi.plugins.wikidata.items import KIND, PARENT, RELATIONS, ItemReader, property_number
from openmofi.plugins.wikidata.slots import unpacked

BLOCK = 32 << 20
"""Bytes of lines that are parsed together: a part has some 2,000 of the real dump's items."""
_WHOLE = 64 << 20
"""Bytes up to which JSON that has not an entity a line is read as a whole."""
_MARK = b"\xef\xbb\xbf"
_SPACE = _MARK + b" \t\r\n"
_DUMPS = "Give wikidata-DATE-all.json.gz or .bz2 of https://dumps.wikimedia.org/wikidatawiki/entities/, or lines of it."


@dataclass(frozen=True)
class Piece:
    """Bytes of a dump.

    Attributes:
        block: number of the block of whole lines that it belongs to, from 0; the same file always has the same blocks.
        lines: the bytes. A block ends with a line's end unless it is the file's last.
        read: bytes of the file, as it lies there, that have been read by now.
    """

    block: int
    lines: bytes
    read: int


def pieces(path: str | Path, size: int = BLOCK) -> Iterator[Piece]:
    """Yield a dump in pieces as it is unpacked; a block of pieces ends with the line that fills `size` bytes.

    Args:
        path: JSON lines as Wikidata publishes them, plain or compressed by gzip, bzip2 or zstandard; of several
            streams too. What it is, its first bytes say. Of an array that is laid out otherwise, and of an answer of
            Wikidata's API, up to 64 MiB, each entity becomes a line.
        size: bytes of a block.

    Raises:
        OpenMofiError: the file is missing, damaged, cut off, or no dump.
    """
    block = held = 0
    for data, read in _lines(path):
        while data:
            end = data.find(b"\n", max(size - held - 1, 0)) + 1
            yield Piece(block, data[:end] if end else data, read)
            block, held, data = (block + 1, 0, data[end:]) if end else (block, held + len(data), b"")


def _lines(path: str | Path) -> Iterator[tuple[bytes, int]]:
    """Yield a dump as `unpacked` does, with an entity a line."""
    stream, held, told, read = unpacked(path, _DUMPS), bytearray(), None, 0
    for data, now in stream:
        if not held:
            _require_dump(path, data)
        held += data
        read = now
        if told is None and b"\n" in data:
            told = _entity_a_line(held)
        if told or len(held) > _WHOLE:
            break
    whole = bytes(held.removeprefix(_MARK))
    # No text in JSON has a line's end.
    ended = [] if told else [bytes(each).replace(b"\r", b" ").replace(b"\n", b" ") for each in _entities(whole)]
    yield b"\n".join(ended) or whole, read
    yield from stream


def _entity_a_line(start: bytearray) -> bool | None:
    """Whether the first line of a file holds an entity; `None` where it has not ended yet."""
    first, ended, _ = start.lstrip(_SPACE).removeprefix(b"[").lstrip(_SPACE).partition(b"\n")
    try:
        return "id" in msgspec.json.decode(first.rstrip(b" \t\r,"), type=dict[str, msgspec.Raw]) if ended else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


def _entities(document: bytes | msgspec.Raw) -> list[msgspec.Raw]:
    """Return the entities of an array, of an answer of the API (`entities`), or of a map by id; none of other texts."""
    try:
        values = msgspec.json.decode(document, type=dict[str, msgspec.Raw] | list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
    if isinstance(values, dict):
        if "id" in values:
            return [msgspec.Raw(document)]
        if "entities" in values:
            return _entities(values["entities"])
        values = [*values.values()]
    return values if any(b'"id"' in bytes(value) for value in values) else []


def _require_dump(path: str | Path, start: bytes) -> None:
    """Refuse a file that does not begin as a dump does: the array's bracket, or an entity."""
    first = start.lstrip(_SPACE)[:60]
    if not first.startswith((b"[", b"{")):
        beginning = first.decode("utf-8", "replace").partition("\n")[0]
        raise OpenMofiError(f"{path} is no JSON dump of Wikidata: it begins with {beginning!r}.", _DUMPS)


FIELDS = ("id", "labels", "descriptions", "aliases", "sitelinks", "claims", "revision")
"""What a file of columns may name; `id` and `labels` are needed."""
LONG = "permutans"
LAYOUTS = {"wmde": {}, LONG: {"sitelinks": "links"}}
"""Name of a layout → its columns that are called otherwise than the field: of what Wikimedia Deutschland publishes
(https://huggingface.co/datasets/philippesaade/wikidata), and what `openmofi.plugins.wikidata.long_tables` writes."""
ROWS = 2048
"""Rows that are handed over together."""
_BY_KEY = {
    "labels": "language",
    "descriptions": "language",
    "aliases": "language",
    "claims": "property",
    "sitelinks": "site",
}
_ITEMS = {KIND, PARENT, *RELATIONS}
_HINT = "docs/knowledge-base.md#parquet-of-others says what a file of --columns looks like."


@dataclass(frozen=True)
class PublishedColumns:
    """Which column holds what.

    Attributes:
        names: field of `FIELDS`, or `field/key` with a language or property as key → the column's name.
        needed: whether all of them have to be there; else only `id` and `labels`.
    """

    names: Mapping[str, str]
    needed: bool

    @classmethod
    def read(cls, path: Path | None) -> PublishedColumns:
        """Of a TOML file: a field = a column, or a table of languages or properties = columns; or of one of `LAYOUTS`.
        Without a file columns are called as `FIELDS`.

        Raises:
            OpenMofiError: the file cannot be read, or names no `id` or no `labels`.
            UsageError: it names something else than `FIELDS`, or a property that is none.
        """
        if path is None or str(path) in LAYOUTS:
            return cls({field: field for field in FIELDS} | LAYOUTS.get(str(path), {}), needed=False)
        try:
            given = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise OpenMofiError(f"{path} cannot be read as TOML: {reason}.", _HINT) from error
        names: dict[str, str] = {}
        for field, columns in given.items():
            if field not in FIELDS:
                raise UsageError(
                    f"{path} names columns for {field!r}.{did_you_mean(field, FIELDS)}",
                    f"It may name {', '.join(FIELDS)}.",
                )
            tables = isinstance(columns, dict) and (field in _BY_KEY and field != "sitelinks")
            each = {f"{field}/{key}": column for key, column in columns.items()} if tables else {field: columns}
            if wrong := [name for name, column in each.items() if not isinstance(column, str)]:
                raise UsageError(f"{path} names no column for {wrong[0]!r}.", _HINT)
            names |= each
        try:
            for key in given["claims"] if isinstance(given.get("claims"), dict) else ():
                property_number(key)
        except ValueError as error:
            raise UsageError(f"{path}: {error}.", "Claims are named by properties such as P31.") from error
        for field in ("id", "labels"):
            if not any(name.partition("/")[0] == field for name in names):
                raise OpenMofiError(f"{path} names no column for {field!r}.", _HINT)
        return cls(names, needed=True)

    def of(self, path: Path) -> dict[str, str]:
        """Return the names of those columns that a Parquet file has.

        Raises:
            OpenMofiError: the file is none, or lacks a column that it should have.
        """
        try:
            there = pq.read_schema(path).names
        except (OSError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise OpenMofiError(f"{path} cannot be read as Parquet: {reason}.", "Fetch it again.") from error
        for name, column in self.names.items():
            if column not in there and (self.needed or name in ("id", "labels")):
                raise OpenMofiError(
                    f"{path} has no column {column!r} for {name.replace('/', '.')}; its columns are "
                    f"{', '.join(there)}.{did_you_mean(column, there)}",
                    "Correct --columns." if self.needed else f"Name them with --columns FILE; {_HINT}",
                )
        return {name: column for name, column in self.names.items() if column in there}


def published_blocks(path: Path, columns: PublishedColumns) -> Iterator[Piece]:
    """Yield the rows of a Parquet file in the same blocks each time, of one piece each, for `read_published`.

    Raises:
        OpenMofiError: see `PublishedColumns.of`; the file is damaged.
    """
    names = columns.of(path)
    done, size = 0, path.stat().st_size
    try:
        with pq.ParquetFile(path) as file:
            rows = max(file.metadata.num_rows, 1)
            for number, batch in enumerate(file.iter_batches(ROWS, columns=sorted(set(names.values())))):
                table = pa.table({name: batch.column(column) for name, column in names.items()})
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, table.schema) as writer:
                    writer.write_table(table)
                done += len(table)
                yield Piece(number, sink.getvalue().to_pybytes(), size * done // rows)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise OpenMofiError(f"{path} is damaged: {reason}.", "Fetch it again.") from error


def read_published(reader: ItemReader, handle: IO[bytes]) -> tuple[pa.Table, list[Any], int]:
    """Read the items of a block of `published_blocks`; see `ItemReader.read`."""
    with pa.ipc.open_stream(handle) as stream:
        return reader.read_objects((row for batch in stream for row in batch.to_pylist()), entity_of)


def entity_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as the dumps' JSON would have it.

    What goes by a language, a property or a wiki may be a map, a struct, a list of structs that say it (`language`,
    `property`, `site`), JSON text of these, or a column each. A text may be a struct with `value`; a statement may be a
    value, a struct with `value` and `rank`, or one as in the dumps, whose `datavalue` may be the value itself.

    Args:
        row: name as of `PublishedColumns` → value.

    Raises:
        ValueError: a value is of none of these forms.
    """
    fields: dict[str, Any] = {}
    for name, value in row.items():
        field, _, key = name.partition("/")
        if key:
            fields.setdefault(field, {})[key] = value
        else:
            fields[field] = _parsed(field, value)
    number = _entity_id(fields.get("id"))
    links = fields.get("sitelinks")
    if isinstance(links, list) and all(isinstance(each, str) for each in links):
        links = len(links)
    counted = links if isinstance(links, int) else 0
    return {
        "id": number,
        "type": "item" if number[:1] == "Q" else "other",
        "lastrevid": int(fields.get("revision") or 0),
        "labels": {key: _text(value) for key, value in _by_key("labels", fields).items()},
        "descriptions": {key: _text(value) for key, value in _by_key("descriptions", fields).items()},
        "aliases": {key: [_text(each) for each in _listed(value)] for key, value in _by_key("aliases", fields).items()},
        "claims": {
            key: [_statement(key, each) for each in _listed(value)]
            for key, value in _by_key("claims", fields).items()
            if property_number(key)
        },
        "sitelinks": {}
        if isinstance(links, int)
        else {
            key: {"title": value} if isinstance(value, str) else value
            for key, value in _by_key("sitelinks", fields).items()
        },
        "sitelink_count": counted,
    }


def _parsed(field: str, value: Any) -> Any:
    if not isinstance(value, str | bytes) or field not in _BY_KEY:
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as error:
        raise ValueError(f"{field} is text and no JSON: name a column a {_BY_KEY[field]}") from error


def _by_key(field: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by language, property or wiki, without nulls."""
    value, key = fields.get(field), _BY_KEY[field]
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        grouped: dict[str, list[Any]] = {}
        for each in value:
            if key not in each:
                raise ValueError(f"{field} has an entry without {key!r}")
            grouped.setdefault(each[key], []).append(each)
        return {name: group if field in ("aliases", "claims") else group[0] for name, group in grouped.items()}
    pairs = value.items() if isinstance(value, dict) else value or ()  # a map is a list of pairs
    try:
        return {name: _whole(there) for name, there in pairs if there is not None}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{field} is no map, struct or list of structs") from error


def _whole(value: Any) -> Any:
    """Return a value without the nulls of structs, whose fields are optional in the dumps' JSON."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items() if each is not None}
    return [_whole(each) for each in value if each is not None] if isinstance(value, list) else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> Any:
    return {"value": value} if isinstance(value, str) else value


def _statement(name: str, given: Any) -> dict[str, Any]:
    given = _whole(given)
    value, rank = (given.get("value"), given.get("rank", "normal")) if isinstance(given, dict) else (given, "normal")
    if isinstance(given, dict) and "mainsnak" in given:
        snak = given["mainsnak"]
        value = snak.get("datavalue") if isinstance(snak, dict) else None  # `wmde` makes text of a snak of one field
        if isinstance(value, dict) and "value" in value:
            return given
    if value is None:
        return {"mainsnak": {"snaktype": "novalue"}, "rank": rank}
    if name in _ITEMS and not isinstance(value, dict):
        value = {"id": _entity_id(value)}
    return {"mainsnak": {"datavalue": {"value": value}}, "rank": rank}


def _entity_id(value: Any) -> str:
    """Return an entity's id, such as `Q42`, from the id, its number, or its address."""
    if isinstance(value, int):
        return f"Q{value}"
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no id")
    return value.rpartition("/")[2]
