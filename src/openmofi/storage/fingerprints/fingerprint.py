"""Fingerprints: short names for settings and inputs, equal exactly when these are equal."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import filesystem_of, is_folder, store_errors

EDGE = 1 << 20
"""Bytes of a file's head, and of its tail, that its fingerprint is made of."""
_WHOLE = 4 * EDGE
"""Up to so many bytes an object is fetched whole: what lies between its ends takes less time than another request."""
TABLES = (".csv", ".tsv", ".jsonl")
"""Endings of tables whose images are files beside them."""
LISTS = ("samples.json", "labels.json", "data.json", "state.json")
"""Files by which other tools list the images of a folder."""


def plain(value: Any) -> Any:
    """A value that JSON does not know as one that it does: dataclasses, paths, sets. For `json.dumps(default=…)`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no fingerprint")


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits for any JSON-like value or dataclass; the order of dictionary keys does not matter."""
    text = json.dumps(value, sort_keys=True, default=plain)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def file_fingerprint(path: str | Path) -> str:
    """16 hexadecimal digits for a file: its size and its first and last MiB; for a folder: see below.

    Not the whole content, since shards are gigabytes and may lie across a network: a change inside the middle
    of a file that keeps its size is not seen. Of a folder: names and sizes of all files below it, hidden ones
    left out, and the fingerprints of its tables (CSV, TSV, JSON lines) and of `LISTS`.

    Raises:
        OpenMofiError: the file or folder cannot be read.
    """
    try:
        filesystem, root = filesystem_of(path)
        with store_errors(path):
            return (_folder_fingerprint if is_folder(filesystem, root) else _edges)(filesystem, root)
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Check the path.") from error


def object_fingerprint(path: str, size: int) -> str:
    """`file_fingerprint` of an object of a store whose size a listing has told: one request up to 4 MiB, else two.

    Raises:
        OpenMofiError: the object cannot be read.
    """
    try:
        filesystem, name = filesystem_of(path)
        with store_errors(path):
            if size <= _WHOLE:
                content = filesystem.cat_file(name, start=0, end=size) if size else b""
                return _digest(size, content[:EDGE], content[max(0, size - EDGE):])
            return _digest(size, *(filesystem.cat_file(name, start=start, end=start + EDGE)
                                   for start in (0, size - EDGE)))
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Check the path.") from error


def _edges(filesystem: Any, path: str) -> str:
    with open(path, "rb") if isinstance(filesystem, LocalFileSystem) else filesystem.open(path, "rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(0)
        first = handle.read(EDGE)
        if size <= EDGE:
            return _digest(size, first, first)
        handle.seek(size - EDGE)
        return _digest(size, first, handle.read(EDGE))


def _digest(size: int, first: bytes, last: bytes) -> str:
    digest = hashlib.blake2b(str(size).encode(), digest_size=8)
    digest.update(first)
    digest.update(last)
    return digest.hexdigest()


def _folder_fingerprint(filesystem: Any, root: str) -> str:
    prefix = len(root.rstrip("/")) + 1
    entries = []
    for name, info in sorted(filesystem.find(root, detail=True).items()):
        inner = name[prefix:]
        if not any(piece.startswith(".") for piece in inner.split("/")):
            content = _edges(filesystem, name) if inner.endswith(TABLES) or inner in LISTS else ""
            entries.append([inner, info.get("size"), content])
    return fingerprint(entries)
