"""Rows of CSV, TSV and JSON-lines tables."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.pairs.read_settings import ReadSettings, open_source, report_damage
from openmofi.pairs.text import json_object
from openmofi.storage.encodings import OTHER, UTF8, Undecodable, delimiter_of, encoding_of

_log = logging.getLogger(__name__)
_MAX_LINE = 16 << 20
"""Characters of a line that are read; the rest of it is passed over, so that a row never fills the memory."""
_QUOTES = "Close that quote; a quote within a text is written twice"


def read_records(path: str, settings: ReadSettings) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Yield (names of columns, row) of a table; of JSON lines the names are the row's own.

    Columns are separated by the one of comma, semicolon and tab that is most frequent in the header; for encodings see
    `openmofi.storage.encodings`. A quote that is not closed is damage: it would swallow the rows behind it. So are more
    fields than the header has.
    In TSV, which has no quotes by its own definition, a quote that its line does not close is a character where the
    line and the one behind it have the fields of the header. Of a line of more than 16 Mi characters the rest is passed
    over.

    Raises:
        OpenMofiError: it does not exist, or is damaged (after the rows before the damage).
    """
    with open_source(path) as raw:
        encoding = encoding_of(raw, path, settings.encoding)
        # Bytes that are not UTF-8 travel as surrogates: names of files need them back, texts are judged by them. In
        # another encoding they say that it is the wrong one.
        strict = encoding != UTF8 and settings.on_damage == "stop"
        with io.TextIOWrapper(raw, encoding, "strict" if strict else "surrogateescape", newline="") as lines:
            if path.endswith(".jsonl"):
                yield from _json_lines(_bounded(path, lines))
            else:
                yield from _delimited(path, _bounded(path, lines), settings)


def _bounded(path: str, lines: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines of a file, long ones cut; a quote that the rest of the line closes is closed.

    Raises:
        OpenMofiError: a line is not in the encoding of the file.
    """
    count = 0
    try:
        for line in _cut(path, lines):
            count += 1
            yield line
    except UnicodeDecodeError as error:
        # What was read ahead and not yielded begins behind the last line.
        raise OpenMofiError(f"{path}: {Undecodable.of(error, lines.encoding, count)}.", OTHER) from error


def _cut(path: str, lines: io.TextIOWrapper) -> Iterator[str]:
    cut = 0
    while line := lines.readline(_MAX_LINE):
        if len(line) == _MAX_LINE and not line.endswith(("\n", "\r")):
            cut += 1
            quotes, rest = 0, line
            while not rest.endswith(("\n", "\r")) and (rest := lines.readline(_MAX_LINE)):
                quotes += rest.count('"')
            line += '"' * (line.count('"') % 2 and quotes % 2) + "\n"
        yield line
    if cut:
        _log.warning(
            "%d lines of %s have more than %s characters; the rest of each is passed over.", cut, path, f"{_MAX_LINE:,}"
        )


@dataclass
class _Lines:
    """The lines of a file, of which those of the current record are kept."""

    source: Iterator[str]
    record: list[str] = field(default_factory=list)
    ended: bool = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.source, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.record.append(line)
        return line

    def open_quote(self) -> int:
        """Return the line of the record, from 0, with the last quote that opens and does not close in it."""
        opened, last = False, 0
        for number, line in enumerate(self.record):
            if line.count('"') % 2:
                opened = not opened
                last = number if opened else last
        return last


@dataclass
class _Fields:
    """How many fields a line has where a quote is a character like others."""

    delimiter: str
    count: int

    def in_line(self, line: str) -> bool:
        """Whether a line by itself has the fields of the header."""
        return line.count(self.delimiter) == self.count - 1 > 0


def _delimited(path: str, source: Iterator[str], settings: ReadSettings) -> Iterator[tuple[list[str], dict[str, Any]]]:
    # The standard library's limit is for the whole process, and too small for a text of 1 MB.
    csv.field_size_limit(max(csv.field_size_limit(), 2 * _MAX_LINE))
    header, tabs = next(source, ""), path.endswith(".tsv")
    delimiter = delimiter_of(header, "\t" if tabs else ",")
    source = chain([header] if header else (), source)
    lines = _Lines(_without_open_quotes(path, source) if tabs and delimiter == "\t" else source)
    reader = csv.DictReader(lines, delimiter=delimiter)
    rows, too_many, doubtful = iter(reader), False, []
    try:
        names = list(reader.fieldnames or ())
        fields = _Fields(delimiter, len(names))
        _check_quotes(lines, delimiter)
        lines.record.clear()
        while (row := next(rows, None)) is not None:
            _check_quotes(lines, delimiter)
            first = reader.line_num - len(lines.record) + 1
            if len(lines.record) > 1 and all(map(fields.in_line, lines.record)):
                doubtful.append(first)
            lines.record.clear()
            if any(row.pop(None, None) or ()) and not too_many:
                too_many = True
                report_damage(
                    f"Line {first} of {path} has more than the {len(names)} fields of the header.",
                    settings,
                    csv.Error("too many fields"),
                    "Put texts that contain the delimiter into quotes",
                )
            yield names, row
    except csv.Error as error:
        first = reader.reader.line_num - len(lines.record) + 1
        if '"' in "".join(lines.record):
            report_damage(
                f"{path} cannot be read beyond line {first}: the quote that opens in line "
                f"{first + lines.open_quote()} is not closed ({error}).",
                settings,
                error,
                _QUOTES,
            )
        else:
            report_damage(f"{path} cannot be read beyond line {first}: {error}.", settings, error, "Correct that line")
    if doubtful:
        _log.warning(
            "%d rows of %s are in quotes that span lines, each of which could be a row (the first from line "
            "%d on): check whether two quotes are missing.",
            len(doubtful),
            path,
            doubtful[0],
        )


def _without_open_quotes(path: str, source: Iterator[str]) -> Iterator[str]:
    """Yield the lines of a TSV; quotes that do not close in their line are escaped where they are characters."""
    line = next(source, "")
    fields, in_quotes, escaped = _Fields("\t", line.count("\t") + 1), False, 0
    while line:
        behind = next(source, "")
        opens = line.count('"') % 2 == 1 and (
            in_quotes
            or any(field.startswith('"') and field.count('"') % 2 for field in line.rstrip("\r\n").split("\t"))
        )
        if opens and not in_quotes and fields.in_line(line) and (not behind.strip() or fields.in_line(behind)):
            escaped += 1
            line = "\t".join(f'"{field}"' for field in line.rstrip("\r\n").replace('"', '""').split("\t")) + "\n"
        elif opens:
            in_quotes = not in_quotes
        yield line
        line = behind
    if escaped:
        _log.warning("%d lines of %s have a quote that they do not close; it is read as a character.", escaped, path)


def _check_quotes(lines: _Lines, delimiter: str) -> None:
    """Check a record that spans lines, or the end of the file, by the strict rules; others may be sloppy.

    Raises:
        csv.Error: a quote is not closed, or text follows the one that closes.
    """
    if len(lines.record) > 1 or lines.ended:
        for _ in csv.reader(lines.record, delimiter=delimiter, strict=True):
            pass


def _json_lines(lines: Iterator[str]) -> Iterator[tuple[list[str], dict[str, Any]]]:
    for line in lines:
        if line.strip():
            row = json_object(line.encode("utf-8", "surrogateescape"))
            yield list(row), row
