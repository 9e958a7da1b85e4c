"""Pairs from Parquet: image bytes, Hugging Face's `{bytes, path}`, or paths of files beside the table."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs.formats.columns import find_columns
from openmofi.pairs.formats.files import ImageFiles
from openmofi.pairs.formats.grouping import Content, RowPairs
from openmofi.pairs.read_settings import ReadSettings
from openmofi.pairs.source import open_source, report_damage
from openmofi.pairs.text import printable
from openmofi.schema import Pair

_BATCH = 128
# Names of columns that are not UTF-8 come as a plain ValueError.
_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError)


def read_parquet(path: str, settings: ReadSettings, *, paths_only: bool = False) -> Iterator[Pair]:
    """Yield a Parquet file's rows in order, a batch of a row group in memory at a time.

    The key is the key column's value, or the row's number (nine digits) where there is none. Paths of images
    are relative to the file's folder and may not leave it (`IMAGE_MISSING`). With `paths_only`, where the image column
    holds paths, an image's content is its path (as of `os.fsencode`), and no image is opened.

    Raises:
        OpenMofiError: it does not exist, is not Parquet, or is damaged after the pairs before the damage
            (`on_damage="stop"`).
        UsageError: no text or image column was recognised.
        OSError: reading failed on the way; trying again may help.
    """
    count = 0
    rows, files = RowPairs(settings), ImageFiles(path.rpartition("/")[0] or ".", settings, paths_only=paths_only)
    with open_source(path) as handle:
        try:
            table = pq.ParquetFile(handle)
            columns = find_columns(path, table.schema_arrow.names, settings)
            by_path = _by_path(path, table.schema_arrow.field(columns.image))
            for batch in table.iter_batches(batch_size=_BATCH, columns=columns.all()):
                for row in _plain(batch).to_pylist():
                    key, url = (row[name] if name else None for name in (columns.key, columns.url))
                    shown = f"{count:09d}" if key is None else printable(key)
                    yield rows.pair(shown, _image(row[columns.image], by_path, files), row[columns.text], url)
                    count += 1
        except _DAMAGE as error:
            # Arrow reports damaged pages as OSError too, but without an error number of the system.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            if not count:
                raise _not_parquet(path, error) from error
            report_damage(f"{path} is damaged after {count} pairs: {error}.", settings, error)


def count_parquet(path: str) -> int:
    """The number of rows, from the footer.

    Raises:
        OpenMofiError: it does not exist or is not Parquet.
    """
    with open_source(path) as handle:
        try:
            return int(pq.ParquetFile(handle).metadata.num_rows)
        except _DAMAGE as error:
            raise _not_parquet(path, error) from error


def names_files(path: str, settings: ReadSettings) -> bool:
    """Whether the image column holds paths and nothing else, so that the images are files beside the table.

    Raises:
        OpenMofiError: as `read_parquet`.
    """
    with open_source(path) as handle:
        try:
            schema = pq.ParquetFile(handle).schema_arrow
        except _DAMAGE as error:
            raise _not_parquet(path, error) from error
    return _by_path(path, schema.field(find_columns(path, schema.names, settings).image))


def _not_parquet(path: str, error: Exception) -> OpenMofiError:
    return OpenMofiError(f"{path} is not a Parquet file, or damaged: {error}.", "Fetch the file again.")


def _by_path(path: str, field: pa.Field) -> bool:
    """Whether the image column holds paths (else bytes or `{bytes, path}`)."""
    kind = _as_bytes(field.type) if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_struct(kind):
        if {kind.field(i).name for i in range(kind.num_fields)} & {"bytes", "path"}:
            return False
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind != field.type:
        return True
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind):
        return False
    raise UsageError(f"The column {field.name!r} of {path} is {kind}, not bytes, a path or {{bytes, path}}.",
                     "Name another with image_column.")


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    # Strings in Parquet are not always UTF-8; as bytes they reach us without an exception.
    columns = [column.cast(_as_bytes(column.type)) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _as_bytes(kind.value_type)
    if pa.types.is_string(kind):
        return pa.binary()
    if pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_list(kind):
        return pa.list_(_as_bytes(kind.value_type))
    return kind


def _image(value: Any, by_path: bool, files: ImageFiles) -> Content | None:
    if isinstance(value, dict):
        data, path = value.get("bytes"), value.get("path")
    else:
        data, path = (None, value) if by_path else (value, None)
    if data is not None:
        return files.within_limit(data)
    return files.image(os.fsdecode(path)) if path is not None else None
