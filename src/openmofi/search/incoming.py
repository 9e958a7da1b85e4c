"""Sources of an index: images with their location, text, metadata and labels."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from openmofi.config import settings_from
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError
from openmofi.pairs import ReadSettings, read_pairs
from openmofi.pairs.formats.columns import find_columns
from openmofi.pairs.formats.delimited import read_records
from openmofi.pairs.formats.folder import table_of
from openmofi.pairs.formats.parquet import DAMAGE, names_files, raise_if_of_machine
from openmofi.pairs.formats.streams import compression_of
from openmofi.pairs.formats.tar import locate_images
from openmofi.pairs.log import logged
from openmofi.pairs.read_settings import open_source
from openmofi.schema import Pair, PairStatus
from openmofi.storage import MANIFEST, TABLES, Shard, exists, expand_shards, file_fingerprint, fingerprint, is_remote
from openmofi.storage.layouts import TARS

_OF_TEXT = (PairStatus.TEXT_MISSING, PairStatus.TEXT_EMPTY, PairStatus.TEXT_INVALID, PairStatus.TEXT_TOO_LONG)


@dataclass(frozen=True)
class JudgedEntity:
    """An entity of an image as the label job judged it: see `openmofi.schema.JUDGEMENT`."""

    entity: str
    probability: float
    accepted: bool
    link_score: float


@dataclass(frozen=True)
class Incoming:
    """An image that comes in.

    Attributes:
        key, copy: `copy` is 0, or 1, 2 … where its source repeats the key.
        text, url, columns: what is said of it.
        status: `OK`, or why it cannot be used, before its bytes were looked at.
        file: its path as of `os.fsencode`; `None` where it lies in the shard.
        size, mtime, offset: see `schema.sql`.
        read: its encoded bytes, or the status that says why there are none; thread-safe.
        labels: of its pair.
    """

    key: str
    copy: int
    text: str
    url: str
    columns: Mapping[str, Any]
    status: PairStatus
    file: bytes | None
    size: int
    mtime: int
    offset: int
    read: Callable[[], bytes | PairStatus]
    labels: tuple[JudgedEntity, ...] = ()


@dataclass(frozen=True)
class Source:
    """A shard, table or folder whose images come in.

    Attributes:
        shard: where it lies.
        settings: how it is read.
        labels: the folder of labels that it was judged in; `None` for none.
    """

    shard: Shard
    settings: ReadSettings = ReadSettings()
    labels: Folder | None = None

    @property
    def of_files(self) -> bool:
        """Whether each image is a file of its own."""
        path = self.shard.path
        return not path.endswith(TARS) and not (path.endswith(".parquet") and not names_files(path, self.settings))

    def stamp(self) -> str:
        """A stamp that changes with the content or the labels; empty for files, which are looked at one by one.

        Raises:
            OpenMofiError: it cannot be read.
        """
        if self.of_files:
            return ""
        labels = file_fingerprint(self.labels.file(self.shard)) if self.labels else ""
        return fingerprint([self.shard.fingerprint, asdict(self.settings), labels])

    def images(self) -> Iterator[Incoming]:
        """Iterate over the images in their order; each row of the source once.

        Raises:
            OpenMofiError: it cannot be read.
        """
        labels = _labels(self.labels, self.shard) if self.labels else {}
        described = metadata_of(self.shard.path, self.settings)
        copies: Counter[str] = Counter()
        for item in self._files() if self.of_files else self._members():
            copy = copies[item.key]
            copies[item.key] += 1
            if copy:
                yield replace(item, copy=copy)
            else:
                yield replace(item, columns=described.get(item.key, {}), labels=labels.get(item.key, ()))

    def _files(self) -> Iterator[Incoming]:
        for pair in read_pairs(self.shard, self.settings, paths_only=True, texts=True):
            if pair.image is None:
                yield _incoming(pair, size=-1)
                continue
            size, mtime = _stat(pair.image)
            read = partial(_read_file, pair.image, self.settings.max_image_bytes)
            yield _incoming(pair, file=pair.image, size=size, mtime=mtime, read=read)

    def _members(self) -> Iterator[Incoming]:
        offsets = _offsets(self.shard.path)
        for pair in read_pairs(self.shard, self.settings):
            offset, size = offsets.get(pair.key, (-1, -1 if pair.image is None else len(pair.image)))
            yield _incoming(pair, size=size, offset=offset)


def sources_of(inputs: Sequence[str], settings: ReadSettings) -> list[Source]:
    """Return the sources that inputs name: shards, folders of images, or folders of labels, whose shards these are.

    Raises:
        UsageError: an input matches nothing.
        OpenMofiError: labels that are not finished, or whose shards have changed since.
    """
    sources: list[Source] = []
    for given in inputs:
        if not given.endswith((*TABLES, *TARS, ".parquet")) and exists(f"{given}/{MANIFEST}"):
            sources += _labelled(Folder.open(given, "labels"))
        else:
            sources += [Source(shard, settings) for shard in expand_shards([given])]
    return list({source.shard.path: source for source in sources}.values())


def _labelled(folder: Folder) -> list[Source]:
    read = settings_from(ReadSettings(), values=folder.manifest.settings.get("read"))
    for shard in folder.shards:
        if folder.manifest.inputs.get(shard.name, shard.fingerprint) != shard.fingerprint:
            raise OpenMofiError(
                f"{shard.path} has changed since it was labelled.", "Put the old shard back, or label the pairs again."
            )
    return [Source(shard, read, folder) for shard in folder.shards]


def _labels(folder: Folder, shard: Shard) -> dict[str, tuple[JudgedEntity, ...]]:
    """Key → judged entities; of an entity that several mentions mean the likeliest."""
    judged: dict[str, tuple[JudgedEntity, ...]] = {}
    table = folder.read(shard, ["key", "entities"])
    for key, entities in zip(table["key"].to_pylist(), table["entities"].to_pylist(), strict=True):
        best: dict[str, JudgedEntity] = {}
        for row in sorted(entities or (), key=lambda row: (row["accepted"], row["probability"])):
            best[row["entity"]] = JudgedEntity(row["entity"], row["probability"], row["accepted"], row["link_score"])
        if key not in judged:
            judged[key] = tuple(best.values())
    return judged


def metadata_of(path: str, settings: ReadSettings) -> dict[str, dict[str, Any]]:
    """Return key → what a table's further columns say, or the log beside a tar; numbers, texts and dates only."""
    if path.endswith(".parquet"):
        return _parquet_metadata(path, settings)
    if path.endswith(TARS):
        return {
            key: {name: said for name, said in row.items() if name != "url" and _is_plain(said)}
            for key, row in logged(path).items()
        }
    table = path if path.endswith(TABLES) else None if is_remote(path) else _table_in(path)
    if table is None:
        return {}
    rows: dict[str, dict[str, Any]] = {}
    columns = None
    for names, row in read_records(table, settings):
        columns = columns or find_columns(table, names, settings)
        key = row.get(columns.key) if columns.key else row.get(columns.image)
        others = set(names) - set(columns.all())
        rows.setdefault(str(key), {name: row[name] for name in names if name in others and _is_plain(row.get(name))})
    return rows


def _table_in(folder: str) -> str | None:
    """The table that `read_folder` takes."""
    name = table_of(folder, sorted(path.name for path in Path(folder).iterdir()))
    return f"{folder.rstrip('/')}/{name}" if name else None


def _parquet_metadata(path: str, settings: ReadSettings) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    with open_source(path) as handle:
        try:
            table = pq.ParquetFile(handle)
            columns = find_columns(path, table.schema_arrow.names, settings)
            plain = (field.name for field in table.schema_arrow if _holds_plain(field.type))
            others = [name for name in plain if name not in columns.all()]
            for batch in table.iter_batches(columns=others + ([columns.key] if columns.key else [])) if others else ():
                for row in batch.to_pylist():
                    key = str(row[columns.key]) if columns.key else f"{len(rows):09d}"
                    rows[key] = {name: row[name] for name in others if _is_plain(row[name])}
        except DAMAGE as error:
            raise_if_of_machine(error)
            raise OpenMofiError(f"{path} is damaged: {error}.", "Fetch the file again.") from error
    return rows


def _holds_plain(kind: pa.DataType) -> bool:
    """Whether a column may hold what `_is_plain`: images in further columns are not read for it."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    of_text = {pa.string(), pa.large_string(), pa.string_view(), pa.bool_()}
    return kind in of_text or pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _is_plain(value: Any) -> bool:
    with suppress(TypeError, ValueError):
        return isinstance(value, str | int | float) and value != "" and bool(json.dumps(value, allow_nan=False))
    return False


def _offsets(path: str) -> dict[str, tuple[int, int]]:
    """Key → offset and size in an uncompressed tar on a local disk; nothing of any other shard."""
    if not path.endswith(TARS) or is_remote(path):
        return {}
    with open_source(path) as file:
        if compression_of(file.read(8)) is not None:
            return {}
    return {key: (offset, size) for key, offset, size in locate_images(path)}


def _incoming(
    pair: Pair,
    *,
    size: int,
    file: bytes | None = None,
    mtime: int = 0,
    offset: int = -1,
    read: Callable[[], bytes | PairStatus] | None = None,
) -> Incoming:
    """The image of a pair; without `read` with the bytes that the pair has."""
    status = PairStatus.OK if pair.status in _OF_TEXT else pair.status  # what is wrong with a text does not matter
    content = status if pair.image is None or status is PairStatus.DUPLICATE_KEY else pair.image
    return Incoming(pair.key, 0, pair.text, pair.url, {}, status, file, size, mtime, offset, read or (lambda: content))


def _stat(file: bytes) -> tuple[int, int]:
    try:
        stat = Path(os.fsdecode(file)).stat()
        return stat.st_size, stat.st_mtime_ns
    except (OSError, ValueError):
        return -1, 0


def _read_file(file: bytes, limit: int) -> bytes | PairStatus:
    try:
        with open_source(os.fsdecode(file)) as handle:
            data = handle.read(limit + 1)
    except OpenMofiError:
        return PairStatus.IMAGE_MISSING
    return PairStatus.IMAGE_TOO_LARGE if len(data) > limit else data
