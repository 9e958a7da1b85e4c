"""Pairs from tar shards in WebDataset's layout, read once from front to back, also compressed and remote."""

import logging
import struct
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import IO, NoReturn, Self, TypeVar

from openmofi.pairs.formats.grouping import Grouper, MemberContent, read_limit, split_name
from openmofi.pairs.formats.streams import LOOK_BACK, ForwardFile, open_stream
from openmofi.pairs.read_settings import Damage, ReadSettings, open_source, report_damage
from openmofi.schema import Pair, PairStatus

# A tar ends with two blocks of zeros or more, and zeros are also what a page is that never reached the disk. Zeros
# inside
# a member are invisible here; zeros where a header should be are judged:
#
# * Up to the end of the file they are its end, unless the member before them ends in a page of zeros and is of a kind
#   that never does.
# * Before another header they are the seam of two tars (`cat a.tar b.tar`), if they are as long as the end of a tar is
#   and cannot be pages: pages begin and end at multiples of 4 KiB.
# * Everything else is damage: an error, or a warning, and reading goes on at the next header.

_BLOCK, _RECORD, _PAGE, _CHUNK = tarfile.BLOCKSIZE, tarfile.RECORDSIZE, 4096, LOOK_BACK // 2
_ZEROS = bytes(_CHUNK)
_MAGIC, _MAGIC_AT = b"ustar", 257
_MAX_EXTENDED = 1 << 20
_MAX_MEMBER = 1 << 36
_EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_NEVER_END_IN_ZEROS = frozenset({".txt", ".json", ".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif"})
# What the standard library raises at the end, which its stubs leave out, and on headers that are none; pax headers
# fail in ways of their own.
_ZERO_HEADER, _NO_HEADER, _CUT_HEADER = (
    getattr(tarfile, f"{kind}HeaderError") for kind in ("EOF", "Empty", "Truncated")
)
_BAD_HEADER = (tarfile.TarError, ValueError, IndexError, KeyError, OverflowError, RecursionError)
_M = TypeVar("_M", bound=tarfile.TarInfo)


class _Member(tarfile.TarInfo):
    """A member of plausible size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        # Long names and PAX headers are read whole before anyone can object to their size.
        return _plausible(member, _MAX_EXTENDED if member.type in _EXTENDED else _MAX_MEMBER)

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        # A PAX header may have given the member another size.
        return _plausible(super().fromtarfile(tarfile), _MAX_MEMBER)


def _plausible(member: _M, limit: int) -> _M:
    # Skipping bytes that do not exist takes the standard library minutes a terabyte.
    if not 0 <= member.size <= limit:
        raise tarfile.HeaderError(f"a header claims {member.size} bytes")
    return member


class Archive(tarfile.TarFile):
    """Its iterator yields members; read a member's content before the next one."""

    fileobj: IO[bytes] | ForwardFile  # type: ignore[assignment]
    firstmember: tarfile.TarInfo | None

    def __init__(
        self,
        file: IO[bytes] | ForwardFile,
        on_damage: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        """Open a tar.

        Args:
            file: read forwards; seeking back by `streams.LOOK_BACK` bytes must work.
            on_damage: told of damage behind which reading can go on; may raise.
            note: told what else there is to say.
        """
        self._on_damage, self._note = on_damage, note
        self._last: tarfile.TarInfo | None = None
        self._origin = self._seams = 0
        super().__init__(fileobj=file, mode="r", tarinfo=_Member, errors="surrogateescape")  # type: ignore[arg-type]

    def next(self) -> tarfile.TarInfo | None:
        """Return the next member, or `None` at the end of the file.

        Raises:
            Damage: the file ends in the middle, or what `on_damage` raises.
        """
        # The base class reads the first member when it opens, and keeps it here.
        first, self.firstmember = self.firstmember, None
        if first is not None:
            return first
        self._skip_content()
        while not self._loaded:  # type: ignore[has-type]
            start = self.offset
            try:
                self._last = self.tarinfo.fromtarfile(self)
                return self._last
            except _ZERO_HEADER:
                goes_on = self._pass_zeros(start)
            except (_NO_HEADER, _CUT_HEADER) as error:
                raise Damage("it ends in the middle") from error
            except _BAD_HEADER as error:
                goes_on = self._resume(start, f"{error} (at byte {start:,})")
            self._loaded = not goes_on
        if self._seams:
            self._note(f"is {self._seams + 1} tars one behind another; all of them are read")
        return None

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        while (member := self.next()) is not None:
            yield member

    def _skip_content(self) -> None:
        # Going behind the end of a file is no error; reading there tells.
        if not self._loaded and self.offset != self.fileobj.tell():
            self.fileobj.seek(self.offset - 1)
            if not self.fileobj.read(1):
                raise Damage("it ends in the middle of a member")

    def _pass_zeros(self, start: int) -> bool:
        """Skip the zeros from `start` on; return whether there is a member behind them."""
        before = self._zeros_before(start)  # first: behind many zeros a stream cannot look back so far
        end, behind = _end_of_zeros(self.fileobj, start)
        if not behind:
            name = self._last.name if self._last else ""
            if before and PurePosixPath(name.lower()).suffix in _NEVER_END_IN_ZEROS:
                self._on_damage(
                    f"the content of its last member, {name}, ends in zeros before byte {start:,}, and so does the file"
                )
            elif end - start > _RECORD + 2 * _BLOCK:
                self._note(f"has {end - start:,} bytes of zeros behind its last member")
            return False
        end -= end % _BLOCK
        zeros = f"{end - start:,} bytes of zeros from byte {start:,} on"
        if not self._is_header(end):
            return self._resume(end, f"{zeros}, and behind them no header")
        paged = before or (start % _PAGE == 0 and (end - start) % _PAGE == 0)
        if paged or not self._is_seam(start, end):
            self._on_damage(f"{zeros}, and behind them a header: a part may be lost")
        else:
            self._seams, self._origin = self._seams + 1, end
        self._go_to(end)
        return True

    def _zeros_before(self, start: int) -> bool:
        """Whether the page that ends at `start`, or reaches beyond it, has nothing but zeros of content before it."""
        page = (start - 1) // _PAGE * _PAGE
        if self._last is None or page < self._last.offset_data:
            return False
        self.fileobj.seek(page)
        return not self.fileobj.read(start - page).strip(b"\0")

    def _is_seam(self, start: int, end: int) -> bool:
        """Whether zeros are what a writer puts behind its last member: two blocks, and more to fill a record."""
        return 2 * _BLOCK <= end - start < _RECORD + 2 * _BLOCK and (end - self._origin) % _RECORD == 0

    def _is_header(self, offset: int) -> bool:
        self.fileobj.seek(offset)
        return _parses(self.fileobj.read(_BLOCK))

    def _resume(self, start: int, damage: str) -> bool:
        """Report damage and go to the next header, if there is one.

        What was read as a header is not read again, so that the time stays linear.
        """
        after = max(start + _BLOCK, self.fileobj.tell() // _BLOCK * _BLOCK)
        self._on_damage(damage)
        offset = _next_header(self.fileobj, after)
        if offset is not None:
            self._go_to(offset)
        return offset is not None

    def _go_to(self, offset: int) -> None:
        self.fileobj.seek(offset)
        self.offset = offset


def _parses(block: bytes) -> bool:
    try:
        _Member.frombuf(block, "utf-8", "surrogateescape")
    except _BAD_HEADER:
        return False
    return True


def _end_of_zeros(file: IO[bytes] | ForwardFile, start: int) -> tuple[int, bool]:
    """Return the first byte from `start` on that is not zero and `True`, or the file's end and `False`."""
    file.seek(start)
    while chunk := file.read(_CHUNK):
        if chunk != _ZEROS[: len(chunk)]:
            return start + len(chunk) - len(chunk.lstrip(b"\0")), True
        start += len(chunk)
    return start, False


def _next_header(file: IO[bytes] | ForwardFile, start: int) -> int | None:
    """Return the offset of the first block from `start` on that is surely a header: magic and checksum are right."""
    file.seek(start)
    while chunk := file.read(_CHUNK):
        at = chunk.find(_MAGIC)
        while at >= 0:
            block = at - _MAGIC_AT
            if block >= 0 and block % _BLOCK == 0 and _parses(chunk[block : block + _BLOCK]):
                return start + block
            at = chunk.find(_MAGIC, at + 1)
        start += len(chunk)
    return None


_SPAN = struct.Struct("<qq")
_TEXT_EXTENSIONS = ("txt", "json")
_log = logging.getLogger(__name__)

ContentOf = Callable[[Archive, tarfile.TarInfo, str], tuple[MemberContent, Damage | None]]
"""(archive, member, extension) → its content, and the damage after which nothing more can be read."""


def read_tar(path: str, settings: ReadSettings, opening: Callable[[str], IO[bytes]] = open_source) -> Iterator[Pair]:
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
        with opening(path) as file:
            stream = open_stream(file, settings.max_unpack_ratio)
            for pair in _pairs(path, stream, grouper, partial(_content, settings, stream.packed), on_damage):
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


def _span(end: int, _: Archive, member: tarfile.TarInfo, extension: str) -> tuple[MemberContent, None]:
    """Return the offset and size of an image in a file of `end` bytes, in place of its bytes."""
    whole = member.isreg() and not member.issparse() and member.offset_data + member.size <= end
    span = _SPAN.pack(member.offset_data, member.size) if whole else None
    # The text plays no part in which image counts.
    return MemberContent(b"" if extension.endswith(_TEXT_EXTENSIONS) else span), None


def _content(
    settings: ReadSettings, packed: bool, archive: Archive, member: tarfile.TarInfo, extension: str
) -> tuple[MemberContent, Damage | None]:
    if not member.isreg():
        return MemberContent(None), None
    limit = read_limit(extension, member.size, settings)
    if limit is None:
        return MemberContent(None, PairStatus.IMAGE_TOO_LARGE), None
    offset = -1 if packed or member.issparse() else member.offset_data
    if limit == 0:
        return MemberContent(b"", offset=offset), None
    try:
        data = _read(archive, member, limit)
    except Damage as damage:
        return MemberContent(None, PairStatus.IMAGE_BROKEN), damage
    if len(data) < limit:
        return MemberContent(None, PairStatus.IMAGE_BROKEN), Damage("it ends in the middle of a member")
    return MemberContent(data, offset=offset), None


def _read(archive: Archive, member: tarfile.TarInfo, limit: int) -> bytes:
    if not member.issparse():
        archive.fileobj.seek(member.offset_data)
        return archive.fileobj.read(limit)
    try:
        handle = archive.extractfile(member)
        return handle.read(limit) if handle else b""
    except (tarfile.TarError, ValueError) as error:
        raise Damage(f"the sparse member {member.name} cannot be read ({error})") from error
