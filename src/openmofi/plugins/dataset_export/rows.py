"""The rows of a dataset with their images, streaming, and its classes: what every format is written from."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError

from openmofi.dataset.origin import Origin
from openmofi.dataset.tables import Folder
from openmofi.errors import OpenMofiError, UsageError
from openmofi.features.notes import noted_cache, noted_read
from openmofi.knowledge import KnowledgeBase
from openmofi.pairs import ImageRefused
from openmofi.pairs.images.decode import image_size
from openmofi.pairs.images.formats import HEIC
from openmofi.pairs.index import ImageBytes, places_of
from openmofi.pairs.log import PROVENANCE, logged
from openmofi.pairs.read_settings import ReadSettings
from openmofi.pairs.writer import extension_of
from openmofi.plugins.dataset_export import DatasetExportSettings
from openmofi.schema import PairStatus
from openmofi.search.incoming import metadata_of
from openmofi.storage import Shard, digits64, is_remote
from openmofi.storage.layouts import TARS

_DEPTH = 8


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset, by number.

    Attributes:
        ids: identifiers of the entities.
        names: as the vocabulary has them.
        unique: the same, with the identifier behind names that several have: for tools that tell classes by name.
        chains: names of what is above each class, the topmost first; empty without a knowledge base.
    """

    ids: Sequence[str]
    names: Sequence[str]
    unique: Sequence[str]
    chains: Sequence[tuple[str, ...]]

    @classmethod
    def of(cls, folder: Folder, kb: KnowledgeBase | None) -> Classes:
        """Read the classes of a dataset."""
        table = folder.vocabulary
        ids = table["id"].to_pylist()
        names = [name or entity for name, entity in zip(table["name"].to_pylist(), ids, strict=True)]
        seen = Counter(names)
        unique = [name if seen[name] == 1 else f"{name} ({entity})" for name, entity in zip(names, ids, strict=True)]
        taken = Counter(unique)
        unique = [name if taken[name] == 1 else entity for name, entity in zip(unique, ids, strict=True)]
        chains = [() if kb is None else _chain(kb, entity) for entity in ids]
        return cls(ids, names, unique, chains)


def _chain(kb: KnowledgeBase, entity: str) -> tuple[str, ...]:
    """Return one line of classes above an entity: each the nearest, which is the first that the base has."""
    line: list[str] = []
    seen, here = {entity}, entity
    while here in kb and len(line) < _DEPTH:
        above = next((each for each in kb.ancestors(here) if each not in seen), None)
        if above is None:
            break
        seen.add(above)
        line.append(kb[above].name)
        here = above
    return tuple(reversed(line))


_BATCH = 128
_NOT_PLAIN = re.compile(r"[^\w-]+")
_MOST = 80
_LOCAL = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|file:", re.IGNORECASE)
"""The beginning of a path that is of one machine."""
_NAMES = {
    "license": re.compile(r"licen[cs]|lizenz|licenza|rights|rechte|droits|derechos", re.I),
    "creator": re.compile(r"creator|author|artist|maker|photographer|urheber|künstler|fotogr|aut(?:or|eur)", re.I),
}
"""Columns of tables that say so."""
_USER = re.compile(r"//[^/@]*@")


@dataclass(frozen=True)
class ImageLabel:
    """A label of an image: class number, entity, name, probability."""

    class_id: int
    entity: str
    name: str
    probability: float


@dataclass(frozen=True)
class Row:
    """An image of the dataset.

    Attributes:
        shard, key, text: where it comes from, and its text.
        labels: the most probable first; at least one.
        image: encoded bytes; `None` where images are referred to.
        path: of the file that the image is; `""` where it lies inside a shard.
        source: address of the shard of pairs; of one on this machine the name, unless the image is referred to.
        below: `path` from the folder of the pairs on; `""` where it is not below it.
        noted: what the table, or the log beside the tar, says of where the image comes from
            (`openmofi.pairs.log.PROVENANCE`).
    """

    shard: str
    key: str
    text: str
    labels: tuple[ImageLabel, ...]
    image: bytes | None
    path: str
    source: str
    below: str = ""
    noted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """Return a name for files of this image: plain letters without a dot, unique in its shard."""
        plain = _NOT_PLAIN.sub("_", self.key).strip("_")[:_MOST]
        if plain and plain == self.key:
            return plain
        return f"{plain}-{digits64(os.fsencode(self.key))}"

    @property
    def extension(self) -> str:
        """Return the file extension of the image, without a dot."""
        if self.image is not None:
            return extension_of(self.image)
        return Path(self.path).suffix.lstrip(".").lower() or "jpg"

    def size(self) -> tuple[int, int]:
        """Return (width, height) in pixels from the image's header; (0, 0) where it cannot be read."""
        try:
            with Image.open(io.BytesIO(self.image) if self.image is not None else self.path) as image:
                return image.size
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError):
            return 0, 0

    def provenance(self) -> dict[str, Any]:
        """Return everything but the image, as JSON values."""
        return {
            "shard": self.shard,
            "key": self.key,
            "text": self.text,
            "source": self.source,
            **self.noted,
            "labels": [asdict(label) for label in self.labels],
        }


def rows_of(
    folder: Folder,
    shard: Shard,
    classes: Classes,
    settings: DatasetExportSettings,
    cache: Path,
    *,
    images: bool,
    by_address: bool,
) -> Iterator[Row]:
    """Yield the rows of a shard in their order, with a few images in memory at a time.

    Args:
        folder: of the dataset.
        shard: of pairs.
        classes: of the dataset.
        settings: see there.
        cache: for the positions of images.
        images: whether the format takes images; without, `image` and `path` are empty and the shard is not read.
        by_address: whether a row can name a shard and a key in place of a file.

    Raises:
        UsageError: images are to be referred to and lie inside a shard, where the format needs files.
        OpenMofiError: the shard or an image is missing or cannot be read, or the shard has changed since it was
            labelled.
    """
    table = folder.read(shard)
    origin = Origin.parse(folder.file(shard), pq.read_metadata(folder.file(shard)).metadata)
    if images:
        origin.require_same(shard, shard.fingerprint)
    noted = noted_read(folder.path), noted_cache(folder.path)
    locations = places_of(shard, table["key"], cache, *noted) if images and len(table) else None
    reader, log = ImageBytes(), _provenance(shard, noted[0])
    try:
        for start in range(0, len(table), _BATCH):
            part = table.slice(start, _BATCH).to_pylist()
            contents = (
                _images(reader, shard, locations.slice(start, _BATCH), settings, by_address)
                if locations is not None
                else [(None, "")] * len(part)
            )
            if images:
                origin.require_seen(
                    shard,
                    {
                        start + number: (row["key"], data)
                        for number, (row, (data, _)) in enumerate(zip(part, contents, strict=True))
                        if data is not None
                    },
                )
            for row, (data, path) in zip(part, contents, strict=True):
                labels = tuple(
                    ImageLabel(number, entity, classes.unique[number], float(score))
                    for number, entity, score in zip(row["classes"], row["entities"], row["scores"], strict=True)
                    if score >= settings.min_probability
                )
                if labels:
                    made = Row(
                        shard.name,
                        row["key"],
                        row["text"],
                        labels,
                        data,
                        path,
                        shard.path,
                        _below(path, shard.path),
                        log.get(row["key"], {}),
                    )
                    yield _portable(made, settings, images=images, by_address=by_address)
    finally:
        reader.close()


def _provenance(shard: Shard, read: ReadSettings) -> dict[str, dict[str, str]]:
    """Return key → `PROVENANCE`, by the log beside a tar, or by columns of a table for licence and creator."""
    if shard.path.endswith(TARS):
        rows = logged(shard.path)
        return {key: {name: str(said) for name, said in row.items() if name in PROVENANCE} for key, row in rows.items()}
    found = {}
    for key, row in metadata_of(shard.path, read).items():
        named = {what: [row[name] for name in row if names.search(name)] for what, names in _NAMES.items()}
        found[key] = {what: str(said[0]) for what, said in named.items() if said}
    return found


def _below(path: str, source: str) -> str:
    root = Path(source) if Path(source).is_dir() else Path(source).parent
    inside = path and Path(path).is_relative_to(root) and ".." not in Path(path).parts
    return str(Path(path).relative_to(root)) if inside else ""


def _portable(row: Row, settings: DatasetExportSettings, *, images: bool, by_address: bool) -> Row:
    """Return the row without paths of this machine where its image comes along; without any where it is pushed."""
    if images and row.image is None and not settings.repository:
        return row
    row = replace(row, source=_without_machine(row.source))
    if not settings.repository:
        return row
    return replace(
        row,
        key=f"{digits64(os.fsencode(row.key))}-{_without_machine(row.key)}" if _LOCAL.match(row.key) else row.key,
        path="" if by_address else row.path,  # formats of files link to it, and the link's content is uploaded
        noted={name: _without_machine(said) if _LOCAL.match(said) else said for name, said in row.noted.items()},
    )


def _without_machine(address: str) -> str:
    """Return a store's address without a user, a password or a query; of a local path its last part."""
    if is_remote(address) and not _LOCAL.match(address):
        return _USER.sub("//", address).partition("?")[0]
    return re.split(r"[/\\]", address.rstrip("/\\"))[-1]


def _images(
    reader: ImageBytes, shard: Shard, locations: Any, settings: DatasetExportSettings, by_address: bool
) -> list[tuple[Any, str]]:
    """Return (bytes, path) of each image; bytes are `None` where it is referred to."""
    files = locations["file"].to_pylist()
    sizes = locations["size"].to_numpy()
    paths = [os.fsdecode(file) if file and size < 0 else "" for file, size in zip(files, sizes, strict=True)]
    if settings.images == "reference" and not by_address and not all(paths):
        raise UsageError(
            f"The images of {shard.path} lie inside it, and {settings.format} needs files.",
            "Use --images embed, or --images auto.",
        )
    if gone := next((path for path in paths if path and not is_remote(path) and not Path(path).is_file()), ""):
        raise OpenMofiError(f"The image {gone} of {shard.path} is gone.", "Put it back, or label the pairs again.")
    fetched = [settings.images == "embed" or (settings.images == "auto" and not path) for path in paths]
    wanted = [number for number, fetch in enumerate(fetched) if fetch]
    data = reader.fetch(
        shard, [files[number] for number in wanted], locations["offset"].to_numpy()[wanted], sizes[wanted]
    )
    by_number = dict(zip(wanted, data, strict=True))
    for number, image in by_number.items():
        if paths[number]:
            _require_image(paths[number], image, shard)
    return [(by_number.get(number), path) for number, path in enumerate(paths)]


def _require_image(path: str, data: bytes, shard: Shard) -> None:
    """Refuse a file that is not an image: a table of others may name any that you can read."""
    try:
        image_size(data)
    except ImageRefused as refused:
        if refused.format != HEIC and refused.status != PairStatus.IMAGE_TOO_LARGE:
            raise OpenMofiError(
                f"{path}, which {shard.path} names, is not an image: {refused.why}.",
                "Put the image back, or label the pairs again.",
            ) from refused


def require_files(row: Row) -> Row:
    """Refuse a row whose image is only referred to, for formats that store encoded images.

    Raises:
        UsageError: its image is referred to.
    """
    if row.image is None:
        raise UsageError("WebDataset's shards hold the images themselves.", "Leave --images reference out.")
    return row
