"""A dump as blocks of whole lines: unpacked as a stream; what is no dump is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openmofi.errors import OpenMofiError
from openmofi.storage.packed import unpacked

BLOCK = 16 << 20
"""Bytes of lines that are handed over together."""
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
    for data, read in unpacked(path, _HINT):
        if not (number or held):
            _require_dump(path, data)
        for start in range(0, len(data), size):
            parts.append(data[start:start + size])
            held += len(parts[-1])
            if held < size:
                continue
            joined = b"".join(parts)
            parts.clear()  # a block is held once, not three times
            end = joined.rfind(b"\n") + 1
            lines, rest = joined[:end], joined[end:]
            del joined
            if end:
                yield Block(number, lines, read)
                number += 1
            parts.append(rest)
            held = len(rest)
    if last := b"".join(parts):
        yield Block(number, last, read)


def _require_dump(path: str | Path, start: bytes) -> None:
    """Refuse a file that does not begin as a dump does: the array's bracket, or an entity."""
    first = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:60]
    if not first.startswith((b"[", b"{")):
        shown = first.decode("utf-8", "replace").partition("\n")[0]
        raise OpenMofiError(f"{path} is no JSON dump of Wikidata: it begins with {shown!r}.", _HINT)
