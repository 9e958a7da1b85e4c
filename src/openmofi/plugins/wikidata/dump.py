"""A dump in pieces of blocks of whole lines: unpacked as a stream; what is no dump is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.plugins.wikidata.slots import unpacked

BLOCK = 32 << 20
"""Bytes of lines that are parsed together: a part has some 2,000 of the real dump's items."""
_HINT = "Give wikidata-DATE-all.json.gz or .bz2 of https://dumps.wikimedia.org/wikidatawiki/entities/, or lines of it."


@dataclass(frozen=True)
class Piece:
    """Bytes of a dump.

    Attributes:
        block: number of the block of whole lines that it belongs to, from 0; the same file always has the same blocks.
        lines: the bytes. A block ends with a line's end unless it is the file's last.
        read: bytes of the file, as it lies there, that have been read by now.
    """

    block: int
    lines: bytes
    read: int


def pieces(path: str | Path, size: int = BLOCK) -> Iterator[Piece]:
    """A dump, in the pieces in which it is unpacked; a block ends with the first line that makes `size` bytes of it.

    Args:
        path: JSON lines as Wikidata publishes them, plain or compressed by gzip, bzip2 or zstandard; of several
            streams too. What it is, its first bytes say.
        size: bytes of a block.

    Raises:
        OpenMofiError: the file is missing, damaged, cut off, or no dump.
    """
    block = held = 0
    for data, read in unpacked(path, _HINT):
        if not (block or held):
            _require_dump(path, data)
        while data:
            end = data.find(b"\n", max(size - held - 1, 0)) + 1
            yield Piece(block, data[:end] if end else data, read)
            block, held, data = (block + 1, 0, data[end:]) if end else (block, held + len(data), b"")


def _require_dump(path: str | Path, start: bytes) -> None:
    """Refuse a file that does not begin as a dump does: the array's bracket, or an entity."""
    first = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:60]
    if not first.startswith((b"[", b"{")):
        shown = first.decode("utf-8", "replace").partition("\n")[0]
        raise OpenMofiError(f"{path} is no JSON dump of Wikidata: it begins with {shown!r}.", _HINT)
