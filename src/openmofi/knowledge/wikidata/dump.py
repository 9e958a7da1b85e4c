"""A dump as blocks of whole lines: decompressed as a stream, with what is cut off or no dump said in a sentence."""

from __future__ import annotations

import bz2
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from openmofi.errors import MissingExtraError, OpenMofiError

BLOCK = 16 << 20
"""Bytes of lines that are handed over together."""
_READ = 1 << 18
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstandard"}
_HINT = "Give wikidata-DATE-all.json.gz or .bz2 of https://dumps.wikimedia.org/wikidatawiki/entities/, or lines of it."


@dataclass(frozen=True)
class Block:
    """Whole lines of a dump.

    Attributes:
        number: of the block in its file, from 0; the same file always gives the same blocks.
        lines: the bytes, which end with a line's end unless they are the file's last.
        read: bytes of the file, as it lies there, that have been read by now.
    """

    number: int
    lines: bytes
    read: int


def blocks(path: str | Path, size: int = BLOCK) -> Iterator[Block]:
    """The lines of a dump, in blocks of about `size` bytes; a longer line is a block of its own.

    Args:
        path: JSON lines as Wikidata publishes them, plain or compressed by gzip, bzip2 or zstandard; of several
            streams too. What it is, its first bytes say.
        size: bytes of a block.

    Raises:
        OpenMofiError: the file is missing, damaged, cut off, or no dump.
    """
    parts, held, number, read = list[bytes](), 0, 0, 0
    for data, read in _decompressed(Path(path)):
        for start in range(0, len(data), size):
            parts.append(data[start:start + size])
            held += len(parts[-1])
            if held < size:
                continue
            lines, end, rest = b"".join(parts).rpartition(b"\n")
            if end:
                yield Block(number, lines + end, read)
                number += 1
            parts, held = [rest], len(rest)
    if last := b"".join(parts):
        yield Block(number, last, read)


def _decompressed(path: Path) -> Iterator[tuple[bytes, int]]:
    """The content, and how much of the file it took so far."""
    try:
        with open(path, "rb") as handle:
            start = handle.read(4)
            handle.seek(0)
            kind = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")
            chunks = iter(lambda: handle.read(_READ), b"")
            read, begun = 0, False
            for data, taken in _streams(path, chunks, kind) if kind else ((chunk, len(chunk)) for chunk in chunks):
                read += taken
                if data and not begun:
                    _require_dump(path, data)
                    begun = True
                yield data, read
            if not begun:
                raise OpenMofiError(f"{path} is empty.", _HINT)
    except OSError as error:
        raise OpenMofiError(f"{path} cannot be read: {error.strerror or error}.", _HINT) from error


def _streams(path: Path, chunks: Iterator[bytes], kind: str) -> Iterator[tuple[bytes, int]]:
    """What compressed chunks hold; a file may be several streams, one after another."""
    new = _decompressor(kind)
    stream, fed = new(), False
    for chunk in chunks:
        taken = len(chunk)
        while chunk:
            try:
                data = stream.decompress(chunk)
            except Exception as error:  # each library has errors of its own
                raise OpenMofiError(f"{path} is damaged: its {kind} data cannot be decompressed ({error}).",
                                    "Fetch it again and compare its checksum.") from error
            chunk = stream.unused_data if stream.eof else b""
            fed = not stream.eof
            if stream.eof:
                stream = new()
            yield data, taken
            taken = 0
    if fed:
        raise OpenMofiError(f"{path} is cut off: its {kind} data does not end.",
                            "Fetch the rest, or fetch it again; what was read of it before is kept.")


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


def _require_dump(path: Path, start: bytes) -> None:
    """Refuse a file that does not begin as a dump does: the array's bracket, or an entity."""
    first = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:60]
    if not first.startswith((b"[", b"{")):
        shown = first.decode("utf-8", "replace").partition("\n")[0]
        raise OpenMofiError(f"{path} is no JSON dump of Wikidata: it begins with {shown!r}.", _HINT)
