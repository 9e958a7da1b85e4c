"""Text files that other programs wrote: their encoding, and what separates the columns of a table.

A file with a byte-order mark of UTF-16 is UTF-16. Another one is UTF-8, unless more of its characters beyond ASCII are
invalid than valid there: then it is taken for Windows-1252, which is what spreadsheets of Western languages save, and
the log says so with an example.
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import re
from pathlib import Path
from typing import IO

from openmofi.errors import UsageError

UTF8 = "utf-8-sig"
WINDOWS = "cp1252"
OTHER = "Name the encoding of the file with --encoding, such as cp850, mac_roman or utf-16-le, or save it as UTF-8."
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BLOCK = 1 << 16
_EXAMPLE = re.compile(r"[^\s,;\"]*[^\x00-\x7f][^\s,;\"]*")
_log = logging.getLogger(__name__)
_said: set[str] = set()


def check_encoding(name: str) -> None:
    """Check that Python knows an encoding of text; "" is none.

    Raises:
        UsageError: it does not.
    """
    try:
        if name:
            "".encode(name)
    except (LookupError, ValueError) as error:
        raise UsageError(f"Unknown encoding {name!r}.", "Use one such as utf-8, cp1252, cp850 or utf-16.") from error


def encoding_of(file: IO[bytes], path: str, given: str = "") -> str:
    """Return the encoding of an opened file, which is left at its beginning.

    Args:
        file: can be moved in.
        path: names it in the log, once in a process.
        given: what a person says it is; "" where nobody does.
    """
    begins = file.read(2)
    file.seek(0)
    if begins in _MARKS and codecs.lookup(given or "utf-16").name.startswith("utf-16"):
        return "utf-16"
    if given:
        return UTF8 if codecs.lookup(given).name == "utf-8" else given
    line, block = 1, b""
    while (block := file.read(_BLOCK)).isascii() and block:
        line += block.count(b"\n")
    block += file.read(_BLOCK)
    file.seek(0)
    # The decoder holds back a character that the block cuts.
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(block)
    invalid = text.count("\ufffd")
    if 2 * invalid <= sum(map(len, re.findall(r"[^\x00-\x7f]+", text))):
        return UTF8
    if path not in _said:
        _said.add(path)
        text = block.decode(WINDOWS, "replace")
        found = _EXAMPLE.search(text)
        _log.warning(
            "%s is not UTF-8 and is read as Windows-1252, by which line %d says %r. If that is wrong, name its "
            "encoding with --encoding.",
            path,
            line + text.count("\n", 0, found.start() if found else 0),
            found[0] if found else "",
        )
    return WINDOWS


def decoded(content: bytes, given: str) -> str | bytes:
    """Decode a text that is a file of its own: by its mark as UTF-16, or by the given encoding; else as it is.

    Args:
        content: its bytes, or the first of them.
        given: as of `encoding_of`.
    """
    encoding = "utf-16" if content[:2] in _MARKS else codecs.lookup(given or "utf-8").name
    if encoding == "utf-8":
        return content
    try:
        return codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return content


class Undecodable(ValueError):
    """A file has a line that is not in its encoding.

    Attributes:
        line: its number, from 1.
        encoding: that of the file.
    """

    def __init__(self, line: int, encoding: str) -> None:
        super().__init__(f"line {line} cannot be read as {encoding}")
        self.line, self.encoding = line, encoding

    @classmethod
    def of(cls, error: UnicodeDecodeError, encoding: str, lines: int = 0) -> Undecodable:
        """The error where decoding stopped in content that `lines` lines came before."""
        return cls(lines + error.object[: error.start].decode(encoding, "replace").count("\n") + 1, encoding)


def text_of(path: str | Path, given: str = "") -> str:
    """Return all of a local text file, decoded.

    Args:
        path: of the file.
        given: as of `encoding_of`.

    Raises:
        OSError: it cannot be read.
        Undecodable: a line is not in its encoding.
    """
    with open(path, "rb") as file:
        encoding = encoding_of(file, str(path), given)
        try:
            return file.read().decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise Undecodable.of(error, encoding) from error


def csv_reader(path: Path) -> csv.DictReader[str]:
    """Read a local table with a header; strictly, since a quote that is not closed would swallow rows.

    Raises:
        OSError: it cannot be read.
        Undecodable: a line is not in its encoding.
    """
    text = text_of(path)
    delimiter = delimiter_of(text.partition("\n")[0], "\t" if path.suffix.lower() == ".tsv" else ",")
    return csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def delimiter_of(header: str, usual: str) -> str:
    """Return which of comma, semicolon and tab separates most columns of a header; `usual` where others do not."""
    outside = re.sub(r'"[^"]*"', "", header)
    best = max(",;\t", key=outside.count)
    return best if outside.count(best) > outside.count(usual) else usual
