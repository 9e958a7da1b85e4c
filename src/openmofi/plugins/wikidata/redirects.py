"""Items that were merged into others: which dumps of items lack, and RDF dumps and queries have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from openmofi.errors import OpenMofiError
from openmofi.plugins.wikidata.packed import unpacked

REDIRECTED = pa.schema([("old", pa.int64()), ("new", pa.int64())])
"""redirects as read: numbers of items; one may be a redirect itself."""

_ENTITY = rb"[<\"]*(?:wd:|https?://www\.wikidata\.org/entity/)?([A-Z]\d+)[>\"]*"
_LINE = re.compile(
    rb"\s*"
    + _ENTITY
    + rb"(?:\s+(?:<http://www\.w3\.org/2002/07/owl#sameAs>|owl:sameAs)\s+|\s*[,\t]\s*)"
    + _ENTITY
    + rb"\s*\.?\s*"
)
_OTHER = re.compile(rb"\s*(?:[@#].*)?")
_HINT = (
    "Give lines such as Q1,Q2 (the one that is gone, the one it was merged into), or those of an RDF dump with "
    "owl:sameAs: `zgrep owl#sameAs latest-all.nt.gz`."
)


def read_redirects(path: str | Path) -> pa.Table:
    """The redirects of a file (`REDIRECTED`), those of other entities than items left out.

    Args:
        path: lines of two ids, by comma or tab, with or without a header; or of RDF, as N-Triples or Turtle, where
            redirects are owl:sameAs (https://www.mediawiki.org/wiki/Wikibase/Indexing/RDF_Dump_Format). Ids may be
            addresses. Plain, or compressed by gzip, bzip2 or zstandard.

    Raises:
        OpenMofiError: the file is missing, damaged or empty, or a line is no redirect.
    """
    old, new = list[np.ndarray](), list[np.ndarray]()
    pairs: list[tuple[int, int]] = []
    for number, line in enumerate(_lines(path), 1):
        match = _LINE.fullmatch(line)
        if not match:
            # A header has no ids.
            if _OTHER.fullmatch(line) or (number == 1 and not re.search(rb"[QPL]\d", line)):
                continue
            shown = line[:60].decode("utf-8", "replace")
            raise OpenMofiError(f"{path}, line {number}: {shown!r} is no redirect.", _HINT)
        one, other = match.groups()
        if one.startswith(b"Q") and other.startswith(b"Q"):
            pairs.append((int(one[1:]), int(other[1:])))
        if len(pairs) == 1 << 20:
            _collect(pairs, old, new)
    _collect(pairs, old, new)
    table = pa.table([np.concatenate(old), np.concatenate(new)], schema=REDIRECTED)
    if not len(table):
        raise OpenMofiError(f"{path} has no redirect of an item.", _HINT)
    return table


def _collect(pairs: list[tuple[int, int]], old: list[np.ndarray], new: list[np.ndarray]) -> None:
    """Move pairs to arrays, which take a tenth of the memory."""
    both = np.array(pairs, np.int64).reshape(-1, 2)
    old.append(both[:, 0])
    new.append(both[:, 1])
    pairs.clear()


def _lines(path: str | Path) -> Iterator[bytes]:
    rest = b""
    for data, _ in unpacked(path, _HINT):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    if rest:
        yield rest
