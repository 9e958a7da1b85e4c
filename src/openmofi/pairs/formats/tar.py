"""Pairs from tar shards in WebDataset's layout, read once from front to back, also compressed and remote."""

from __future__ import annotations

import logging
import struct
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any, Literal, Self, TypeVar

from openmofi.pairs.formats.grouping import Content, Grouper, read_limit, split_name
from openmofi.pairs.read_settings import ReadSettings
from openmofi.pairs.source import open_source, report_damage
from openmofi.schema import Pair, PairStatus

_BUFFER = 1 << 18
_MAX_EXTENDED = 1 << 20
_MAX_MEMBER = 1 << 36
_EXTENDED = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
             tarfile.SOLARIS_XHDTYPE)
# The name `tarfile` is the parameter's where this is needed.
_HEADER_ERROR = tarfile.HeaderError
_M = TypeVar("_M", bound=tarfile.TarInfo)
_SPAN = struct.Struct("<qq")
_TEXT_EXTENSIONS = ("txt", "json")
_log = logging.getLogger(__name__)


class _Damage(Exception):
    """The archive cannot be read on from here."""


ContentOf = Callable[[tarfile.TarFile, tarfile.TarInfo, str], tuple[Content, _Damage | None]]
"""(archive, member, extension) → its content, and the damage after which nothing more can be read."""


class _Member(tarfile.TarInfo):
    """Tells a regular end from a cut: `tarfile` ends silently at a damaged or missing header."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        # Long names and PAX headers are read whole before anyone can object to their size.
        return _plausible(member, _MAX_EXTENDED if member.type in _EXTENDED else _MAX_MEMBER)

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            # A PAX header may have given the member another size.
            return _plausible(super().fromtarfile(tarfile), _MAX_MEMBER)
        except _HEADER_ERROR as error:
            if str(error) == "end of file header":
                raise
            raise _Damage("it ends in the middle" if "empty" in str(error) else str(error)) from error


def _plausible(member: _M, limit: int) -> _M:
    # Skipping bytes that do not exist takes the standard library minutes a terabyte.
    if not 0 <= member.size <= limit:
        raise _Damage(f"a header claims {member.size} bytes")
    return member


def read_tar(path: str, settings: ReadSettings) -> Iterator[Pair]:
    """Yield the pairs of a tar (also `.tar.gz`, `.bz2`, `.xz`) in its order; `grouping` has the rules.

    Members are read into memory one at a time and nothing is ever extracted. Texts are read only up to the
    limit, images only if they are within it.

    Raises:
        OpenMofiError: the file does not exist or is not a tar; or it is cut off or damaged, after the pairs before
            the damage (`on_damage="stop"`). With `"keep"` a log warning says so, and a pair whose image is
            cut is `IMAGE_BROKEN`.
        OSError: reading failed on the way; trying again may help.
    """
    grouper, count = Grouper(settings), 0
    try:
        with open_source(path) as file:
            for pair in _pairs(file, grouper, partial(_content, settings)):
                yield pair
                count += 1
    except _Damage as damage:
        report_damage(f"{path} is truncated or damaged after {count} pairs: {damage}.", settings, damage)
        yield from grouper.close()


def _pairs(file: IO[bytes], grouper: Grouper, content_of: ContentOf, mode: Literal["r|*", "r:"] = "r|*",
           ) -> Iterator[Pair]:
    for member, archive in _members(file, mode):
        parts = split_name(member.name)
        if parts is None or member.isdir():
            continue
        content, damage = content_of(archive, member, parts[1])
        yield from grouper.add(*parts, content)
        if damage is not None:
            raise damage
    yield from grouper.close()


def _members(file: IO[bytes], mode: Literal["r|*", "r:"]) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    with _guarded(), tarfile.open(fileobj=file, mode=mode, bufsize=_BUFFER, tarinfo=_Member,
                                  errors="surrogateescape") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]
            yield member, archive


def locate_images(path: str) -> Iterator[tuple[str, int, int]]:
    """Yield key, offset and size of the image bytes of each pair of an uncompressed tar, reading headers only.

    The image of a key is the one that `read_tar` gives it, whatever its size; pairs without an image and duplicate
    keys are left out, and so is what lies behind damage (a log warning says so): a reader of single images misses
    only what it asks for.

    Raises:
        OpenMofiError: the file does not exist or cannot be read.
    """
    grouper, count = Grouper(ReadSettings()), 0
    try:
        with open_source(path) as file:
            end = file.seek(0, 2)
            file.seek(0)
            for span in _spans(_pairs(file, grouper, partial(_span, end), "r:")):
                yield span
                count += 1
    except _Damage as damage:
        rest = list(_spans(grouper.close()))
        _log.warning("%s is truncated or damaged after %d images: %s.", path, count + len(rest), damage)
        yield from rest


def _spans(pairs: Iterator[Pair]) -> Iterator[tuple[str, int, int]]:
    return ((pair.key, *_SPAN.unpack(pair.image)) for pair in pairs
            if pair.image is not None and pair.status != PairStatus.DUPLICATE_KEY)


def _span(end: int, _: tarfile.TarFile, member: tarfile.TarInfo, extension: str) -> tuple[Content, None]:
    """The offset and size of an image in a file of `end` bytes, instead of its bytes: grouping looks at no image."""
    whole = member.isreg() and not member.issparse() and member.offset_data + member.size <= end
    span = _SPAN.pack(member.offset_data, member.size) if whole else None
    # The text plays no part in which image counts.
    return Content(b"" if extension.endswith(_TEXT_EXTENSIONS) else span), None


class _guarded:
    """Whatever the standard library raises on bytes that are not a tar is damage; what the disk raises is not."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, OSError | MemoryError | _Damage):
            raise _Damage(str(error) or type(error).__name__) from error


def _content(settings: ReadSettings, archive: tarfile.TarFile, member: tarfile.TarInfo,
             extension: str) -> tuple[Content, _Damage | None]:
    if not member.isreg():
        return Content(None), None
    limit = read_limit(extension, member.size, settings)
    if limit is None:
        return Content(None, PairStatus.IMAGE_TOO_LARGE), None
    if limit == 0:
        return Content(b""), None
    try:
        with _guarded():
            handle = archive.extractfile(member)
            data = handle.read(limit) if handle else b""
    except _Damage as damage:
        return Content(None, PairStatus.IMAGE_BROKEN), damage
    if len(data) < limit:
        return Content(None, PairStatus.IMAGE_BROKEN), _Damage("it ends in the middle of a member")
    return Content(data), None
