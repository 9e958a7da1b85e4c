"""Pairs from tar shards in WebDataset's layout, read once from front to back, also compressed and remote."""

from __future__ import annotations

import logging
import struct
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, NoReturn

from openmofi.pairs.formats.archive import Archive
from openmofi.pairs.formats.grouping import Content, Grouper, read_limit, split_name
from openmofi.pairs.formats.streams import ForwardFile, open_stream
from openmofi.pairs.read_settings import Damage, ReadSettings, open_source, report_damage
from openmofi.schema import Pair, PairStatus

_SPAN = struct.Struct("<qq")
_TEXT_EXTENSIONS = ("txt", "json")
_log = logging.getLogger(__name__)

ContentOf = Callable[[Archive, tarfile.TarInfo, str], tuple[Content, Damage | None]]
"""(archive, member, extension) → its content, and the damage after which nothing more can be read."""


def read_tar(path: str, settings: ReadSettings) -> Iterator[Pair]:
    """Yield the pairs of a tar (also `.tar.gz`, `.bz2`, `.xz`) in its order; `grouping` has the rules.

    Members are read into memory one at a time and nothing is ever extracted. Texts are read only up to the
    limit, images only if they are within it. The file is read to its end, see `archive`: tars one behind another are
    read as one.

    Raises:
        OpenMofiError: the file does not exist or is not a tar; or it is cut off or damaged, after the pairs before
            the damage (`on_damage="stop"`). With `"keep"` a log warning says so, reading goes on at the next header
            if there is one, and a pair whose image is cut is `IMAGE_BROKEN`.
        OSError: reading failed on the way; trying again may help.
    """
    grouper, count = Grouper(settings), 0
    on_damage = _stop if settings.on_damage == "stop" else partial(_go_on, path)
    try:
        with open_source(path) as file:
            stream = open_stream(file, settings.max_unpack_ratio)
            for pair in _pairs(path, stream, grouper, partial(_content, settings), on_damage):
                yield pair
                count += 1
    except Damage as damage:
        report_damage(f"{path} is truncated or damaged after {count} pairs: {damage}.", settings, damage, damage.hint)
        yield from grouper.close()
    grouper.report_passed_over(path)


def _stop(damage: str) -> NoReturn:
    raise Damage(damage)


def _go_on(path: str, damage: str) -> None:
    _log.warning("%s is damaged: %s. What follows is read.", path, damage)


def _pairs(
    path: str, file: IO[bytes] | ForwardFile, grouper: Grouper, content_of: ContentOf, on_damage: Callable[[str], None]
) -> Iterator[Pair]:
    archive = Archive(file, on_damage, partial(_log.warning, "%s %s.", path))
    for member in archive:
        parts = split_name(member.name)
        if member.isdir():
            continue
        if parts is None:
            grouper.pass_over(member.name)
            continue
        content, damage = content_of(archive, member, parts[1])
        yield from grouper.add(*parts, content, member.size)
        if damage is not None:
            raise damage
    yield from grouper.close()


def locate_images(path: str) -> Iterator[tuple[str, int, int]]:
    """Yield key, offset and size of the image bytes of each pair of an uncompressed tar, reading headers only.

    The image of a key is the one that `read_tar` gives it, whatever its size; pairs without an image and duplicate
    keys are left out, and so is what is damaged (a log warning says so): a reader of single images misses only what
    it asks for.

    Raises:
        OpenMofiError: the file does not exist or cannot be read.
    """
    grouper, count = Grouper(ReadSettings()), 0
    try:
        with open_source(path) as file:
            end = file.seek(0, 2)
            file.seek(0)
            for span in _spans(_pairs(path, file, grouper, partial(_span, end), partial(_go_on, path))):
                yield span
                count += 1
    except Damage as damage:
        rest = list(_spans(grouper.close()))
        _log.warning("%s is truncated or damaged after %d images: %s.", path, count + len(rest), damage)
        yield from rest


def _spans(pairs: Iterator[Pair]) -> Iterator[tuple[str, int, int]]:
    return (
        (pair.key, *_SPAN.unpack(pair.image))
        for pair in pairs
        if pair.image is not None and pair.status != PairStatus.DUPLICATE_KEY
    )


def _span(end: int, _: Archive, member: tarfile.TarInfo, extension: str) -> tuple[Content, None]:
    """The offset and size of an image in a file of `end` bytes, instead of its bytes: grouping looks at no image."""
    whole = member.isreg() and not member.issparse() and member.offset_data + member.size <= end
    span = _SPAN.pack(member.offset_data, member.size) if whole else None
    # The text plays no part in which image counts.
    return Content(b"" if extension.endswith(_TEXT_EXTENSIONS) else span), None


def _content(
    settings: ReadSettings, archive: Archive, member: tarfile.TarInfo, extension: str
) -> tuple[Content, Damage | None]:
    if not member.isreg():
        return Content(None), None
    limit = read_limit(extension, member.size, settings)
    if limit is None:
        return Content(None, PairStatus.IMAGE_TOO_LARGE), None
    if limit == 0:
        return Content(b""), None
    try:
        data = _read(archive, member, limit)
    except Damage as damage:
        return Content(None, PairStatus.IMAGE_BROKEN), damage
    if len(data) < limit:
        return Content(None, PairStatus.IMAGE_BROKEN), Damage("it ends in the middle of a member")
    return Content(data), None


def _read(archive: Archive, member: tarfile.TarInfo, limit: int) -> bytes:
    if not member.issparse():
        archive.fileobj.seek(member.offset_data)
        return archive.fileobj.read(limit)
    try:
        handle = archive.extractfile(member)
        return handle.read(limit) if handle else b""
    except (tarfile.TarError, ValueError) as error:
        raise Damage(f"the sparse member {member.name} cannot be read ({error})") from error
