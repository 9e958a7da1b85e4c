"""A tar's bytes as a file that is read forwards, unpacked where they are compressed: linear time, bounded memory."""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol

from openmofi.pairs.read_settings import RAISE_RATIO, Damage

_CHUNK = 1 << 18
LOOK_BACK = 1 << 17
"""Bytes before the position that a `ForwardFile` can always read again."""
_ALLOWANCE = 1 << 26
"""Bytes that anything may unpack to: of little content the ratio means nothing."""
_XZ_MEMORY = 1 << 29
_MAGIC = 6
_ERRORS = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


class _Gzip:
    """zlib with the interface of bz2 and lzma."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        # A block that was cut at its limit may have a rest for which no input is left.
        return not self._full and not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes:
        block = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._full = len(block) == max_length
        return block


def _xz() -> _Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


_COMPRESSIONS: tuple[tuple[bytes, str, Callable[[], _Decompressor]], ...] = (
    (b"\x1f\x8b", "gzip", _Gzip),
    (b"BZh", "bzip2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", "xz", _xz),
)


def compression_of(start: bytes) -> str | None:
    """`gzip`, `bzip2` or `xz` by the first six bytes of a file; `None` for anything else."""
    return next((name for magic, name, _ in _COMPRESSIONS if start.startswith(magic)), None)


class ForwardFile:
    """Chunks as a file that is read forwards; seeking back works within the last `LOOK_BACK` bytes."""

    def __init__(self, chunks: Iterator[bytes], *, packed: bool = False) -> None:
        """Read chunks; `packed` says that they were unpacked, so that positions are not those of the file itself."""
        self._chunks, self.packed = chunks, packed
        self._buffer, self._start, self._position = b"", 0, 0

    def tell(self) -> int:
        """Return the position of the next byte that is read."""
        return self._position

    def seek(self, position: int) -> int:
        """Go to a position, also behind the end, from where nothing is read.

        Raises:
            ValueError: it lies too far back.
        """
        if position < self._start:
            raise ValueError(f"byte {position} has gone by")
        self._position = position
        return position

    def read(self, size: int) -> bytes:
        """Read the next `size` bytes, fewer at the end."""
        at = self._position - self._start
        if at + size > len(self._buffer):
            self._fill(self._position + size)
            at = self._position - self._start
        data = self._buffer[at : at + size]
        self._position += len(data)
        return data

    def _fill(self, until: int) -> None:
        oldest = self._position - LOOK_BACK
        dropped = min(max(0, oldest - self._start), len(self._buffer))
        parts, self._start = [self._buffer[dropped:]], self._start + dropped
        end = self._start + len(parts[0])
        while end < until and (chunk := next(self._chunks, b"")):
            parts.append(chunk)
            end += len(chunk)
            while parts and self._start + len(parts[0]) <= oldest:
                self._start += len(parts.pop(0))
        self._buffer = b"".join(parts)


def open_stream(file: IO[bytes], max_unpack_ratio: int) -> ForwardFile:
    """Open what `file` holds, unpacked if it is gzip, bzip2 or xz, also of several streams in a row.

    Reading raises `Damage` where the packed bytes are damaged or cut off, where other bytes than zeros follow them, and
    where they unpack to more than 64 MiB and more than `max_unpack_ratio` times their own size.
    """
    start = file.read(_MAGIC)
    chunks = _chunks(file, start)
    for magic, name, new in _COMPRESSIONS:
        if start.startswith(magic):
            return ForwardFile(_bounded(chunks, name, new, max_unpack_ratio), packed=True)
    return ForwardFile(chunks)


def _chunks(file: IO[bytes], start: bytes) -> Iterator[bytes]:
    yield start
    while chunk := file.read(_CHUNK):
        yield chunk


def _bounded(chunks: Iterator[bytes], name: str, new: Callable[[], _Decompressor], ratio: int) -> Iterator[bytes]:
    packed, unpacked = 0, 0

    def counted() -> Iterator[bytes]:
        nonlocal packed
        for chunk in chunks:
            packed += len(chunk)
            yield chunk

    for block in _unpacked(counted(), name, new):
        unpacked += len(block)
        if unpacked > max(_ALLOWANCE, ratio * packed):
            raise Damage(f"its first {packed:,} bytes unpack to more than {ratio} times as many", RAISE_RATIO)
        yield block


def _unpacked(chunks: Iterator[bytes], name: str, new: Callable[[], _Decompressor]) -> Iterator[bytes]:
    decompressor, data, streams = new(), b"", 1
    while True:
        if decompressor.eof:
            data = _behind(decompressor.unused_data, chunks)
            if not data:
                return
            decompressor, streams = new(), streams + 1
        elif decompressor.needs_input and not data:
            data = next(chunks, b"")
            if not data:
                raise Damage("it ends in the middle")
        try:
            block = decompressor.decompress(data, _CHUNK)
        except _ERRORS as error:
            where = f"what follows the first {streams - 1} {name} streams" if streams > 1 else f"its {name} stream"
            raise Damage(f"{where} cannot be unpacked ({error})") from error
        data = b""
        if block:
            yield block


def _behind(data: bytes, chunks: Iterator[bytes]) -> bytes:
    """Return what follows a stream and the zeros that may pad it."""
    data = data.lstrip(b"\0")
    while not data and (chunk := next(chunks, b"")):
        data = chunk.lstrip(b"\0")
    return data
