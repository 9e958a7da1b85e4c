"""Writes pairs as tar shards in img2dataset's WebDataset layout; equal pairs give equal bytes."""

import io
import json
import logging
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmofi.pairs.formats.grouping import split_name
from openmofi.pairs.images.formats import HEIC, unread_format
from openmofi.schema import Pair, PairStatus
from openmofi.storage import atomic_path

_MAGIC = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
)

_NOT_WRITTEN = frozenset(
    {PairStatus.TEXT_TOO_LONG, PairStatus.TEXT_INVALID, PairStatus.IMAGE_TOO_LARGE, PairStatus.IMAGE_BROKEN}
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """A pair to be written.

    Attributes:
        key: no dots in its last part; unique in the shard.
        image: encoded bytes, kept as they are; the extension follows from them (`jpg` for an unknown format).
        text: the caption; `None` writes no `.txt`.
        about: what goes into `.json`, besides `key` and `caption`; `None` writes no `.json`.
        more: further members by their extension, such as `cls`.
    """

    key: str
    image: bytes | None
    text: str | None
    about: Mapping[str, Any] | None = field(default_factory=dict)
    more: Mapping[str, bytes] = field(default_factory=dict)


def extension_of(image: bytes) -> str:
    """Return the extension by which img2dataset would name these bytes."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    if image[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    if unread_format(image) == HEIC:
        return "heic"
    return next((extension for magic, extension in _MAGIC if image.startswith(magic)), "jpg")


def write_tar(path: str | Path, pairs: Iterable[Record | Pair]) -> int:
    """Write a shard atomically and return the number of pairs. Times and owners are zero.

    Pairs of any shard can be written as they are read, `write_tar("a.tar", read_pairs(shard))`: each row becomes a row
    again. The dots in a key such as `images/1.png`, which a tar cannot hold, become `%2E`. What the reader has refused
    (a text that is too long, an image that is too large) is written as far as it was read, and a log warning says so.

    Raises:
        ValueError: a key that the reader would read as another one, or a duplicate key that was not read as one.
        OpenMofiError: `path` cannot be written.
    """
    seen: set[str] = set()
    count, changed = 0, Counter[str]()
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
        for pair in pairs:
            record = _record(pair) if isinstance(pair, Pair) else pair
            _check_key(record.key, seen, isinstance(pair, Pair) and pair.status is PairStatus.DUPLICATE_KEY)
            for extension, content in _members(record):
                header = tarfile.TarInfo(f"{record.key}.{extension}")
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
            count += 1
            if isinstance(pair, Pair) and pair.status in _NOT_WRITTEN:
                changed[pair.status] += 1
    if changed:
        _log.warning(
            "%s has rows that will no longer be read as %s.",
            path,
            ", ".join(f"{status} ({rows})" for status, rows in sorted(changed.items())),
        )
    return count


def _check_key(key: str, seen: set[str], known_duplicate: bool) -> None:
    if split_name(f"{key}.x") != (key, "x") or key.startswith("/") or "\0" in key:
        raise ValueError(f"{key!r} cannot be a key in a tar shard")
    if key in seen and not known_duplicate:
        raise ValueError(f"duplicate key {key!r}")
    seen.add(key)


def _record(pair: Pair) -> Record:
    folder, slash, name = pair.key.rpartition("/")
    text = None if pair.status is PairStatus.TEXT_MISSING else pair.text
    return Record(
        f"{folder}{slash}{name.replace('.', '%2E')}".lstrip("/"),
        pair.image,
        text,
        {"url": pair.url} if pair.url else {},
    )


def _members(pair: Record) -> list[tuple[str, bytes]]:
    members = []
    if pair.image is not None:
        members.append((extension_of(pair.image), pair.image))
    if pair.about is not None:
        about = {**pair.about, "key": pair.key, "caption": pair.text}
        members.append(("json", json.dumps(about, sort_keys=True, ensure_ascii=False).encode()))
    if pair.text is not None:
        members.append(("txt", pair.text.encode()))
    return [*members, *pair.more.items()]
