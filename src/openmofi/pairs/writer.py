"""Writes pairs as tar shards in img2dataset's WebDataset layout; equal pairs give equal bytes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmofi.pairs.formats.grouping import split_name
from openmofi.pairs.images.formats import HEIC, unread_format
from openmofi.storage import atomic_path

_MAGIC = (
    (b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF8", "gif"), (b"BM", "bmp"),
    (b"II*\0", "tif"), (b"MM\0*", "tif"),
)


@dataclass(frozen=True)
class Record:
    """A pair to be written.

    Attributes:
        key: no dots in its last part; unique in the shard.
        image: encoded bytes, kept as they are; the extension follows from them (`jpg` for an unknown format).
        text: the caption; `None` writes no `.txt`.
        about: what goes into `.json`, besides `key` and `caption`; `None` writes no `.json`.
    """

    key: str
    image: bytes | None
    text: str | None
    about: Mapping[str, Any] | None = field(default_factory=dict)


def extension_of(image: bytes) -> str:
    """The extension by which img2dataset would name these bytes."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    if image[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    if unread_format(image) == HEIC:
        return "heic"
    return next((extension for magic, extension in _MAGIC if image.startswith(magic)), "jpg")


def write_tar(path: str | Path, pairs: Iterable[Record]) -> int:
    """Write a shard atomically and return the number of pairs. Times and owners are zero.

    Raises:
        ValueError: a key that the reader would read as another one, or a duplicate key.
        OpenMofiError: `path` cannot be written.
    """
    seen: set[str] = set()
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
        for pair in pairs:
            if split_name(f"{pair.key}.x") != (pair.key, "x") or pair.key.startswith("/") or "\0" in pair.key:
                raise ValueError(f"{pair.key!r} cannot be a key in a tar shard")
            if pair.key in seen:
                raise ValueError(f"duplicate key {pair.key!r}")
            seen.add(pair.key)
            for extension, content in _members(pair):
                header = tarfile.TarInfo(f"{pair.key}.{extension}")
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
    return len(seen)


def _members(pair: Record) -> list[tuple[str, bytes]]:
    members = []
    if pair.image is not None:
        members.append((extension_of(pair.image), pair.image))
    if pair.about is not None:
        about = {**pair.about, "key": pair.key, "caption": pair.text}
        members.append(("json", json.dumps(about, sort_keys=True, ensure_ascii=False).encode()))
    if pair.text is not None:
        members.append(("txt", pair.text.encode()))
    return members
