"""A page dump (MediaWiki's XML export) as a stream of pages, in memory bounded by the longest page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from openmofi.errors import OpenMofiError
from openmofi.knowledge.anchors.site import Site, language_codes, require_language
from openmofi.storage.packed import unpacked

_DUMP = "Give pages-articles.xml.bz2 (or .xml, .xml.gz, .xml.zst) of a Wikipedia, from dumps.wikimedia.org."
_AGAIN = "Fetch it again, and compare it with the checksums beside it."

Read = Callable[[int], None]
"""Is told how many bytes of a file have been read since it was told last."""


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


def pages(path: Path, language: str | None = None, read: Read = lambda _: None) -> Iterator[Page]:
    """The pages of the main namespace, in the order of the dump.

    Args:
        path: plain, or packed with bzip2 (also in several streams), gzip or zstd, which its first bytes say.
        language: the wiki's code; `None`: as the dump says.
        read: see `Read`.

    Raises:
        OpenMofiError: the file is missing, damaged, cut off, or no page dump.
        UsageError: its language is unknown.
    """
    parser = _Parser(path, language)
    begun, before = False, 0
    for data, now in unpacked(path, _AGAIN):
        if not begun:
            _require_xml(path, data)
        begun = True
        read(now - before)
        before = now
        parser.feed(data)
        yield from parser.taken()
    parser.end()
    yield from parser.taken()


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
        self._site: Site | None = None
        self._namespaces: dict[int, str] = {}
        self._case = ""
        self._number: int | None = None
        self._parts: list[str] = []
        self._fields: dict[str, str] = {}
        self._redirect: str | None = None
        self._depth = 0
        self._whole: list[Page] = []

    def taken(self) -> list[Page]:
        """The pages that became whole since the last call."""
        taken, self._whole = self._whole, []
        return taken

    def feed(self, data: bytes) -> None:
        """Parse the next bytes."""
        self._parse(data, False)

    def end(self) -> None:
        """No more bytes follow."""
        self._parse(b"", True)

    def _parse(self, data: bytes, final: bool) -> None:
        try:
            self._xml.Parse(data, final)
        except expat.ExpatError as error:
            if final:
                raise OpenMofiError(f"{self._path} is cut off: the export has no end.", _AGAIN) from error
            raise OpenMofiError(f"{self._path}, line {error.lineno}: is damaged XML "
                                f"({expat.ErrorString(error.code)}).", _AGAIN) from error

    def _refuse_doctype(self, *_: object) -> None:
        raise OpenMofiError(f"{self._path} is no page dump: an export has no document type.", _DUMP)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name in ("title", "ns", "text", "dbname"):
            self._collect()
        elif name == "redirect":
            self._redirect = attributes.get("title", "")
        elif name == "page":
            if self._site is None:
                self._site = self._found_site()
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
        assert self._site is not None
        self._whole.append(Page(self._site, self._fields.get("title", ""), self._redirect,
                                self._fields.get("text", "")))

    def _found_site(self) -> Site:
        # The database tells wikis apart that share a language's code, such as simplewiki and enwiki.
        own = self._fields.get("dbname", "").removesuffix("wiki").replace("_", "-")
        code = self._language or (own if own in language_codes() else self._code)
        require_language(code, str(self._path) if self._language is None else "--language")
        return Site(code, self._namespaces, self._case != "case-sensitive")
