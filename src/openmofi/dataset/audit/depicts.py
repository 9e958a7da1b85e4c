"""Wikimedia Commons' structured data as truth: what files are said to depict (P180).

Read are the dump of MediaInfo entities (an array with an entity a line, also packed) and what the API gives of single
files (`wbgetentities`, `Special:EntityData/M123.json`). Statements of deprecated rank, and those without a value, are
left out. A pair's key is the file's M-identifier.
"""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openmofi.errors import OpenMofiError

DEPICTS = "P180"
_ENDINGS = (".json", ".json.gz", ".json.bz2")
_HINT = "Give a dump of Commons' MediaInfo entities, or JSON of single files from its API."


def is_mediainfo(path: str | Path) -> bool:
    """Whether a truth is read here, by its name."""
    return str(path).endswith(_ENDINGS)


def read_depicts(path: Path) -> tuple[list[str], Iterator[Mapping[str, Any]]]:
    """Columns and rows of the truth: `key`, `entity` (a list of identifiers), a file a row.

    Raises:
        OpenMofiError: it holds no entity of MediaInfo, or is cut off.
        OSError, ValueError: it cannot be read.
    """
    return ["key", "entity"], _rows(path)


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    count = 0
    try:
        for entity in _entities(path):
            if not isinstance(entity, dict) or not str(entity.get("id", "")).startswith("M"):
                continue
            count += 1
            if depicted := _depicted(entity):
                yield {"key": str(entity["id"]), "entity": depicted}
    except (EOFError, ValueError) as error:
        raise OpenMofiError(f"{path} is damaged after {count} files: {error}.", _HINT) from error
    if not count:
        raise OpenMofiError(f"{path} holds no files of Wikimedia Commons.", _HINT)


def _entities(path: Path) -> Iterator[Any]:
    opener: Any = gzip.open if path.suffix == ".gz" else bz2.open if path.suffix == ".bz2" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        first = next((line for line in lines if line.strip()), "")
        if first.strip() != "[":
            whole = json.loads(first + lines.read() or "null")
            found = whole.get("entities", whole) if isinstance(whole, dict) else whole
            yield from (
                found.values()
                if isinstance(found, dict) and "id" not in found
                else (found if isinstance(found, list) else [found])
            )
            return
        ended = False
        for line in lines:
            text = line.strip()
            if text == "]":
                ended = True
            elif text:
                yield json.loads(text.removesuffix(","))
        if not ended:
            raise EOFError("it is cut off")


def _depicted(entity: Mapping[str, Any]) -> list[str]:
    """Identifiers, each once."""
    statements = entity.get("statements") or entity.get("claims") or {}
    found = statements.get(DEPICTS, []) if isinstance(statements, dict) else []  # PHP writes an empty one as a list
    values = [
        statement.get("mainsnak", {}).get("datavalue", {}).get("value", {}).get("id")
        for statement in found
        if statement.get("rank") != "deprecated"
    ]
    return list(dict.fromkeys(value for value in values if value))
