"""Rows of CSV, TSV and JSON-lines tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from openmofi.pairs.read_settings import ReadSettings
from openmofi.pairs.source import open_source, report_damage
from openmofi.pairs.text import json_object

_MAX_FIELD = 16 << 20
_QUOTES = "Close that quote; a quote within a text is written twice"


def read_records(path: str, settings: ReadSettings) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Yield (column names so far, row) of a table.

    A quote that is not closed is damage: it would swallow the rows behind it. So are more fields than the header has.

    Raises:
        OpenMofiError: it does not exist, or is damaged (after the rows before the damage).
    """
    # Bytes that are not UTF-8 travel as surrogates: names of files need them back, texts are judged by them.
    with open_source(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", "surrogateescape", newline="") as lines:
        if path.endswith(".jsonl"):
            yield from _json_lines(lines)
        else:
            yield from _delimited(path, lines, settings)


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
        """Which line of the record, from 0, has the last quote that opens and does not close in that line."""
        opened, last = False, 0
        for number, line in enumerate(self.record):
            if line.count('"') % 2:
                opened = not opened
                last = number if opened else last
        return last


def _delimited(path: str, source: Iterator[str], settings: ReadSettings) -> Iterator[tuple[list[str], dict[str, Any]]]:
    # The standard library's limit is for the whole process, and too small for a text of 1 MB.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD))
    lines, delimiter = _Lines(source), "\t" if path.endswith(".tsv") else ","
    reader = csv.DictReader(lines, delimiter=delimiter)
    rows, too_many = iter(reader), False
    try:
        names = list(reader.fieldnames or ())
        _check_quotes(lines, delimiter)
        lines.record.clear()
        while (row := next(rows, None)) is not None:
            _check_quotes(lines, delimiter)
            first = reader.line_num - len(lines.record) + 1
            lines.record.clear()
            if any(row.pop(None, None) or ()) and not too_many:
                too_many = True
                report_damage(f"Line {first} of {path} has more than the {len(names)} fields of the header.", settings,
                              csv.Error("too many fields"), "Put texts that contain the delimiter into quotes")
            yield names, row
    except csv.Error as error:
        first = reader.reader.line_num - len(lines.record) + 1
        if '"' in "".join(lines.record):
            report_damage(f"{path} cannot be read beyond line {first}: the quote that opens in line "
                          f"{first + lines.open_quote()} is not closed ({error}).", settings, error, _QUOTES)
        else:
            report_damage(f"{path} cannot be read beyond line {first}: {error}.", settings, error, "Correct that line")


def _check_quotes(lines: _Lines, delimiter: str) -> None:
    """Check a record that spans lines, or the end of the file, by the strict rules; others may be sloppy.

    Raises:
        csv.Error: a quote is not closed, or text follows the one that closes.
    """
    if len(lines.record) > 1 or lines.ended:
        for _ in csv.reader(lines.record, delimiter=delimiter, strict=True):
            pass


def _json_lines(lines: io.TextIOWrapper) -> Iterator[tuple[list[str], dict[str, Any]]]:
    names: dict[str, None] = {}
    for line in lines:
        if line.strip():
            row = json_object(line.encode("utf-8", "surrogateescape"))
            names.update(dict.fromkeys(row))
            yield list(names), row
