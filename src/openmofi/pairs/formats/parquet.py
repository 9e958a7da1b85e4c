"""Pairs from Parquet: image bytes, Hugging Face's `{bytes, path}`, or paths of files beside the table."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs.formats.columns import COLLECTION, PairColumns, find_columns, name_it
from openmofi.pairs.formats.files import ImageFiles
from openmofi.pairs.formats.grouping import MemberContent, RowPairs
from openmofi.pairs.read_settings import RAISE_RATIO, Damage, ReadSettings, open_source, report_damage
from openmofi.pairs.text import identifier, printable
from openmofi.schema import Pair

_MOST_ROWS = 128
_HELD = 64 << 20
"""Bytes that the rows of a batch may take, as far as the footer tells before they are read."""
_LARGE = 1 << 30
_STREAMED = 1 << 20
_ALLOWANCE = 64 << 20
_ASKED = re.compile(r"of size (\d+) failed")
_Row = tuple[str, MemberContent | None, Any, Any]
# Names of columns that are not UTF-8 come as a plain ValueError.
DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What Arrow raises where a file is damaged."""


def read_parquet(
    path: str, settings: ReadSettings, opening: Callable[[str], IO[bytes]] = open_source, *, paths_only: bool = False
) -> Iterator[Pair]:
    """Yield a Parquet file's rows in order, a batch of a row group in memory at a time.

    Texts are strings, bytes or numbers, plain, dictionary-encoded or as views, or lists of them, of which the first
    counts (NaN is none); the key is the key column's value, or the row's number (nine digits) where there is none. For
    paths of images see `ImageFiles`; one that leaves the folder is `IMAGE_MISSING`. With `paths_only`, where the image
    column holds paths, an image's content is its path (as of `os.fsencode`), and no image is opened.

    Raises:
        OpenMofiError: it does not exist, is not Parquet, or is damaged after the pairs before the damage
            (`on_damage="stop"`).
        UsageError: no text or image column was recognised, or one is of a type that holds no texts or images.
        OSError: reading failed on the way; trying again may help.
    """
    count = 0
    rows, files = RowPairs(settings), ImageFiles(path, settings, paths_only=paths_only)
    with opening(path) as handle:
        try:
            table = pq.ParquetFile(handle, buffer_size=_STREAMED, pre_buffer=False)
            columns = find_columns(path, table.schema_arrow.names, settings)
            read = Batches.of(path, table.schema_arrow, columns, settings)
            for group in range(table.num_row_groups):
                for batch in table.iter_batches(
                    _rows_at_once(table, group, columns, settings), [group], columns.all(), use_threads=False
                ):
                    for row in read.rows(batch, count, files):
                        yield rows.pair(*row)
                        count += 1
            rows.report_useless(path, files.unread)
        except Damage as damage:
            report_damage(f"{path} is damaged after {count} pairs: {damage}.", settings, damage, damage.hint)
        except DAMAGE as error:
            raise_if_of_machine(error, believable_size(handle, settings))
            if not count:
                raise _not_parquet(path, error) from error
            report_damage(f"{path} is damaged after {count} pairs: {error}.", settings, error)


def _rows_at_once(table: pq.ParquetFile, group: int, columns: PairColumns, settings: ReadSettings) -> int:
    """Return how many rows of a row group to read at once, to hold no more than `_HELD`, but at least one.

    A value in a dictionary of the file takes its size once there, and as often as it stands in the rows here.

    Raises:
        Damage: a column unpacks to more than is believable.
    """
    _require_sound(table, group, columns)
    meta, most = table.metadata.row_group(group), _MOST_ROWS
    for number in range(meta.num_columns):
        path = table.schema.column(number).path
        name = next((name for name in columns.all() if path == name or path.startswith(f"{name}.")), None)
        if name is None:
            continue
        chunk = meta.column(number)
        size, packed = max(chunk.total_uncompressed_size, 1), max(chunk.total_compressed_size, 0)
        if size > max(_ALLOWANCE, settings.max_unpack_ratio * packed):
            raise Damage(
                f"the column {name!r} of its row group {group} unpacks to more than "
                f"{settings.max_unpack_ratio} times as much",
                RAISE_RATIO,
            )
        repeats = any("DICTIONARY" in encoding for encoding in chunk.encodings) and not pa.types.is_dictionary(
            table.schema_arrow.field(name).type
        )
        of_row = size if repeats or size > _LARGE else size // max(meta.num_rows, 1)
        most = min(most, _HELD // max(of_row, 1))
    return max(most, 1)


class _Unread(io.RawIOBase):
    """A large file that raises `Asked` instead of being read."""

    class Asked(Exception):
        """Content was asked for."""

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return offset

    def tell(self) -> int:
        return 1 << 62

    def read(self, size: int = -1) -> bytes:
        raise self.Asked


def _require_sound(table: pq.ParquetFile, group: int, columns: PairColumns) -> None:
    """Refuse a row group whose columns are described by what Arrow aborts the process for.

    `RowGroupMetaData.column` does not catch what the description's checks throw; a reader does, before it reads.

    Raises:
        ArrowException, OSError: they are.
    """
    reader = pq.ParquetFile(_Unread(), metadata=table.metadata, buffer_size=_STREAMED, pre_buffer=False)
    with contextlib.suppress(_Unread.Asked):
        next(reader.iter_batches(1, [group], columns.all(), use_threads=False), None)


@dataclass(frozen=True)
class Batches:
    """Reads Arrow's batches of one schema as rows of pairs."""

    columns: PairColumns
    by_path: bool
    max_text_chars: int

    @classmethod
    def of(cls, path: str, schema: pa.Schema, columns: PairColumns, settings: ReadSettings) -> Batches:
        """Check the columns' types.

        Raises:
            UsageError: one holds no texts or images.
        """
        by_path = _by_path(path, schema.field(columns.image))
        _check_types(path, schema, columns)
        return cls(columns, by_path, settings.max_text_chars)

    def rows(self, batch: pa.RecordBatch, number: int, files: ImageFiles) -> Iterator[_Row]:
        """Yield key, image, text and address of each row; row numbers, from `number` on, are keys without a column."""
        columns, names = self.columns, self.columns.all()
        for values in zip(*(_cells(batch.column(name)) for name in names), strict=True):
            row = dict(zip(names, values, strict=True))
            key, url = (identifier(row[name]) if name else None for name in (columns.key, columns.url))
            yield (
                f"{number:09d}" if key is None else printable(key),
                _image(row[columns.image], self.by_path, files),
                columns.text_in(row, self.max_text_chars),
                url,
            )
            number += 1


def names_files(path: str, settings: ReadSettings) -> bool:
    """Whether the image column holds paths and nothing else, so that the images are files beside the table.

    Raises:
        OpenMofiError: as `read_parquet`.
    """
    with open_source(path) as handle:
        try:
            schema = pq.ParquetFile(handle).schema_arrow
        except DAMAGE as error:
            raise _not_parquet(path, error) from error
    return _by_path(path, schema.field(find_columns(path, schema.names, settings).image))


def _not_parquet(path: str, error: Exception) -> OpenMofiError:
    return OpenMofiError(f"{path} is not a Parquet file, or damaged: {error}.", "Fetch the file again.")


def raise_if_of_machine(error: Exception, believable: int | None = None) -> None:
    """Raise an error again that a shortage or failure of the machine caused, which is no damage.

    Memory is not short where a file asks for more than is `believable` of it.
    """
    # Arrow reports damaged pages as OSError too, but without an error number of the system.
    if isinstance(error, MemoryError):
        allocation = _ASKED.search(str(error))
        if believable is None or allocation is None or int(allocation[1]) <= believable:
            raise error
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def believable_size(handle: IO[bytes], settings: ReadSettings) -> int:
    """Return how many bytes the content of an opened file may unpack to."""
    return max(_ALLOWANCE, settings.max_unpack_ratio * handle.seek(0, 2))


def _by_path(path: str, field: pa.Field) -> bool:
    """Whether the image column holds paths (else bytes or `{bytes, path}`)."""
    kind = _value_type(field.type)
    if pa.types.is_struct(kind):
        types = {kind.field(i).name: _value_type(kind.field(i).type) for i in range(kind.num_fields)}
        if (
            types.keys() & {"bytes", "path"}
            and _is_bytes(types.get("bytes", pa.null()))
            and _is_text(types.get("path", pa.null()))
        ):
            return False
    elif pa.types.is_null(kind) or _is_bytes(kind):
        return False
    elif _is_text(kind):
        return True
    raise UsageError(
        f"The column {field.name!r} of {path} is {field.type}, not bytes, a path or {{bytes, path}}.",
        name_it("image", path),
    )


def _check_types(path: str, schema: pa.Schema, columns: PairColumns) -> None:
    for text in (columns.text, *columns.more_texts):
        kind = schema.field(text).type
        single = _value_type(kind.value_type if _is_list(kind) else kind)
        if not (_is_text(single) or pa.types.is_integer(single) or pa.types.is_floating(single)):
            raise UsageError(
                f"The column {text!r} of {path} is {kind}, not text, a number or a list of texts.",
                name_it("text", path),
            )
    for what, name in (("key", columns.key), ("url", columns.url)):
        if name and name not in COLLECTION and pa.types.is_nested(schema.field(name).type):
            raise UsageError(
                f"The column {name!r} of {path} is {schema.field(name).type}, not text or a number.",
                name_it(what, path),
            )


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _is_text(kind: pa.DataType) -> bool:
    """Whether a type holds strings, bytes that are read as UTF-8, or nothing at all."""
    types = pa.types
    return (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_null(kind)
        or _is_bytes(kind)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def require_sound(batch: pa.RecordBatch) -> None:
    """Check a batch that was read as it stands in a file: its offsets and indices may point anywhere.

    Raises:
        pa.ArrowInvalid: it is damaged.
    """
    for column in batch.columns:
        column.validate()
        column.view(_as_bytes(column.type)).validate(full=True)  # strings that are not UTF-8 are no damage


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """Return the type of the same layout whose strings are bytes."""
    types = pa.types
    if types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _as_bytes(kind.value_type))
    if types.is_string(kind):
        return pa.binary()
    if types.is_string_view(kind):
        return pa.binary_view()
    if types.is_large_string(kind):
        return pa.large_binary()
    if _is_list(kind):
        value = kind.field(0).with_type(_as_bytes(kind.value_type))
        return (
            pa.large_list(value)
            if types.is_large_list(kind)
            else pa.list_(value, kind.list_size if types.is_fixed_size_list(kind) else -1)
        )
    if types.is_struct(kind):
        return pa.struct([kind.field(i).with_type(_as_bytes(kind.field(i).type)) for i in range(kind.num_fields)])
    return kind


def _cells(column: pa.Array) -> Iterator[Any]:
    """Yield the values of a column; a value in a dictionary is one object however often it comes."""
    if not pa.types.is_dictionary(column.type):
        yield from map(_cell, column)
        return
    values: dict[int, Any] = {}
    for index in column.indices:
        row = index.as_py()
        if row is not None and row not in values:
            values[row] = _cell(column.dictionary[row])
        yield None if row is None else values[row]


def _cell(scalar: pa.Scalar) -> Any:
    """A value as Python has it; strings as bytes, since they are not always UTF-8, of a list the first, of a map
    nothing: no more of a row is copied than is used.
    """
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_dictionary(kind):
        return _cell(scalar.value)
    if _is_text(kind):
        return scalar.as_buffer().to_pybytes()
    if pa.types.is_struct(kind):
        return {name: _cell(scalar[name]) for name in ("bytes", "path") if kind.get_field_index(name) >= 0}
    if _is_list(kind):
        return [_cell(value) for value in scalar.values[:1]]
    return {} if pa.types.is_nested(kind) else scalar.as_py()


def _image(value: Any, by_path: bool, files: ImageFiles) -> MemberContent | None:
    if isinstance(value, dict):
        data, path = value.get("bytes"), value.get("path")
    else:
        data, path = (None, value) if by_path else (value, None)
    if data is not None:
        return files.within_limit(data)
    return files.image(os.fsdecode(path)) if path is not None else None
