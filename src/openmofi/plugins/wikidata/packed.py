"""Compressed files as streams, with what is damaged or cut off said in a sentence."""

from __future__ import annotations

import bz2
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from openmofi.errors import MissingExtraError, OpenMofiError

_READ = 1 << 16
"""Bytes of a file that are unpacked together: of a dump they may be a hundred times as many."""
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstandard"}


def unpacked(path: str | Path, hint: str) -> Iterator[tuple[bytes, int]]:
    """The content of a file, never empty bytes, each with how many bytes of the file have been read by then.

    Args:
        path: plain, or compressed by gzip, bzip2 or zstandard, of several streams too; its first bytes say which.
        hint: what to do where it cannot be read.

    Raises:
        MissingExtraError: the library that decompresses it is not installed.
        OpenMofiError: the file is missing, empty, damaged or cut off.
    """
    try:
        with open(path, "rb") as handle:
            kind = _kind(handle.read(4))
            handle.seek(0)
            chunks = iter(lambda: handle.read(_READ), b"")
            read, empty = 0, True
            for data, taken in _streams(path, chunks, kind) if kind else ((chunk, len(chunk)) for chunk in chunks):
                read += taken
                if data:
                    empty = False
                    yield data, read
            if empty:
                raise OpenMofiError(f"{path} is empty.", hint)
    except FileNotFoundError as error:
        raise OpenMofiError(f"{path} is missing.", hint) from error
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror or error}.", hint) from error


def packed_by(path: str | Path) -> str:
    """`gzip`, `bzip2` or `zstandard`, as the first bytes of a file say; `""` where it is plain."""
    with open(path, "rb") as handle:
        return _kind(handle.read(4))


def _kind(start: bytes) -> str:
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def _streams(path: str | Path, chunks: Iterator[bytes], kind: str) -> Iterator[tuple[bytes, int]]:
    """What compressed chunks hold; a file may be several streams, one after another."""
    new = _decompressor(kind)
    stream, fed = new(), False
    for chunk in chunks:
        taken = len(chunk)
        while chunk:
            try:
                data = stream.decompress(chunk)
            except Exception as error:  # each library has errors of its own
                raise OpenMofiError(
                    f"{path} is damaged: its {kind} data cannot be decompressed ({error}).",
                    "Fetch it again and compare its checksum.",
                ) from error
            chunk = stream.unused_data if stream.eof else b""
            fed = not stream.eof
            if stream.eof:
                stream = new()
            yield data, taken
            taken = 0
    if fed:
        raise OpenMofiError(
            f"{path} is cut off: its {kind} data does not end.",
            "Fetch the rest, or fetch it again; what was read of it before is kept.",
        )


def _decompressor(kind: str) -> Callable[[], Any]:
    if kind == "bzip2":
        return bz2.BZ2Decompressor
    if kind == "gzip":
        isal_zlib = _imported("isal.isal_zlib", "isal")
        return lambda: isal_zlib.decompressobj(wbits=31)
    zstandard = _imported("zstandard", "zstandard")
    return lambda: zstandard.ZstdDecompressor().decompressobj()


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError.of(package, "wikidata") from error
