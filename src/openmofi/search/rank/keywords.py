"""Keyword search over texts and names of entities: FTS5 of SQLite, tsvector of PostgreSQL; queries are no syntax."""

from __future__ import annotations

import re

from openmofi.search.store.connection import Connection

_WORD = re.compile(r"\w+", re.UNICODE)
_MOST_WORDS = 32
_MOST_LENGTH = 64


def words_of(text: str) -> list[str]:
    """The words of a query, at most 32; what would be read as syntax is not among them."""
    return [word[:_MOST_LENGTH] for word in _WORD.findall(text)[:_MOST_WORDS]]


def images_by_text(connection: Connection, text: str, limit: int) -> list[int]:
    """Ids of images whose texts have words of `text`, best first: those that have all before the others."""
    if not (words := words_of(text)):
        return []
    found: dict[int, None] = {}
    for operator in ("AND", "OR") if len(words) > 1 else ("AND",):
        found.update(dict.fromkeys(connection.texts_with(words, operator, limit)))
    return list(found)[:limit]


def entities_by_name(connection: Connection, text: str, limit: int, *, prefix: bool = False) -> list[str]:
    """Ids of entities whose name or an alias has all words of `text`: those of that very name first, then by how many
    images are labelled with them and how popular they are.
    """
    if not (words := words_of(text)):
        return []
    return connection.entities_named(words, prefix, text.strip(), limit)
