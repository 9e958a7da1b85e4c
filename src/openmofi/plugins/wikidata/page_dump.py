"""A page dump (MediaWiki's XML export) in blocks of whole pages, and the pages of a block.

One process unpacks and cuts, others parse: a page ends with `</page>`, which no text has, since texts are escaped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO
from xml.parsers import expat

from openmofi.errors import OpenMofiError
from openmofi.plugins.wikidata.slots import unpacked
from openmofi.plugins.wikidata.wikitext import Site, language_codes, require_language

_DUMP = "Give pages-articles.xml.bz2 (or .xml, .xml.gz, .xml.zst) of a Wikipedia, from dumps.wikimedia.org."
_AGAIN = "Fetch it again, and compare it with the checksums beside it."

BLOCK = 16 << 20
"""Bytes of pages that are parsed together."""
_READ = 1 << 18
_PAGE, _END = b"<page>", b"</page>"


@dataclass(frozen=True)
class Page:
    """A page of the main namespace.

    Attributes:
        site: the wiki.
        title: as the dump has it.
        redirect: the title that it redirects to; `None` for a page of its own.
        text: its wikitext.
    """

    site: Site
    title: str
    redirect: str | None
    text: str


@dataclass(frozen=True)
class Place:
    """Where a block of pages stands.

    Attributes:
        path: of the dump.
        language: the wiki's code; `None`: as the dump says.
        head: what stands before the dump's first page: the wiki's namespaces.
        line: lines of the dump that stand before the block.
        read: bytes of the dump, as it lies there, that have been read by now.
    """

    path: Path
    language: str | None
    head: bytes
    line: int
    read: int


def page_blocks(path: Path, language: str | None = None, size: int = BLOCK) -> Iterator[tuple[Place, bytes]]:
    """Yield the pages of a dump in blocks, each of whole pages and at least `size` bytes but for the last.

    Args:
        path: plain, or packed with bzip2 (also in several streams), gzip or zstd, which its first bytes say.
        language: the wiki's code; `None`: as the dump says.
        size: bytes of a block.

    Raises:
        OpenMofiError: the file is missing, damaged, cut off, or no page dump.
    """
    around = _Parser(path, language)  # of all but the pages
    held, head, line, read = bytearray(), b"", 0, 0
    for data, now in unpacked(path, _AGAIN):
        if not (held or head):
            _require_xml(path, data)
        held += data
        read = now
        if not head:
            first = held.find(_PAGE)
            if first < 0:
                around.check(bytes(held))
                if len(held) > BLOCK:
                    raise OpenMofiError(f"{path} is no page dump: it does not begin with pages.", _DUMP)
                continue
            head = bytes(held[:first])
            del held[:first]
            around.feed(head)
            line = head.count(b"\n")
        while len(held) >= size and (end := held.find(_END, size - len(_END)) + len(_END)) >= len(_END):
            yield Place(path, language, head, line, read), bytes(held[:end])
            line += held.count(b"\n", 0, end)
            del held[:end]
    if head and (end := held.rfind(_END) + len(_END)) >= len(_END):
        yield Place(path, language, head, line, read), bytes(held[:end])
        line += held.count(b"\n", 0, end)
        del held[:end]
    around.line = line - head.count(b"\n")
    around.feed(bytes(held))
    around.end()


def pages(place: Place, handle: IO[bytes]) -> Iterator[Page]:
    """Yield the pages of the main namespace in a block, in the order of the dump.

    Raises:
        OpenMofiError: it is damaged.
        UsageError: the wiki's language is unknown.
    """
    parser = _Parser(place.path, place.language)
    parser.feed(place.head)
    parser.site = _site(place.path, place.language, place.head)
    parser.line = place.line - place.head.count(b"\n")
    while data := handle.read(_READ):
        parser.feed(data)
        yield from parser.taken()
    parser.require_outside()


@lru_cache(maxsize=16)
def _site(path: Path, language: str | None, head: bytes) -> Site:
    """Return the wiki of a dump: one object for all its blocks, since it remembers titles."""
    parser = _Parser(path, language)
    parser.feed(head)
    return parser.found_site()


def _require_xml(path: Path, start: bytes) -> None:
    head = start[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = head[:512].lower()
    if b"<!doctype html" in lower or b"<html" in lower:
        raise OpenMofiError(f"{path} is a web page, perhaps a server's error message, and no page dump.", _DUMP)
    if lower.startswith((b"-- ", b"/*!", b"create table", b"insert into")):
        raise OpenMofiError(f"{path} is an SQL dump, and no page dump.", _DUMP)
    if not head.startswith(b"<"):
        raise OpenMofiError(f"{path} is no XML, and so no page dump.", _DUMP)


class _Parser:
    """MediaWiki's XML export, fed in chunks."""

    def __init__(self, path: Path, language: str | None) -> None:
        self._path, self._language = path, language
        self._xml = expat.ParserCreate()
        self._xml.buffer_text = True
        self._xml.buffer_size = 1 << 18
        self._xml.StartElementHandler = self._start
        self._xml.EndElementHandler = self._end
        self._xml.StartDoctypeDeclHandler = self._refuse_doctype
        self._code = ""
        self.site: Site | None = None
        self.line = 0
        """Lines that stand before what is fed, beside those that were fed."""
        self._namespaces: dict[int, str] = {}
        self._case = ""
        self._number: int | None = None
        self._parts: list[str] = []
        self._fields: dict[str, str] = {}
        self._redirect: str | None = None
        self._depth = 0
        self._whole: list[Page] = []

    def taken(self) -> list[Page]:
        """Return the pages completed since the last call."""
        taken, self._whole = self._whole, []
        return taken

    def feed(self, data: bytes) -> None:
        """Parse the next bytes."""
        self._parse(data, False)

    def end(self) -> None:
        """Finish: no more bytes follow."""
        self._parse(b"", True)

    def check(self, start: bytes) -> None:
        """Refuse what begins as no dump does; `feed` comes later."""
        _Parser(self._path, self._language).feed(start)

    def require_outside(self) -> None:
        """Refuse a block whose last page has no end."""
        if self._depth != 1:
            raise OpenMofiError(f"{self._path} is damaged XML: a page has no end.", _AGAIN)

    def _parse(self, data: bytes, final: bool) -> None:
        try:
            self._xml.Parse(data, final)
        except expat.ExpatError as error:
            if final:
                raise OpenMofiError(f"{self._path} is cut off: the export has no end.", _AGAIN) from error
            raise OpenMofiError(
                f"{self._path}, line {error.lineno + self.line}: is damaged XML ({expat.ErrorString(error.code)}).",
                _AGAIN,
            ) from error

    def _refuse_doctype(self, *_: object) -> None:
        raise OpenMofiError(f"{self._path} is no page dump: an export has no document type.", _DUMP)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name in ("title", "ns", "text", "dbname"):
            self._collect()
        elif name == "redirect":
            self._redirect = attributes.get("title", "")
        elif name == "page":
            if self.site is None:
                self.site = self.found_site()
            self._fields, self._redirect = {}, None
        elif self._depth == 1:
            if name != "mediawiki":
                raise OpenMofiError(f"{self._path} is no page dump: it holds <{name}>, not <mediawiki>.", _DUMP)
            self._code = attributes.get("xml:lang", "")
        elif name == "namespace":
            self._number = int(attributes.get("key", "0"))
            self._case = attributes.get("case", "first-letter") if self._number == 0 else self._case
            self._collect()

    def _collect(self) -> None:
        self._parts = []
        self._xml.CharacterDataHandler = self._parts.append

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name in ("title", "ns", "text", "dbname"):
            self._fields[name] = "".join(self._parts)
            self._xml.CharacterDataHandler = None
        elif name == "namespace" and self._number is not None:
            self._namespaces[self._number] = "".join(self._parts)
            self._xml.CharacterDataHandler = None
        elif name == "page":
            self._add()

    def _add(self) -> None:
        if self._fields.get("ns", "0") != "0":
            return
        assert self.site is not None
        self._whole.append(Page(self.site, self._fields.get("title", ""), self._redirect, self._fields.get("text", "")))

    def found_site(self) -> Site:
        """Return the wiki that the dump's head names."""
        # The database tells wikis apart that share a language's code, such as simplewiki and enwiki.
        wiki_name = self._fields.get("dbname", "").removesuffix("wiki").replace("_", "-")
        code = self._language or (wiki_name if wiki_name in language_codes() else self._code)
        require_language(code, str(self._path) if self._language is None else "--language")
        return Site(code, self._namespaces, self._case != "case-sensitive")
