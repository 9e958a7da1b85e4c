"""Fingerprints: short names for settings and inputs, equal exactly when these are equal."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from openmofi.errors import OpenMofiError
from openmofi.storage.addresses import filesystem_of, is_folder, is_remote, local_path, open_address, store_errors

_BLOCK = 1 << 22
TABLES = (".csv", ".tsv", ".jsonl")
"""Endings of tables whose images are files beside them."""


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
    return digits64(text.encode())


def digits64(content: bytes) -> str:
    """16 hexadecimal digits for bytes: BLAKE2b of 64 bits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def hash64(content: bytes, *, signed: bool = False) -> int:
    """A number of 64 bits for bytes: BLAKE2b, the lowest byte first."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=signed)


def content_fingerprint(path: str | Path) -> str:
    """16 hexadecimal digits for a file or a folder, of every byte of it, wherever it lies.

    Of a folder: the names of all files below it, hidden ones left out, and their fingerprints.
    `openmofi.storage.file_fingerprint` remembers them.

    Raises:
        OpenMofiError: the file or folder cannot be read, or is neither.
    """
    try:
        filesystem, root = filesystem_of(path)
        with store_errors(path):
            if is_folder(filesystem, root):
                return fingerprint(
                    [
                        [inner, info.get("size"), _in_folder(filesystem, name)]
                        for inner, name, info in files_below(filesystem, root)
                    ]
                )
            return _of_file(str(path))
    except (OSError, ValueError) as error:
        raise OpenMofiError(f"{path} cannot be read: {error}.", "Check the path.") from error


def files_below(filesystem: Any, root: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The files below a folder, by their names: name below it, whole name, what the listing says; no hidden ones."""
    prefix = len(root.rstrip("/")) + 1
    for name, info in sorted(filesystem.find(root, detail=True).items()):
        inner = name[prefix:]
        if not any(piece.startswith(".") for piece in inner.split("/")):
            yield inner, name, info


def _in_folder(filesystem: Any, name: str) -> str:
    """A file's fingerprint; empty for a pipe, a link to nothing or what may not be read, whose row has a status."""
    if not isinstance(filesystem, LocalFileSystem):
        return _of_file(filesystem.unstrip_protocol(name))
    try:
        return _of_file(name)
    except OSError:
        return ""


def _of_file(path: str) -> str:
    # Opening a pipe would wait for ever.
    if not is_remote(path) and not stat.S_ISREG(local_path(path).stat().st_mode):
        raise OSError("it is not a regular file")
    digest = hashlib.sha256()  # processors have instructions for it: 2.6 times as fast as BLAKE2b
    with open_address(path) as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()[:16]
